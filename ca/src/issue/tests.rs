//! The leaf profile, as our parser, the SPIFFE verifier and OpenSSL see it.

use std::process::Command;

use identity::TrustDomain;
use identity::bundle::TrustBundle;
use identity::key::PrivateKey;
use identity::verify::{Purpose, verify_peer};
use rustls_pki_types::UnixTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;
use crate::authority::tests::authority;
use crate::csr::VerifiedCsr;

fn id() -> SpiffeId {
    SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/order-service").unwrap()
}

fn csr() -> VerifiedCsr {
    VerifiedCsr::verify(&PrivateKey::generate().unwrap().csr().unwrap(), &[]).unwrap()
}

#[test]
fn the_leaf_is_exactly_as_x509_svid_wants_it() {
    let now = SystemTime::now();
    let authority = authority(now);
    let leaf = workload(
        &authority.signer,
        csr().public_key(),
        &id(),
        Duration::from_hours(1),
        now,
    )
    .unwrap();
    let (rest, parsed) = X509Certificate::from_der(&leaf.der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(parsed.subject().iter().count(), 0);
    let san = parsed.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical);
    assert_eq!(san.value.general_names.len(), 1);
    let usage = parsed.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digitalSignature and nothing else");
    let extended = parsed.extended_key_usage().unwrap().unwrap();
    assert!(
        extended.value.server_auth && extended.value.client_auth && extended.value.other.is_empty()
    );
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert!(!basic.value.ca);
    assert_eq!(parsed.raw_serial().len(), 17);
    assert_eq!(hex(parsed.raw_serial()), leaf.serial);
    let lifetime =
        parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert_eq!(lifetime, 3660);
    assert_eq!(unix(leaf.validity.not_after), unix(now) + 3600);
}

#[test]
fn serials_differ_also_for_one_key() {
    let now = SystemTime::now();
    let authority = authority(now);
    let csr = csr();
    let issue = || {
        workload(
            &authority.signer,
            csr.public_key(),
            &id(),
            Duration::from_mins(1),
            now,
        )
    };
    assert_ne!(issue().unwrap().serial, issue().unwrap().serial);
}

#[test]
fn no_leaf_outlives_its_issuer_or_comes_before_it() {
    let now = SystemTime::now();
    let authority = authority(now);
    let issuer = authority.signer.validity();
    let near = issuer.not_after - Duration::from_secs(100);
    let validity = authority
        .signer
        .validity_for(Duration::from_hours(1), near)
        .unwrap();
    assert_eq!(validity.not_after, issuer.not_after);
    let at_start = authority
        .signer
        .validity_for(Duration::from_hours(1), issuer.not_before)
        .unwrap();
    assert_eq!(at_start.not_before, issuer.not_before);
    let late = issuer.not_after - Duration::from_secs(5);
    assert!(matches!(
        authority.signer.validity_for(Duration::from_mins(1), late),
        Err(IssueError::IssuerExpires)
    ));
    let early = issuer.not_before - Duration::from_secs(1);
    assert!(matches!(
        authority.signer.validity_for(Duration::from_mins(1), early),
        Err(IssueError::IssuerNotYetValid)
    ));
}

#[test]
fn p384_and_rsa_keys_are_certified_as_they_are() {
    let now = SystemTime::now();
    let authority = authority(now);
    for name in ["p384", "rsa2048"] {
        let file = format!(
            "{}/tests/fixtures/csr/{name}.der",
            env!("CARGO_MANIFEST_DIR")
        );
        let csr = VerifiedCsr::verify(&std::fs::read(file).unwrap(), &[]).unwrap();
        let leaf = workload(
            &authority.signer,
            csr.public_key(),
            &id(),
            Duration::from_mins(5),
            now,
        )
        .unwrap();
        let (_, parsed) = X509Certificate::from_der(&leaf.der).unwrap();
        assert_eq!(sha256(parsed.public_key().raw), csr.key_hash(), "{name}");
    }
}

#[test]
fn the_spiffe_verifier_and_openssl_accept_it() {
    let now = SystemTime::now();
    let authority = authority(now);
    let leaf = workload(
        &authority.signer,
        csr().public_key(),
        &id(),
        Duration::from_hours(1),
        now,
    )
    .unwrap();
    let domain = TrustDomain::parse("cluster.local").unwrap();
    let bundle = TrustBundle::new(domain, 1, vec![authority.root.clone()]).unwrap();
    let chain = [leaf.der.clone(), authority.intermediate.clone()];
    for purpose in [Purpose::Client, Purpose::Server] {
        let peer = verify_peer(&chain, &bundle, purpose, UnixTime::now()).unwrap();
        assert_eq!(peer.id, id());
        assert_eq!(peer.fingerprint, leaf.fingerprint);
    }

    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, der: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem::encode(&pem::Pem::new("CERTIFICATE", der))).unwrap();
        path
    };
    let root = write("root.pem", &authority.root);
    let intermediate = write("intermediate.pem", &authority.intermediate);
    let leaf = write("leaf.pem", &leaf.der);
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl is not on PATH");
        return;
    }
    for purpose in ["sslclient", "sslserver"] {
        let output = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .arg(&root)
            .arg("-untrusted")
            .arg(&intermediate)
            .arg(&leaf)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
