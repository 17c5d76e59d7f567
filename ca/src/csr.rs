//! What is taken from a certificate signing request: a public key, and proof that the caller holds its private half.
//!
//! Names, key usages and lifetimes in a request are never copied into a certificate. A request that
//! names a subject alternative name other than exactly the caller's identity is refused, because
//! its sender believes it is somebody else.

use aws_lc_rs::digest::{SHA256, digest};
use identity::SpiffeId;
use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
};
use x509_parser::prelude::{FromDer as _, ParsedCriAttribute};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo as ParsedKey;

/// The largest request that is looked at, in bytes. An RSA-4096 request is about 1.7 KiB.
pub const MAX_CSR_BYTES: usize = 8 * 1024;

/// Attributes and extensions a request may carry before it is refused; each costs parsing time.
const MAX_ATTRIBUTES: usize = 16;
const MAX_NAMES: usize = 16;

/// Why a certificate signing request was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CsrError {
    /// Nothing was sent.
    #[error("the certificate signing request is empty")]
    Empty,
    /// More bytes than [`MAX_CSR_BYTES`].
    #[error("the certificate signing request has {0} bytes, more than {MAX_CSR_BYTES}")]
    TooLong(usize),
    /// Not a PKCS #10 request (RFC 2986) in DER.
    #[error("the certificate signing request is not PKCS #10 in DER")]
    Malformed,
    /// Bytes follow the request.
    #[error("{0} bytes follow the certificate signing request")]
    TrailingBytes(usize),
    /// The signature algorithm is not on the list.
    #[error("signature algorithm `{0}` is not ECDSA or RSA with SHA-256, SHA-384 or SHA-512")]
    SignatureAlgorithm(String),
    /// The key is of a kind that is not issued for.
    #[error("the public key is not P-256, P-384 or RSA of 2048 to 4096 bits: {0}")]
    Key(&'static str),
    /// The request was not signed by the key it names.
    #[error("the signature does not verify with the public key of the request")]
    Signature,
    /// One of our own authorities' keys.
    #[error("the public key belongs to this certificate authority")]
    OwnKey,
    /// The request asks for a name that is not the caller's.
    #[error("the request names `{found}`, but the caller is `{expected}`")]
    ForeignName {
        /// What the request named, made safe for a log.
        found: String,
        /// The identity the caller proved.
        expected: String,
    },
    /// The request asks for more names or attributes than a workload has.
    #[error("the request carries {0} names or attributes, more than {MAX_NAMES}")]
    TooMany(usize),
}

/// A request whose signature was verified; all that issuance may see of it.
#[derive(Debug)]
pub struct VerifiedCsr {
    key: SubjectPublicKeyInfo,
    key_hash: [u8; 32],
    names: Vec<String>,
}

impl VerifiedCsr {
    /// Parses `der`, checks sizes and algorithms, and only then verifies its signature.
    ///
    /// `own_keys` are SHA-256 hashes of the SubjectPublicKeyInfo of our own authorities.
    pub fn verify(der: &[u8], own_keys: &[[u8; 32]]) -> Result<Self, CsrError> {
        if der.is_empty() {
            return Err(CsrError::Empty);
        }
        if der.len() > MAX_CSR_BYTES {
            return Err(CsrError::TooLong(der.len()));
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::TrailingBytes(rest.len()));
        }
        let info = &request.certification_request_info;
        if info.version.0 != 0 {
            return Err(CsrError::Malformed);
        }
        let spki = &info.subject_pki;
        // Cost before cryptography: a modulus of 16 Kibit or an exponent of 2 Kibit would buy
        // seconds of our time with one small message.
        let family = key_family(spki)?;
        check_signature_algorithm(&request, family)?;
        if request.signature_value.unused_bits != 0 {
            return Err(CsrError::Malformed);
        }
        let names = requested_names(&request)?;
        let key_hash = sha256(spki.raw);
        if own_keys.contains(&key_hash) {
            return Err(CsrError::OwnKey);
        }
        request
            .verify_signature()
            .map_err(|_| CsrError::Signature)?;
        let key = SubjectPublicKeyInfo::from_der(spki.raw)
            .map_err(|_| CsrError::Key("its encoding is unusual"))?;
        Ok(Self {
            key,
            key_hash,
            names,
        })
    }

    /// Refuses the request if it names anything but exactly `id`.
    pub fn names_only(&self, id: &SpiffeId) -> Result<(), CsrError> {
        let expected = format!("URI:{}", id.as_str());
        match self.names.iter().find(|name| **name != expected) {
            None if self.names.len() <= 1 => Ok(()),
            None => Err(CsrError::ForeignName {
                found: format!("{expected} {} times", self.names.len()),
                expected,
            }),
            Some(found) => Err(CsrError::ForeignName {
                found: found.clone(),
                expected,
            }),
        }
    }

    /// Refuses the request if it names a DNS name or address outside `allowed` (`DNS:…`, `IP:…`).
    pub fn names_within(&self, allowed: &[String]) -> Result<(), CsrError> {
        match self.names.iter().find(|name| !allowed.contains(name)) {
            None => Ok(()),
            Some(found) => Err(CsrError::ForeignName {
                found: found.clone(),
                expected: allowed.join(", "),
            }),
        }
    }

    /// The key to certify.
    pub fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }

    /// SHA-256 over the DER of the SubjectPublicKeyInfo.
    pub fn key_hash(&self) -> [u8; 32] {
        self.key_hash
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFamily {
    EllipticCurve,
    Rsa,
}

fn key_family(spki: &ParsedKey<'_>) -> Result<KeyFamily, CsrError> {
    if spki.subject_public_key.unused_bits != 0 {
        return Err(CsrError::Key("its bit string has unused bits"));
    }
    let bytes: &[u8] = &spki.subject_public_key.data;
    let algorithm = &spki.algorithm;
    if algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.as_oid().ok());
        let expected = match curve {
            Some(oid) if oid == OID_EC_P256 => 65,
            Some(oid) if oid == OID_NIST_EC_P384 => 97,
            _ => {
                return Err(CsrError::Key(
                    "an elliptic curve other than P-256 and P-384",
                ));
            }
        };
        // Uncompressed points only (RFC 5480 §2.2): one spelling per key.
        if bytes.len() != expected || bytes.first() != Some(&4) {
            return Err(CsrError::Key("its point is not in uncompressed form"));
        }
        return Ok(KeyFamily::EllipticCurve);
    }
    if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
        let Ok(PublicKey::RSA(rsa)) = spki.parsed() else {
            return Err(CsrError::Key("its RSA key cannot be read"));
        };
        let bits = bit_length(rsa.modulus);
        if !(2048..=4096).contains(&bits) {
            return Err(CsrError::Key("an RSA modulus outside 2048 to 4096 bits"));
        }
        let exponent = rsa.exponent.iter().skip_while(|byte| **byte == 0);
        let (length, value) = exponent.fold((0_usize, 0_u64), |(n, v), byte| {
            (n + 1, (v << 8) | u64::from(*byte))
        });
        if length > 4 || value < 65_537 || value % 2 == 0 {
            return Err(CsrError::Key(
                "an RSA exponent that is even, below 65537 or above 32 bits",
            ));
        }
        return Ok(KeyFamily::Rsa);
    }
    Err(CsrError::Key("a key type that is not issued for"))
}

