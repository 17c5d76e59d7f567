//! The certificate profiles of the X509-SVID specification, for leaves and for signing certificates.
//!
//! webpki ignores KeyUsage, weak keys and everything about URI SANs; what it leaves out is checked here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::{
    asn1_rs::{Oid, oid},
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer as _,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use crate::id::{SpiffeId, SpiffeIdError};

/// What is wrong with one certificate, beside its signature and its validity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Not exactly one X.509 certificate in DER.
    #[error("not an X.509 certificate in DER: {reason}")]
    Malformed {
        /// What the parser said.
        reason: String,
    },
    /// No URI SAN in a leaf.
    #[error("the leaf has no URI SAN, an X509-SVID has exactly one")]
    NoUri,
    /// More than one URI SAN.
    #[error("the certificate has {count} URI SANs, an X509-SVID has exactly one")]
    ManyUris {
        /// How many there are.
        count: usize,
    },
    /// A SAN entry that cannot be read.
    #[error("a subject alternative name cannot be read")]
    BadName,
    /// An empty subject with a SAN extension that is not critical (RFC 5280 §4.2.1.6).
    #[error("the subject is empty and the subject alternative names are not critical")]
    NamesNotCritical,
    /// The URI SAN is not a SPIFFE ID.
    #[error("the URI SAN is not a SPIFFE ID")]
    Id(#[source] SpiffeIdError),
    /// A leaf whose identity is the trust domain itself.
    #[error("the SPIFFE ID of a leaf has a path, `{id}` has none")]
    NoPath {
        /// The identity found.
        id: String,
    },
    /// A signing certificate whose identity has a path or is of another trust domain.
    #[error("the SPIFFE ID of a signing certificate is its trust domain alone, found `{id}`")]
    AuthorityId {
        /// The identity found.
        id: String,
    },
    /// No BasicConstraints, or its cA flag is wrong.
    #[error("BasicConstraints: expected cA={expected}, found {found}")]
    BasicConstraints {
        /// What this kind of certificate has.
        expected: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// KeyUsage is absent, or not marked critical.
    #[error("KeyUsage is {found}, expected a critical extension")]
    KeyUsage {
        /// What was found.
        found: &'static str,
    },
    /// A usage bit is set that must not be.
    #[error("KeyUsage has {bit}, which this kind of certificate must not have")]
    ForbiddenUsage {
        /// Name of the bit.
        bit: &'static str,
    },
    /// A usage bit is missing.
    #[error("KeyUsage lacks {bit}")]
    MissingUsage {
        /// Name of the bit.
        bit: &'static str,
    },
    /// EKU is there but lacks serverAuth or clientAuth.
    #[error("ExtendedKeyUsage lacks {purpose}: an X509-SVID has serverAuth and clientAuth")]
    MissingPurpose {
        /// Name of the purpose.
        purpose: &'static str,
    },
    /// The public key is too small, or of a kind that is not accepted.
    #[error(
        "public key: found {found}, expected P-256, P-384, P-521, Ed25519 or RSA of 2048 to 8192 bits"
    )]
    WeakKey {
        /// What was found.
        found: String,
    },
    /// The signature algorithm is not accepted, such as SHA-1.
    #[error(
        "signature algorithm {found} is not accepted: expected SHA-2 with ECDSA or RSA, or Ed25519"
    )]
    SignatureAlgorithm {
        /// Its object identifier.
        found: String,
    },
    /// A date outside what this machine can represent.
    #[error("the validity cannot be represented")]
    Validity,
}

/// What a checked leaf says.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) serial: String,
    pub(crate) spki: Vec<u8>,
}

