//! Certificates for tests, made in-process: a right one by default, wrong where a test says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;

use crate::{bundle::TrustBundle, id::TrustDomain, key::PrivateKey, svid::Svid};

pub(crate) const TD: &str = "cluster.local";
pub(crate) const ORDER: &str = "spiffe://cluster.local/ns/my-app/sa/order-service";

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// 2026-01-01, the clock of tests that take `now` as an argument.
pub(crate) fn fixed_now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(490_896)
}

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse(TD).unwrap()
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A CA's parameters around `now`, a year each way.
pub(crate) fn authority_params(name: &str, now: SystemTime) -> CertificateParams {
    const YEAR: Duration = Duration::from_hours(8760);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![uri("spiffe://cluster.local")];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - YEAR).into();
    params.not_after = (now + YEAR).into();
    params
}

pub(crate) fn root(params: CertificateParams) -> Authority {
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn intermediate(params: CertificateParams, root: &Authority) -> Authority {
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), root).unwrap()
}

/// A leaf's parameters: one hour from a minute ago.
pub(crate) fn leaf_params(id: &str, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![uri(id)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - Duration::from_mins(1)).into();
    params.not_after = (now + Duration::from_hours(1)).into();
    params
}

pub(crate) fn custom(oid: &[u64], content: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, content.to_vec())
}

pub(crate) fn sign(
    params: &CertificateParams,
    key: &impl PublicKeyData,
    issuer: &Issuer<'_, impl SigningKey>,
) -> CertificateDer<'static> {
    params.signed_by(key, issuer).unwrap().der().clone()
}

/// A public key without its private half, as a CA sees it.
pub(crate) struct PublicKey {
    pub(crate) bits: Vec<u8>,
    pub(crate) algorithm: &'static SignatureAlgorithm,
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// The P-256 key of a SubjectPublicKeyInfo.
pub(crate) fn p256(spki: &[u8]) -> PublicKey {
    PublicKey {
        bits: spki.get(spki.len() - 65..).unwrap().to_vec(),
        algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
    }
}

/// A whole small PKI at one time.
pub(crate) struct Pki {
    pub(crate) now: SystemTime,
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
}

impl Pki {
    pub(crate) fn at(now: SystemTime) -> Self {
        let root = root(authority_params("root", now));
        let intermediate = intermediate(authority_params("intermediate", now), &root);
        Self {
            now,
            root,
            intermediate,
        }
    }

    pub(crate) fn new() -> Self {
        Self::at(SystemTime::now())
    }

    pub(crate) fn bundle(&self, sequence: u64) -> TrustBundle {
        TrustBundle::new(trust_domain(), sequence, vec![self.root.der().clone()]).unwrap()
    }

    /// Leaf and intermediate for a public key.
    pub(crate) fn chain_for(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Vec<CertificateDer<'static>> {
        vec![
            sign(params, key, &self.intermediate),
            self.intermediate.der().clone(),
        ]
    }

    pub(crate) fn svid(&self, id: &str) -> Arc<Svid> {
        self.svid_with(&leaf_params(id, self.now))
    }

    pub(crate) fn svid_with(&self, params: &CertificateParams) -> Arc<Svid> {
        let key = PrivateKey::generate().unwrap();
        let chain = self.chain_for(params, &p256(key.public_spki()));
        Arc::new(Svid::new(chain, key).unwrap())
    }
}
