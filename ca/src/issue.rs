//! The fixed profile of a workload's certificate; nothing in it comes from the request but the public key.
//!
//! SPIFFE X509-SVID §4, RFC 5280 §4.2. Exactly one URI name, critical because the subject is
//! empty; an explicit random serial, because the library's default is a hash of the public key and
//! repeats; `ExplicitNoCa`, because clients refuse a leaf without BasicConstraints.

use std::time::{Duration, SystemTime};

use identity::SpiffeId;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;

use crate::csr::sha256;

/// How far in the past a certificate starts, for peers whose clock is behind.
pub const CLOCK_LEEWAY: Duration = Duration::from_mins(1);

/// The shortest remaining life of an issuer under which anything is still issued.
pub const SHORTEST_LIFE: Duration = Duration::from_secs(10);

/// Why a certificate could not be made; always our own trouble, never the caller's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The issuer is about to expire or has expired.
    #[error("the issuing certificate expires within {} seconds", SHORTEST_LIFE.as_secs())]
    IssuerExpires,
    /// The issuer's validity has not begun.
    #[error("the issuing certificate is not valid yet; is the clock right?")]
    IssuerNotYetValid,
    /// The operating system gave no random bytes.
    #[error("no random numbers from the operating system")]
    Random,
    /// Encoding or signing failed.
    #[error("the certificate could not be signed")]
    Sign(#[source] rcgen::Error),
}

/// When a certificate is valid; both ends are whole seconds, as in the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: SystemTime,
    /// Last second.
    pub not_after: SystemTime,
}

/// What the issuing certificate is, and its key.
#[derive(Debug)]
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    validity: Validity,
}

impl Signer {
    /// INVARIANT: `authority::check` has compared certificate and key, CA flag, usages and chain.
    pub(crate) fn new(issuer: Issuer<'static, KeyPair>, validity: Validity) -> Self {
        Self { issuer, validity }
    }

    /// When the issuing certificate is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The DER of the issuing key's SubjectPublicKeyInfo.
    pub fn public_key(&self) -> Vec<u8> {
        use rcgen::PublicKeyData as _;
        self.issuer.key().subject_public_key_info()
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// From one minute ago until `ttl` from now, or the issuer's own end if that is sooner.
    pub fn validity_for(&self, ttl: Duration, now: SystemTime) -> Result<Validity, IssueError> {
        let now = whole_seconds(now);
        if now < self.validity.not_before {
            return Err(IssueError::IssuerNotYetValid);
        }
        if now + SHORTEST_LIFE >= self.validity.not_after {
            return Err(IssueError::IssuerExpires);
        }
        Ok(Validity {
            // A leaf that is older than its issuer is refused by strict verifiers.
            not_before: (now - CLOCK_LEEWAY).max(self.validity.not_before),
            not_after: (now + ttl).min(self.validity.not_after),
        })
    }
}

/// One issued certificate and what the record of it needs.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate in DER.
    pub der: CertificateDer<'static>,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 over the DER.
    pub fingerprint: [u8; 32],
    /// When it is valid.
    pub validity: Validity,
}

/// Certifies that `key` is `id` for `ttl`, or less if the issuer ends sooner.
pub fn workload(
    signer: &Signer,
    key: &SubjectPublicKeyInfo,
    id: &SpiffeId,
    ttl: Duration,
    now: SystemTime,
) -> Result<Leaf, IssueError> {
    let name = id
        .as_str()
        .to_owned()
        .try_into()
        .map_err(IssueError::Sign)?;
    let usages = [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    sign(
        signer,
        key,
        vec![SanType::URI(name)],
        &usages,
        signer.validity_for(ttl, now)?,
    )
}

/// Signs a leaf with an empty subject, so that the names are critical (RFC 5280 §4.2.1.6).
pub(crate) fn sign(
    signer: &Signer,
    key: &SubjectPublicKeyInfo,
    names: Vec<SanType>,
    usages: &[ExtendedKeyUsagePurpose],
    validity: Validity,
) -> Result<Leaf, IssueError> {
    let serial = random_serial()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    params.use_authority_key_identifier_extension = true;
    let certificate = params
        .signed_by(key, &signer.issuer)
        .map_err(IssueError::Sign)?;
    let der: CertificateDer<'static> = certificate.into();
    let fingerprint = sha256(&der);
    Ok(Leaf {
        der,
        serial: hex(&serial),
        fingerprint,
        validity,
    })
}

/// 17 bytes, of which the first is 1: positive, non-zero, 128 random bits, always of one length (RFC 5280 §4.1.2.2).
pub(crate) fn random_serial() -> Result<[u8; 17], IssueError> {
    let mut serial = [1_u8; 17];
    let [_, random @ ..] = &mut serial;
    aws_lc_rs::rand::fill(random).map_err(|_| IssueError::Random)?;
    Ok(serial)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Certificates carry whole seconds; what is recorded must be what is signed.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix(time))
}

/// Seconds since 1970; 0 before.
pub(crate) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
