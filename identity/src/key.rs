//! P-256 keys: made here, never logged, wiped when dropped.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{crypto::aws_lc_rs::sign::any_ecdsa_type, sign::SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

/// DER of a P-256 SubjectPublicKeyInfo up to the uncompressed point (RFC 5480 §2).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// `AlgorithmIdentifier` of ecdsa-with-SHA256 (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
const POINT_BYTES: usize = 65;

/// Why a key could not be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The random generator or the library failed.
    #[error("the cryptography library could not {doing}")]
    Library {
        /// What was attempted.
        doing: &'static str,
    },
    /// Not one PEM block `PRIVATE KEY`.
    #[error("expected one PEM block `PRIVATE KEY` (PKCS #8): {reason}")]
    Pem {
        /// What the PEM reader said.
        reason: String,
    },
    /// Not PKCS #8, or not on P-256.
    #[error("expected an unencrypted PKCS #8 key on P-256")]
    NotP256,
    /// Not a SubjectPublicKeyInfo of a P-256 point in uncompressed form.
    #[error("expected a SubjectPublicKeyInfo (DER) of an uncompressed P-256 point")]
    PublicKey,
    /// The signature does not fit the key and the message.
    #[error("the signature does not match")]
    Signature,
}

/// A P-256 private key. `Debug` masks it; memory is wiped on drop.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, KeyError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::Library {
                    doing: "generate a key",
                })?;
        Self::from_pkcs8_der(document.as_ref())
    }

    /// Reads an unencrypted PKCS #8 key on P-256.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|_| KeyError::NotP256)?;
        let mut spki = P256_SPKI_PREFIX.to_vec();
        spki.extend_from_slice(pair.public_key().as_ref());
        Ok(Self {
            pkcs8: Zeroizing::new(der.to_vec()),
            pair,
            spki,
        })
    }

    /// Reads one PEM block `PRIVATE KEY`.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| KeyError::Pem {
                reason: error.to_string(),
            })?;
        Self::from_pkcs8_der(der.secret_pkcs8_der())
    }

    /// Writes one PEM block `PRIVATE KEY`.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(STANDARD.encode(&*self.pkcs8));
        Zeroizing::new(pem_block("PRIVATE KEY", &encoded))
    }

    /// The PKCS #8 form, DER.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The SubjectPublicKeyInfo, DER.
    pub fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    /// Signs a message: ECDSA, SHA-256, ASN.1 form.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| KeyError::Library { doing: "sign" })?;
        Ok(signature.as_ref().to_vec())
    }

    /// Makes a certificate signing request (PKCS #10, DER) that carries the public key and the proof of possession
    /// and nothing else: no subject, no names, no attributes (names come from attestation).
    pub fn csr(&self) -> Result<Vec<u8>, KeyError> {
        const VERSION: [u8; 3] = [0x02, 0x01, 0x00];
        const EMPTY_SUBJECT: [u8; 2] = [0x30, 0x00];
        const NO_ATTRIBUTES: [u8; 2] = [0xa0, 0x00];
        let info = sequence(&[&VERSION, &EMPTY_SUBJECT, &self.spki, &NO_ATTRIBUTES]);
        let signature = self.sign(&info)?;
        // BIT STRING with no unused bits.
        let bits = element(0x03, &[&[0x00], &signature]);
        Ok(sequence(&[&info, &ECDSA_WITH_SHA256, &bits]))
    }

    /// The key in the form that rustls signs handshakes with.
    pub(crate) fn tls_signing_key(&self) -> Result<Arc<dyn SigningKey>, KeyError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.as_slice()));
        any_ecdsa_type(&der).map_err(|_| KeyError::NotP256)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(P-256, masked)")
    }
}

/// Checks an ECDSA P-256/SHA-256 signature (ASN.1) by the holder of a SubjectPublicKeyInfo (DER).
pub fn verify_p256(spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
    let point = spki
        .strip_prefix(&P256_SPKI_PREFIX)
        .filter(|point| point.len() == POINT_BYTES && point.first() == Some(&4))
        .ok_or(KeyError::PublicKey)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(message, signature)
        .map_err(|_| KeyError::Signature)
}

/// Wraps base64 in one PEM block (RFC 7468 §2).
pub(crate) fn pem_block(label: &str, encoded: &str) -> String {
    // The whole capacity at once: a growing string would leave copies of a key behind.
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 40);
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index.is_multiple_of(64) {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str("\n-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, parts)
}

/// One DER element; the contents of a P-256 request stay below 64 KiB, the limit of a two-byte length.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let [.., high, low] = length.to_be_bytes();
    let mut der = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => der.push(low),
        (0, _) => der.extend([0x81, low]),
        _ => der.extend([0x82, high, low]),
    }
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

    use super::*;

    #[test]
    fn pem_round_trip_and_signature() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(key.public_spki(), again.public_spki());
        let signature = again.sign(b"hello").unwrap();
        verify_p256(key.public_spki(), b"hello", &signature).unwrap();
        assert_eq!(
            verify_p256(key.public_spki(), b"hullo", &signature),
            Err(KeyError::Signature)
        );
        let other = PrivateKey::generate().unwrap();
        assert_eq!(
            verify_p256(other.public_spki(), b"hello", &signature),
            Err(KeyError::Signature)
        );
        assert_eq!(
            verify_p256(&key.public_spki()[1..], b"hello", &signature),
            Err(KeyError::PublicKey)
        );
    }

    #[test]
    fn debug_masks() {
        let key = PrivateKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(P-256, masked)");
    }

    #[test]
    fn other_keys_are_refused() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(
            PrivateKey::from_pem(&p384.serialize_pem()).unwrap_err(),
            KeyError::NotP256
        );
        assert!(matches!(
            PrivateKey::from_pem("nonsense"),
            Err(KeyError::Pem { .. })
        ));
        let p256 = rcgen::KeyPair::generate().unwrap();
        assert!(PrivateKey::from_pem(&p256.serialize_pem()).is_ok());
    }

    #[test]
    fn csr_is_minimal_and_proves_possession() {
        let key = PrivateKey::generate().unwrap();
        let der = key.csr().unwrap();
        let (rest, csr) = X509CertificationRequest::from_der(&der).unwrap();
        assert!(rest.is_empty());
        csr.verify_signature().unwrap();
        let info = &csr.certification_request_info;
        assert_eq!(info.subject_pki.raw, key.public_spki());
        assert!(info.subject.as_raw() == [0x30, 0x00]);
        assert!(info.attributes().is_empty());
    }
}
