//! The authorities that sign: a root that signs intermediates only, and the online intermediate that signs workloads.
//!
//! Both are P-256 and made at first start. Every generation has a subject of its own, because a
//! new key under an old name breaks chains (istio#19644). There are no URI name constraints:
//! webpki refuses every certificate below them.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use crate::csr::sha256;
use crate::issue::{
    CLOCK_LEEWAY, IssueError, Signer, Validity, hex, random_serial, unix, whole_seconds,
};

pub mod check;
pub mod sealed_key;
pub mod shelf;

pub use check::{AuthorityError, Place};

/// How long a new root lives.
pub const ROOT_LIFE: Duration = Duration::from_hours(24 * 3650);
/// How long a new intermediate lives.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_hours(24 * 365);
/// How long a new edge root lives.
pub const EDGE_ROOT_LIFE: Duration = Duration::from_hours(24 * 825);

/// A certificate and the key that belongs to it.
#[derive(Debug)]
pub struct Generation {
    /// The certificate in DER.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: KeyPair,
}

/// Makes a root of `trust_domain` that may sign intermediates but no intermediate of theirs.
pub fn new_root(trust_domain: &str, now: SystemTime) -> Result<Generation, AuthorityError> {
    let key = sealed_key::generate().map_err(|source| AuthorityError::Key {
        file: shelf::ROOT_KEY.to_owned(),
        source,
    })?;
    let params = authority_params("Portcullis Root", trust_domain, &key, 1, ROOT_LIFE, now)?;
    let certificate = params.self_signed(&key).map_err(IssueError::Sign)?.into();
    Ok(Generation { certificate, key })
}

/// Makes an intermediate below `root`; it ends no later than the root.
pub fn new_intermediate(
    trust_domain: &str,
    root: &Signer,
    now: SystemTime,
) -> Result<Generation, AuthorityError> {
    let key = sealed_key::generate().map_err(|source| AuthorityError::Key {
        file: shelf::INTERMEDIATE.to_owned(),
        source,
    })?;
    let validity = root.validity_for(INTERMEDIATE_LIFE, now)?;
    let mut params = authority_params(
        "Portcullis Intermediate",
        trust_domain,
        &key,
        0,
        INTERMEDIATE_LIFE,
        now,
    )?;
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.use_authority_key_identifier_extension = true;
    let certificate = params
        .signed_by(&key, root.issuer())
        .map_err(IssueError::Sign)?
        .into();
    Ok(Generation { certificate, key })
}

/// Makes the laptop's edge root: another key, another name, and no trust domain in it, so that it is no SPIFFE authority.
pub fn new_edge_root(now: SystemTime) -> Result<Generation, AuthorityError> {
    let key = sealed_key::generate().map_err(|source| AuthorityError::Key {
        file: shelf::EDGE_ROOT.to_owned(),
        source,
    })?;
    let mut params = authority_params("Portcullis Edge Root", "", &key, 0, EDGE_ROOT_LIFE, now)?;
    params.subject_alt_names.clear();
    let certificate = params.self_signed(&key).map_err(IssueError::Sign)?.into();
    Ok(Generation { certificate, key })
}

fn authority_params(
    role: &str,
    trust_domain: &str,
    key: &KeyPair,
    path_length: u8,
    life: Duration,
    now: SystemTime,
) -> Result<CertificateParams, AuthorityError> {
    let serial = random_serial()?;
    let now = whole_seconds(now);
    let generation = hex(sha256(key.der_bytes()).get(..4).unwrap_or_default());
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Portcullis");
    // RFC 5280 allows 64 characters in a common name; a trust domain may have 255.
    let domain: String = trust_domain.chars().take(24).collect();
    let common = format!("{role} {domain} {} {generation}", unix(now));
    name.push(
        DnType::CommonName,
        common.split_whitespace().collect::<Vec<_>>().join(" "),
    );
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = (now - CLOCK_LEEWAY).into();
    params.not_after = (now + life).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // A signing authority is an SVID without a path (X509-SVID §4.1).
    let id = format!("spiffe://{trust_domain}");
    params.subject_alt_names = vec![SanType::URI(id.try_into().map_err(IssueError::Sign)?)];
    Ok(params)
}

/// What signs workloads: a root's certificate, and the intermediate below it with its key.
#[derive(Debug)]
pub struct Authority {
    /// The root's certificate.
    pub root: CertificateDer<'static>,
    /// When the root is valid.
    pub root_validity: Validity,
    /// The intermediate's certificate.
    pub intermediate: CertificateDer<'static>,
    /// The intermediate's key.
    pub signer: Signer,
    /// SHA-256 of the intermediate's certificate, for the record.
    pub issuer: [u8; 32],
    /// SHA-256 of the keys that no workload may have.
    pub own_keys: Vec<[u8; 32]>,
}

impl Authority {
    /// Puts the parts together after comparing each with the others. Does not look at the clock.
    pub fn assemble(
        root: CertificateDer<'static>,
        intermediate: Generation,
    ) -> Result<Self, AuthorityError> {
        let root_validity = check::check_certificate(shelf::ROOT, &root, Place::Root)?;
        let Generation { certificate, key } = intermediate;
        let below = Place::Below(&root);
        let validity = check::check_certificate(shelf::INTERMEDIATE, &certificate, below)?;
        check::check_key(shelf::INTERMEDIATE, &certificate, &key)?;
        let own_keys = vec![
            sha256(&check::public_key(shelf::ROOT, &root)?),
            sha256(&key.subject_public_key_info()),
        ];
        let issuer = sha256(&certificate);
        let signer = signer(&certificate, key, validity)?;
        Ok(Self {
            root,
            root_validity,
            intermediate: certificate,
            signer,
            issuer,
            own_keys,
        })
    }
}

/// A root that can sign an intermediate, checked.
pub fn root_signer(root: Generation) -> Result<Signer, AuthorityError> {
    let validity = check::check_certificate(shelf::ROOT, &root.certificate, Place::Root)?;
    check::check_key(shelf::ROOT_KEY, &root.certificate, &root.key)?;
    signer(&root.certificate, root.key, validity)
}

/// The edge root, checked.
pub fn edge_signer(root: Generation) -> Result<(CertificateDer<'static>, Signer), AuthorityError> {
    let Generation { certificate, key } = root;
    let validity = check::check_certificate(shelf::EDGE_ROOT, &certificate, Place::EdgeRoot)?;
    check::check_key(shelf::EDGE_ROOT, &certificate, &key)?;
    let signer = signer(&certificate, key, validity)?;
    Ok((certificate, signer))
}

fn signer(
    certificate: &CertificateDer<'static>,
    key: KeyPair,
    validity: Validity,
) -> Result<Signer, AuthorityError> {
    let issuer = Issuer::from_ca_cert_der(certificate, key).map_err(IssueError::Sign)?;
    Ok(Signer::new(issuer, validity))
}

#[cfg(test)]
pub(crate) mod tests;