fn bit_length(integer: &[u8]) -> usize {
    let significant: Vec<u8> = integer
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .take(1024)
        .collect();
    match significant.first() {
        None => 0,
        Some(first) => {
            let leading = usize::try_from(first.leading_zeros()).unwrap_or(0);
            significant.len() * 8 - leading
        }
    }
}

fn check_signature_algorithm(
    request: &X509CertificationRequest<'_>,
    family: KeyFamily,
) -> Result<(), CsrError> {
    let oid = &request.signature_algorithm.algorithm;
    let fits = match family {
        KeyFamily::EllipticCurve => {
            *oid == OID_SIG_ECDSA_WITH_SHA256 || *oid == OID_SIG_ECDSA_WITH_SHA384
        }
        KeyFamily::Rsa => {
            *oid == OID_PKCS1_SHA256WITHRSA
                || *oid == OID_PKCS1_SHA384WITHRSA
                || *oid == OID_PKCS1_SHA512WITHRSA
        }
    };
    if fits {
        Ok(())
    } else {
        Err(CsrError::SignatureAlgorithm(oid.to_id_string()))
    }
}

/// Every subject alternative name of every extension request, as `URI:…`, `DNS:…` or the like.
fn requested_names(request: &X509CertificationRequest<'_>) -> Result<Vec<String>, CsrError> {
    let attributes = request.certification_request_info.attributes();
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(CsrError::TooMany(attributes.len()));
    }
    let mut names = Vec::new();
    // All attributes, not the first: x509-parser's own accessor would miss a second one.
    for attribute in attributes {
        let requested = match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => requested,
            ParsedCriAttribute::UnsupportedAttribute if is_extension_request(attribute) => {
                return Err(CsrError::Malformed);
            }
            _ => continue,
        };
        for extension in &requested.extensions {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(san) => {
                    names.extend(san.general_names.iter().map(spell));
                }
                ParsedExtension::ParseError { .. } => return Err(CsrError::Malformed),
                _ => {}
            }
        }
    }
    if names.len() > MAX_NAMES {
        return Err(CsrError::TooMany(names.len()));
    }
    Ok(names)
}

fn is_extension_request(attribute: &x509_parser::cri_attributes::X509CriAttribute<'_>) -> bool {
    attribute.oid == x509_parser::oid_registry::OID_PKCS9_EXTENSION_REQUEST
}

fn spell(name: &GeneralName<'_>) -> String {
    let text = match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => format!("IP:{}", std::net::Ipv4Addr::new(*a, *b, *c, *d)),
            octets => <[u8; 16]>::try_from(octets).map_or_else(
                |_| "IP:malformed".to_owned(),
                |octets| format!("IP:{}", std::net::Ipv6Addr::from(octets)),
            ),
        },
        GeneralName::RFC822Name(mail) => format!("email:{mail}"),
        other => format!("{other:?}"),
    };
    // INVARIANT: what is logged or compared is bounded; a longer name can't be a SPIFFE ID.
    text.chars().take(2100).collect()
}

#[cfg(test)]
mod tests;