/// Checks a leaf against the X509-SVID specification, §2, §4 and §5.2.
pub(crate) fn leaf(der: &[u8]) -> Result<Leaf, ProfileError> {
    let certificate = parse(der)?;
    let id = one_uri(&certificate)?.ok_or(ProfileError::NoUri)?;
    if id.path().is_empty() {
        return Err(ProfileError::NoPath { id: id.to_string() });
    }
    match is_authority(&certificate)? {
        Some(false) => {}
        Some(true) => {
            return Err(ProfileError::BasicConstraints {
                expected: "false",
                found: "true",
            });
        }
        None => {
            return Err(ProfileError::BasicConstraints {
                expected: "false",
                found: "nothing",
            });
        }
    }
    let usage = key_usage(&certificate)?;
    if usage.key_cert_sign() {
        return Err(ProfileError::ForbiddenUsage { bit: "keyCertSign" });
    }
    if usage.crl_sign() {
        return Err(ProfileError::ForbiddenUsage { bit: "cRLSign" });
    }
    if !usage.digital_signature() {
        return Err(ProfileError::MissingUsage {
            bit: "digitalSignature",
        });
    }
    if let Some(purposes) = certificate.extended_key_usage().map_err(malformed)? {
        for (set, purpose) in [
            (purposes.value.server_auth, "serverAuth"),
            (purposes.value.client_auth, "clientAuth"),
        ] {
            if !set {
                return Err(ProfileError::MissingPurpose { purpose });
            }
        }
    }
    check_algorithms(&certificate)?;
    let validity = certificate.validity();
    Ok(Leaf {
        id,
        not_before: system_time(validity.not_before.timestamp())?,
        not_after: system_time(validity.not_after.timestamp())?,
        serial: hex(certificate.raw_serial()),
        spki: certificate.public_key().raw.to_vec(),
    })
}

/// Checks an intermediate or a root against the X509-SVID specification, §3 and §4.
pub(crate) fn authority(der: &[u8], trust_domain: &str) -> Result<(), ProfileError> {
    let certificate = parse(der)?;
    match is_authority(&certificate)? {
        Some(true) => {}
        Some(false) => {
            return Err(ProfileError::BasicConstraints {
                expected: "true",
                found: "false",
            });
        }
        None => {
            return Err(ProfileError::BasicConstraints {
                expected: "true",
                found: "nothing",
            });
        }
    }
    if !key_usage(&certificate)?.key_cert_sign() {
        return Err(ProfileError::MissingUsage { bit: "keyCertSign" });
    }
    if let Some(id) = one_uri(&certificate)?
        && (!id.path().is_empty() || id.trust_domain() != trust_domain)
    {
        return Err(ProfileError::AuthorityId { id: id.to_string() });
    }
    check_algorithms(&certificate)
}

/// Tells whether issuer and subject are the same, which marks a root in a presented chain.
#[cfg(feature = "client")]
pub(crate) fn is_self_issued(der: &[u8]) -> Result<bool, ProfileError> {
    let certificate = parse(der)?;
    Ok(certificate.subject().as_raw() == certificate.issuer().as_raw())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ProfileError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| malformed_nom(&error))?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(ProfileError::Malformed {
            reason: "bytes after the end".to_owned(),
        })
    }
}

fn one_uri(certificate: &X509Certificate<'_>) -> Result<Option<SpiffeId>, ProfileError> {
    let Some(names) = certificate.subject_alternative_name().map_err(malformed)? else {
        return Ok(None);
    };
    // An empty Name is an empty SEQUENCE.
    if certificate.subject().as_raw() == [0x30, 0x00] && !names.critical {
        return Err(ProfileError::NamesNotCritical);
    }
    let mut uris = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return Err(ProfileError::BadName),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::DNSName(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => {}
        }
    }
    match uris.as_slice() {
        [] => Ok(None),
        [uri] => SpiffeId::from_bytes(uri.as_bytes())
            .map(Some)
            .map_err(ProfileError::Id),
        _ => Err(ProfileError::ManyUris { count: uris.len() }),
    }
}

fn is_authority(certificate: &X509Certificate<'_>) -> Result<Option<bool>, ProfileError> {
    let constraints = certificate.basic_constraints().map_err(malformed)?;
    Ok(constraints.map(|extension| extension.value.ca))
}

fn key_usage<'a>(
    certificate: &'a X509Certificate<'_>,
) -> Result<&'a x509_parser::extensions::KeyUsage, ProfileError> {
    match certificate.key_usage().map_err(malformed)? {
        Some(extension) if extension.critical => Ok(extension.value),
        Some(_) => Err(ProfileError::KeyUsage {
            found: "not critical",
        }),
        None => Err(ProfileError::KeyUsage { found: "absent" }),
    }
}

