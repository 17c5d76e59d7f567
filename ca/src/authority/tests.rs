//! What may be an authority and what may not.

use std::time::{Duration, SystemTime};

use super::*;

/// A new authority of `cluster.local`, for the tests of this crate.
pub(crate) fn authority(now: SystemTime) -> Authority {
    let (root, intermediate) = generations(now);
    Authority::assemble(root.certificate, intermediate).unwrap()
}

fn generations(now: SystemTime) -> (Generation, Generation) {
    let root = new_root("cluster.local", now).unwrap();
    let again = copy(&root);
    let signer = root_signer(root).unwrap();
    let intermediate = new_intermediate("cluster.local", &signer, now).unwrap();
    (again, intermediate)
}

fn copy(generation: &Generation) -> Generation {
    let pem = generation.key.serialize_pem();
    Generation {
        certificate: generation.certificate.clone(),
        key: KeyPair::from_pem(&pem).unwrap(),
    }
}

fn reason(result: Result<impl std::fmt::Debug, AuthorityError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_generation_has_a_name_of_its_own() {
    let now = SystemTime::now();
    let (one, two) = (
        new_root("cluster.local", now).unwrap(),
        new_root("cluster.local", now).unwrap(),
    );
    assert_ne!(subject(&one), subject(&two));
}

fn subject(generation: &Generation) -> String {
    use x509_parser::prelude::FromDer as _;
    let der = &generation.certificate;
    x509_parser::certificate::X509Certificate::from_der(der)
        .unwrap()
        .1
        .subject()
        .to_string()
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let (root, intermediate) = generations(SystemTime::now());
    let mixed = Generation {
        key: sealed_key::generate().unwrap(),
        ..intermediate
    };
    assert!(reason(Authority::assemble(root.certificate, mixed)).contains("not the one beside it"));
}

#[test]
fn an_intermediate_of_another_root_is_refused() {
    let (_, intermediate) = generations(SystemTime::now());
    let (other, _) = generations(SystemTime::now());
    let error = reason(Authority::assemble(other.certificate, intermediate));
    assert!(error.contains("not signed by the root"), "{error}");
}

#[test]
fn a_leaf_or_an_edge_root_is_no_authority() {
    let now = SystemTime::now();
    let (root, intermediate) = generations(now);
    let root_certificate = root.certificate.clone();
    let authority = Authority::assemble(root.certificate, intermediate).unwrap();
    let key = identity::key::PrivateKey::generate().unwrap();
    let csr = crate::csr::VerifiedCsr::verify(&key.csr().unwrap(), &[]).unwrap();
    let id = identity::SpiffeId::parse("spiffe://cluster.local/ns/a/sa/b").unwrap();
    let leaf = crate::issue::workload(
        &authority.signer,
        csr.public_key(),
        &id,
        Duration::from_hours(1),
        now,
    )
    .unwrap();
    let leaf = Generation {
        certificate: leaf.der,
        key: sealed_key::generate().unwrap(),
    };
    let error = reason(Authority::assemble(root_certificate.clone(), leaf));
    assert!(
        error.contains("not marked as a certificate authority"),
        "{error}"
    );
    let edge = new_edge_root(now).unwrap();
    let error = reason(Authority::assemble(root_certificate, edge));
    assert!(error.contains("not signed by the root"), "{error}");
    // pathLen 0: it signs leaves only.
    assert!(reason(root_signer(new_edge_root(now).unwrap())).contains("forbids an intermediate"));
}

#[test]
fn an_intermediate_ends_with_its_root() {
    let now = SystemTime::now();
    let root = new_root("cluster.local", now).unwrap();
    let der = root.certificate.clone();
    let signer = root_signer(root).unwrap();
    let late = signer.validity().not_after - Duration::from_hours(24);
    let end = signer.validity().not_after;
    let authority = Authority::assemble(
        der,
        new_intermediate("cluster.local", &signer, late).unwrap(),
    )
    .unwrap();
    assert_eq!(authority.signer.validity().not_after, end);
}
