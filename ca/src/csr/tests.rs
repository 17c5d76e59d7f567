//! Requests of every kind, good and bad.

use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/csr");
    std::fs::read(format!("{directory}/{name}.der")).unwrap()
}

fn verify(name: &str) -> Result<VerifiedCsr, CsrError> {
    VerifiedCsr::verify(&fixture(name), &[])
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

#[test]
fn good_keys_pass() {
    for name in ["p256", "p384", "rsa2048", "rsa4096"] {
        let csr = verify(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        csr.names_only(&id("spiffe://cluster.local/ns/a/sa/b"))
            .unwrap();
    }
}

#[test]
fn weak_and_foreign_keys_are_refused() {
    for name in [
        "rsa1024",
        "rsa8192",
        "rsa2048-e3",
        "p521",
        "secp256k1",
        "ed25519",
    ] {
        let error = verify(name).unwrap_err();
        assert!(matches!(error, CsrError::Key(_)), "{name}: {error}");
    }
    for name in ["p256-sha1", "rsa2048-sha1"] {
        let error = verify(name).unwrap_err();
        assert!(
            matches!(error, CsrError::SignatureAlgorithm(_)),
            "{name}: {error}"
        );
    }
}

#[test]
fn only_the_callers_own_name_may_stand_in_it() {
    let ca = verify("ca").unwrap();
    ca.names_only(&id("spiffe://cluster.local/ns/a/sa/b"))
        .unwrap();
    let error = ca
        .names_only(&id("spiffe://cluster.local/ns/a/sa/c"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request names `URI:spiffe://cluster.local/ns/a/sa/b`, but the caller is \
         `URI:spiffe://cluster.local/ns/a/sa/c`"
    );
    for name in ["two-uris", "dns"] {
        let csr = verify(name).unwrap();
        assert!(
            csr.names_only(&id("spiffe://cluster.local/ns/a/sa/b"))
                .is_err(),
            "{name}"
        );
    }
    verify("dns")
        .unwrap()
        .names_within(&["DNS:example.com".to_owned()])
        .unwrap();
    assert!(
        verify("dns")
            .unwrap()
            .names_within(&["DNS:example.org".to_owned()])
            .is_err()
    );
}

#[test]
fn the_signature_is_verified() {
    let mut der = fixture("p256");
    let last = der.len() - 1;
    der[last] ^= 1;
    let error = VerifiedCsr::verify(&der, &[]).unwrap_err();
    assert!(
        matches!(error, CsrError::Signature | CsrError::Malformed),
        "{error}"
    );
    // Another key under a good signature: swap one byte of the public point.
    let der = fixture("p256");
    let point = der
        .windows(4)
        .position(|w| w == [0x03, 0x42, 0x00, 0x04])
        .unwrap()
        + 10;
    let mut other = der;
    other[point] ^= 1;
    assert_eq!(
        VerifiedCsr::verify(&other, &[]).unwrap_err(),
        CsrError::Signature
    );
}

#[test]
fn sizes_and_rests_are_refused() {
    assert_eq!(VerifiedCsr::verify(&[], &[]).unwrap_err(), CsrError::Empty);
    assert_eq!(
        VerifiedCsr::verify(&vec![0x30; 8193], &[]).unwrap_err(),
        CsrError::TooLong(8193)
    );
    let mut der = fixture("p256");
    der.push(0);
    assert_eq!(
        VerifiedCsr::verify(&der, &[]).unwrap_err(),
        CsrError::TrailingBytes(1)
    );
}

#[test]
fn our_own_keys_are_refused() {
    let own = verify("p256").unwrap().key_hash();
    assert_eq!(
        VerifiedCsr::verify(&fixture("p256"), &[own]).unwrap_err(),
        CsrError::OwnKey
    );
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        drop(VerifiedCsr::verify(&bytes, &[]));
    }

    #[test]
    fn a_changed_request_never_panics_and_never_passes_with_another_key(
        at in 0_usize..1000, to in any::<u8>(),
        name in prop_oneof![Just("p256"), Just("rsa2048"), Just("two-uris"), Just("ca")],
    ) {
        let mut der = fixture(name);
        let whole = VerifiedCsr::verify(&der, &[]).unwrap().key_hash();
        let length = der.len();
        der[at % length] = to;
        if let Ok(changed) = VerifiedCsr::verify(&der, &[]) {
            prop_assert_eq!(changed.key_hash(), whole);
        }
    }
}
