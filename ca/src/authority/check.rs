//! What is asked of an authority's certificate before anything is signed with it.
//!
//! The library takes any certificate and any key as an issuer; a mix-up would show only when
//! every workload refuses its new certificate.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::PublicKeyData;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::OID_EC_P256;
use x509_parser::prelude::FromDer as _;

use super::sealed_key::KeyError;
use crate::issue::{IssueError, Validity};

/// Why the authorities could not be loaded or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Making or signing a certificate failed.
    #[error("a certificate of the authority could not be made")]
    Issue(#[from] IssueError),
    /// A key can't be read.
    #[error("the private key in `{file}` can't be used")]
    Key {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A file can't be read or written, or its mode is too lax.
    #[error("`{file}` can't be used")]
    File {
        /// The file's name.
        file: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No certificate in a file.
    #[error("`{0}` holds no certificate in PEM")]
    NoCertificate(String),
    /// A certificate breaks a rule.
    #[error("the certificate in `{file}` can't sign: {reason}")]
    Unfit {
        /// The file's name.
        file: String,
        /// The rule.
        reason: &'static str,
    },
    /// A part of the authority is missing that can't be made again without breaking trust.
    #[error("`{file}` is missing; {help}")]
    Missing {
        /// The file's name.
        file: String,
        /// What to do.
        help: &'static str,
    },
    /// The production profile forbids what was found.
    #[error("profile `production`: {0}")]
    Forbidden(String),
    /// The intermediate has expired and there is no root key to renew it with.
    #[error(
        "the intermediate has expired and the root key is not in `{0}`; bring the root key and run \
         `portcullis-ca --config … renew-intermediate --root-dir DIR`"
    )]
    Expired(PathBuf),
}

/// The place a certificate has in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Signs itself; may sign intermediates.
    Root,
    /// Signs itself; may sign leaves only.
    EdgeRoot,
    /// Signed by this root; may sign leaves only.
    Below(&'a [u8]),
}

/// Checks the form of an authority's certificate and its signature, and tells its validity. Does not look at the clock.
pub fn check_certificate(
    file: &str,
    der: &CertificateDer<'_>,
    place: Place<'_>,
) -> Result<Validity, AuthorityError> {
    let unfit = |reason| AuthorityError::Unfit {
        file: file.to_owned(),
        reason,
    };
    let certificate = parse(file, der)?;
    let constraints = certificate
        .basic_constraints()
        .map_err(|_| unfit("its BasicConstraints can't be read"))?
        .ok_or_else(|| unfit("it has no BasicConstraints"))?;
    if !constraints.critical || !constraints.value.ca {
        return Err(unfit("it is not marked as a certificate authority"));
    }
    let usage = certificate
        .key_usage()
        .map_err(|_| unfit("its KeyUsage can't be read"))?
        .ok_or_else(|| unfit("it has no KeyUsage"))?;
    if !usage.critical || !usage.value.key_cert_sign() {
        return Err(unfit("its KeyUsage does not allow it to sign certificates"));
    }
    let spki = certificate.public_key();
    let curve = spki
        .algorithm
        .parameters
        .as_ref()
        .and_then(|any| any.as_oid().ok());
    if curve != Some(OID_EC_P256) {
        return Err(unfit("its key is not P-256"));
    }
    let depth = constraints.value.path_len_constraint;
    match place {
        Place::Root => {
            if depth == Some(0) {
                return Err(unfit("its path length forbids an intermediate below it"));
            }
            check_signed_by(&certificate, &certificate)
                .map_err(|()| unfit("it is not signed by itself"))?;
        }
        Place::EdgeRoot => check_signed_by(&certificate, &certificate)
            .map_err(|()| unfit("it is not signed by itself"))?,
        Place::Below(root) => {
            let (_, root) =
                X509Certificate::from_der(root).map_err(|_| unfit("its root can't be read"))?;
            check_signed_by(&certificate, &root)
                .map_err(|()| unfit("it is not signed by the root in `root.pem`"))?;
            if certificate.validity().not_after.timestamp() > root.validity().not_after.timestamp()
            {
                return Err(unfit("it outlives its root"));
            }
        }
    }
    validity(&certificate).ok_or_else(|| unfit("its validity lies before 1970"))
}

/// Checks that `key` is the key of the certificate.
pub fn check_key(
    file: &str,
    der: &CertificateDer<'_>,
    key: &impl PublicKeyData,
) -> Result<(), AuthorityError> {
    if parse(file, der)?.public_key().raw == key.subject_public_key_info() {
        Ok(())
    } else {
        let reason = "its key is not the one beside it";
        Err(AuthorityError::Unfit {
            file: file.to_owned(),
            reason,
        })
    }
}

/// The DER of the SubjectPublicKeyInfo of a certificate.
pub(crate) fn public_key(file: &str, der: &CertificateDer<'_>) -> Result<Vec<u8>, AuthorityError> {
    Ok(parse(file, der)?.public_key().raw.to_vec())
}

fn parse<'a>(file: &str, der: &'a [u8]) -> Result<X509Certificate<'a>, AuthorityError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(AuthorityError::Unfit {
            file: file.to_owned(),
            reason: "it is not X.509 in DER",
        }),
    }
}

fn check_signed_by(child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> Result<(), ()> {
    if child.issuer() != parent.subject() {
        return Err(());
    }
    child
        .verify_signature(Some(parent.public_key()))
        .map_err(|_| ())
}

fn validity(certificate: &X509Certificate<'_>) -> Option<Validity> {
    let time = |seconds: i64| {
        u64::try_from(seconds)
            .ok()
            .map(|s| SystemTime::UNIX_EPOCH + Duration::from_secs(s))
    };
    Some(Validity {
        not_before: time(certificate.validity().not_before.timestamp())?,
        not_after: time(certificate.validity().not_after.timestamp())?,
    })
}