const EC_PUBLIC_KEY: Oid<'static> = oid!(1.2.840.10045.2.1);
const RSA_ENCRYPTION: Oid<'static> = oid!(1.2.840.113549.1.1.1);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const CURVES: [Oid<'static>; 3] = [
    oid!(1.2.840.10045.3.1.7),
    oid!(1.3.132.0.34),
    oid!(1.3.132.0.35),
];
const SIGNATURES: [Oid<'static>; 8] = [
    oid!(1.2.840.10045.4.3.2),
    oid!(1.2.840.10045.4.3.3),
    oid!(1.2.840.10045.4.3.4),
    oid!(1.2.840.113549.1.1.11),
    oid!(1.2.840.113549.1.1.12),
    oid!(1.2.840.113549.1.1.13),
    // RSASSA-PSS; webpki accepts SHA-2 parameters only.
    oid!(1.2.840.113549.1.1.10),
    ED25519,
];

fn check_algorithms(certificate: &X509Certificate<'_>) -> Result<(), ProfileError> {
    let signature = &certificate.signature_algorithm.algorithm;
    if !SIGNATURES.contains(signature) {
        return Err(ProfileError::SignatureAlgorithm {
            found: signature.to_id_string(),
        });
    }
    check_key(certificate.public_key())
}

fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), ProfileError> {
    let algorithm = &key.algorithm.algorithm;
    if *algorithm == ED25519 {
        return Ok(());
    }
    if *algorithm == EC_PUBLIC_KEY {
        let curve = key
            .algorithm
            .parameters
            .as_ref()
            .and_then(|parameters| parameters.as_oid().ok());
        return match curve {
            Some(curve) if CURVES.contains(&curve) => Ok(()),
            Some(curve) => Err(ProfileError::WeakKey {
                found: format!("curve {}", curve.to_id_string()),
            }),
            None => Err(ProfileError::WeakKey {
                found: "an unnamed curve".to_owned(),
            }),
        };
    }
    if *algorithm == RSA_ENCRYPTION {
        return match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => check_rsa(rsa.modulus, rsa.exponent),
            _ => Err(ProfileError::WeakKey {
                found: "an unreadable RSA key".to_owned(),
            }),
        };
    }
    Err(ProfileError::WeakKey {
        found: format!("algorithm {}", algorithm.to_id_string()),
    })
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), ProfileError> {
    let modulus = without_leading_zeros(modulus);
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    let bits = modulus
        .len()
        .saturating_mul(8)
        .saturating_sub(usize::try_from(leading).unwrap_or(8));
    if !(2048..=8192).contains(&bits) {
        return Err(ProfileError::WeakKey {
            found: format!("RSA of {bits} bits"),
        });
    }
    let exponent = without_leading_zeros(exponent);
    let value = exponent
        .iter()
        .take(8)
        .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    if exponent.len() > 4 || value < 65537 || value.is_multiple_of(2) {
        return Err(ProfileError::WeakKey {
            found: "RSA with an exponent that is even, below 65537 or above 32 bits".to_owned(),
        });
    }
    Ok(())
}

fn without_leading_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn system_time(seconds: i64) -> Result<SystemTime, ProfileError> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds >= 0 {
        UNIX_EPOCH.checked_add(distance)
    } else {
        UNIX_EPOCH.checked_sub(distance)
    };
    time.ok_or(ProfileError::Validity)
}

/// Lower-case hexadecimal without separators.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .filter_map(|digit| DIGITS.get(usize::from(digit)))
        .map(|digit| char::from(*digit))
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn malformed(error: x509_parser::error::X509Error) -> ProfileError {
    ProfileError::Malformed {
        reason: error.to_string(),
    }
}

fn malformed_nom(error: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> ProfileError {
    ProfileError::Malformed {
        reason: error.to_string(),
    }
}

/// The SubjectPublicKeyInfo (DER) of any certificate.
#[cfg(feature = "client")]
pub(crate) fn public_key(der: &[u8]) -> Result<Vec<u8>, ProfileError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}
