//! Chains that are wrong in exactly one respect, and the reason each is refused for.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType,
};

use super::*;
use crate::test_pki::{
    Authority, ORDER, Pki, PublicKey, authority_params, custom, fixed_now, intermediate,
    leaf_params, root, sign, trust_domain, uri,
};

type Chain = Vec<CertificateDer<'static>>;

const SAN_OID: [u64; 4] = [2, 5, 29, 17];
const KEY_USAGE_OID: [u64; 4] = [2, 5, 29, 15];

fn pki() -> Pki {
    Pki::at(fixed_now())
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// A chain whose leaf differs from a right one by `change`.
fn leaf_with(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Chain {
    let mut params = leaf_params(ORDER, pki.now);
    change(&mut params);
    pki.chain_for(&params, &key())
}

/// A chain whose intermediate differs from a right one by `change`.
fn intermediate_with(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Chain {
    let mut params = authority_params("intermediate", pki.now);
    change(&mut params);
    under(&intermediate(params, &pki.root), pki)
}

fn under(issuer: &Authority, pki: &Pki) -> Chain {
    let leaf = sign(&leaf_params(ORDER, pki.now), &key(), issuer);
    vec![leaf, issuer.der().clone()]
}

fn with_id(pki: &Pki, id: &str) -> Chain {
    leaf_with(pki, |leaf| leaf.subject_alt_names = vec![uri(id)])
}

/// SAN as raw bytes: a SEQUENCE of one context-specific entry 6 (URI).
fn raw_uri_san(value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 120);
    let mut der = vec![0x30, length + 2, 0x86, length];
    der.extend(value);
    der
}

/// An RSA public key of 1024 bits; nobody needs its private half to be tricked into trusting it.
fn rsa_1024() -> PublicKey {
    let mut bits = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    bits.extend([0xc5; 128]);
    bits.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    PublicKey {
        bits,
        algorithm: &PKCS_RSA_SHA256,
    }
}

fn reason(error: &VerifyError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn verify_both(
    chain: &Chain,
    bundle: &TrustBundle,
    now: SystemTime,
) -> [Result<PeerIdentity, VerifyError>; 2] {
    [Purpose::Client, Purpose::Server]
        .map(|purpose| verify_peer(chain, bundle, purpose, unix_time(now)))
}

#[test]
fn right_chains_are_accepted() {
    let pki = pki();
    let good = leaf_params(ORDER, pki.now);
    let direct = vec![sign(&good, &key(), &pki.root)];
    let mut with_root = leaf_with(&pki, |_| {});
    with_root.push(pki.root.der().clone());
    let chains: Vec<(&str, Chain)> = vec![
        ("plain", leaf_with(&pki, |_| {})),
        ("straight from the root", direct),
        ("root in the chain", with_root),
        (
            "with DNS and IP names",
            leaf_with(&pki, |leaf| {
                leaf.subject_alt_names
                    .push(SanType::DnsName("order.my-app".try_into().unwrap()));
                leaf.subject_alt_names
                    .push(SanType::IpAddress([127, 0, 0, 1].into()));
            }),
        ),
        (
            "with a subject",
            leaf_with(&pki, |leaf| {
                leaf.distinguished_name.push(DnType::CommonName, "order");
            }),
        ),
        (
            "without EKU",
            leaf_with(&pki, |leaf| leaf.extended_key_usages.clear()),
        ),
        (
            "with keyEncipherment",
            leaf_with(&pki, |leaf| {
                leaf.key_usages.push(KeyUsagePurpose::KeyEncipherment);
            }),
        ),
        (
            "P-384",
            pki.chain_for(
                &good,
                &KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            ),
        ),
        (
            "Ed25519",
            pki.chain_for(&good, &KeyPair::generate_for(&PKCS_ED25519).unwrap()),
        ),
        (
            "RSA-2048",
            pki.chain_for(&good, &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()),
        ),
        (
            "intermediate without an id",
            intermediate_with(&pki, |ca| ca.subject_alt_names.clear()),
        ),
        (
            "intermediate with a path length",
            intermediate_with(&pki, |ca| {
                ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            }),
        ),
    ];
    for (name, chain) in chains {
        for result in verify_both(&chain, &pki.bundle(1), pki.now) {
            let peer = result.unwrap_or_else(|error| panic!("{name}: {}", reason(&error)));
            assert_eq!(peer.id.as_str(), ORDER, "{name}");
            assert_eq!(peer.not_after, pki.now + Duration::from_hours(1), "{name}");
            assert_eq!(peer.fingerprint, sha256(&chain[0]), "{name}");
        }
    }
}

/// Name, chain, and what the reason must contain.
fn bad_leaves(pki: &Pki) -> Vec<(&'static str, Chain, &'static str)> {
    let now = pki.now;
    let hour = Duration::from_hours(1);
    let mut rows = vec![
        (
            "two URI SANs",
            leaf_with(pki, |leaf| {
                leaf.subject_alt_names.push(uri("spiffe://cluster.local/b"));
            }),
            "2 URI SANs",
        ),
        (
            "the same URI SAN twice",
            leaf_with(pki, |leaf| leaf.subject_alt_names.push(uri(ORDER))),
            "2 URI SANs",
        ),
        (
            "a second URI SAN of another scheme",
            leaf_with(pki, |leaf| leaf.subject_alt_names.push(uri("https://x"))),
            "2 URI SANs",
        ),
        (
            "no SAN",
            leaf_with(pki, |leaf| leaf.subject_alt_names.clear()),
            "no URI SAN",
        ),
        (
            "only a DNS SAN",
            leaf_with(pki, |leaf| {
                leaf.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())];
            }),
            "no URI SAN",
        ),
        (
            "wrong trust domain",
            with_id(pki, "spiffe://other.local/ns/my-app/sa/order-service"),
            "trust domain `other.local`",
        ),
        (
            "trust domain as a prefix",
            with_id(pki, "spiffe://cluster.local.evil/a"),
            "trust domain `cluster.local.evil`",
        ),
        (
            "CA leaf",
            leaf_with(pki, |leaf| {
                leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            "CaUsedAsEndEntity",
        ),
        (
            "no BasicConstraints",
            leaf_with(pki, |leaf| leaf.is_ca = IsCa::NoCa),
            "BasicConstraints",
        ),
        (
            "keyCertSign leaf",
            leaf_with(pki, |leaf| {
                leaf.key_usages.push(KeyUsagePurpose::KeyCertSign);
            }),
            "keyCertSign",
        ),
        (
            "cRLSign leaf",
            leaf_with(pki, |leaf| leaf.key_usages.push(KeyUsagePurpose::CrlSign)),
            "cRLSign",
        ),
        (
            "no digitalSignature",
            leaf_with(pki, |leaf| {
                leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement];
            }),
            "lacks digitalSignature",
        ),
        (
            "no KeyUsage",
            leaf_with(pki, |leaf| leaf.key_usages.clear()),
            "KeyUsage is absent",
        ),
        (
            "KeyUsage not critical",
            leaf_with(pki, |leaf| {
                leaf.key_usages.clear();
                leaf.custom_extensions
                    .push(custom(&KEY_USAGE_OID, &[0x03, 0x02, 0x07, 0x80]));
            }),
            "KeyUsage is not critical",
        ),
        (
            "expired",
            leaf_with(pki, |leaf| {
                leaf.not_before = (now - hour).into();
                leaf.not_after = (now - Duration::from_secs(1)).into();
            }),
            "expired",
        ),
        (
            "not yet valid",
            leaf_with(pki, |leaf| {
                leaf.not_before = (now + Duration::from_secs(1)).into();
            }),
            "not valid yet",
        ),
        (
            "RSA-1024",
            pki.chain_for(&leaf_params(ORDER, now), &rsa_1024()),
            "RSA of 1024 bits",
        ),
        (
            "unknown critical extension",
            leaf_with(pki, |leaf| {
                let mut unknown = custom(&[1, 2, 3, 4], &[0x05, 0x00]);
                unknown.set_criticality(true);
                leaf.custom_extensions.push(unknown);
            }),
            "UnsupportedCriticalExtension",
        ),
        (
            "names not critical under an empty subject",
            leaf_with(pki, |leaf| {
                leaf.subject_alt_names.clear();
                leaf.custom_extensions
                    .push(custom(&SAN_OID, &raw_uri_san(ORDER.as_bytes())));
            }),
            "not critical",
        ),
    ];
    for (name, uri, expected) in [
        ("NUL in the id", &b"spiffe://cluster.local/a\0b"[..], "0x00"),
        ("newline at the end", b"spiffe://cluster.local/a\n", "0x0a"),
        ("percent", b"spiffe://cluster.local/%61", "0x25"),
        ("query", b"spiffe://cluster.local/a?b", "0x3f"),
        ("fragment", b"spiffe://cluster.local/a#b", "0x23"),
        ("port", b"spiffe://cluster.local:443/a", "0x3a"),
        ("user", b"spiffe://u@cluster.local/a", "0x40"),
        (
            "upper-case scheme",
            b"SPIFFE://cluster.local/a",
            "begins with",
        ),
        (
            "upper-case trust domain",
            b"spiffe://Cluster.local/a",
            "0x43",
        ),
        ("no scheme", b"cluster.local/a", "begins with"),
        ("https", b"https://cluster.local/a", "begins with"),
        ("root path", b"spiffe://cluster.local", "has a path"),
        (
            "trailing slash",
            b"spiffe://cluster.local/a/",
            "empty segment",
        ),
        (
            "double slash",
            b"spiffe://cluster.local//a",
            "empty segment",
        ),
        ("dot segment", b"spiffe://cluster.local/a/../b", "`..`"),
        (
            "empty trust domain",
            b"spiffe:///a",
            "trust domain is empty",
        ),
        ("empty URI", b"", "begins with"),
        (
            "Latin-1 byte",
            b"spiffe://cluster.local/\xe9",
            "cannot be read",
        ),
        ("UTF-8", b"spiffe://cluster.local/\xc3\xa9", "0xc3"),
    ] {
        let chain = leaf_with(pki, |leaf| {
            leaf.subject_alt_names.clear();
            let mut san = custom(&SAN_OID, &raw_uri_san(uri));
            san.set_criticality(true);
            leaf.custom_extensions.push(san);
        });
        rows.push((name, chain, expected));
    }
    rows
}

fn bad_chains(pki: &Pki) -> Vec<(&'static str, Chain, &'static str)> {
    let now = pki.now;
    let foreign = Pki::at(now);
    let other_root = root(authority_params("root", now));
    let same_name = intermediate(authority_params("intermediate", now), &other_root);
    let good = leaf_with(pki, |_| {});
    let mut tampered = good.clone();
    let mut bytes = tampered[0].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    tampered[0] = bytes.into();
    let mut trailing = good.clone();
    let mut bytes = trailing[0].to_vec();
    bytes.push(0);
    trailing[0] = bytes.into();
    let mut stranger = good.clone();
    stranger.push(leaf_with(pki, |_| {})[0].clone());
    let mut junk = good.clone();
    junk.push(vec![0x30, 0x00].into());
    let mut long = good.clone();
    long.extend(std::iter::repeat_n(pki.root.der().clone(), MAX_CHAIN));
    let by_leaf = {
        let signer = key();
        let params = leaf_params("spiffe://cluster.local/b", now);
        let middle = sign(&params, &signer, &pki.intermediate);
        let issuer = rcgen::Issuer::new(params, signer);
        let leaf = sign(&leaf_params(ORDER, now), &key(), &issuer);
        vec![leaf, middle, pki.intermediate.der().clone()]
    };
    vec![
        (
            "foreign root",
            foreign.chain_for(&leaf_params(ORDER, now), &key()),
            "BadSignature",
        ),
        (
            "foreign root with the same names",
            under(&same_name, pki),
            "BadSignature",
        ),
        (
            "intermediate left out",
            vec![good[0].clone()],
            "UnknownIssuer",
        ),
        ("signature changed", tampered, "BadSignature"),
        ("bytes after the leaf", trailing, "BadEncoding"),
        (
            "an unrelated leaf in the chain",
            stranger,
            "certificate 2 of the chain",
        ),
        ("junk in the chain", junk, "certificate 2 of the chain"),
        ("too many certificates", long, "expected at most 16"),
        ("signed by a leaf", by_leaf, "EndEntityUsedAsCa"),
        ("no certificate", Vec::new(), "sent no certificate"),
        (
            "intermediate without keyCertSign",
            intermediate_with(pki, |ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign]),
            "lacks keyCertSign",
        ),
        (
            "intermediate without KeyUsage",
            intermediate_with(pki, |ca| ca.key_usages.clear()),
            "KeyUsage is absent",
        ),
        (
            "intermediate that is no CA",
            intermediate_with(pki, |ca| ca.is_ca = IsCa::ExplicitNoCa),
            "EndEntityUsedAsCa",
        ),
        (
            "intermediate with a path",
            intermediate_with(pki, |ca| {
                ca.subject_alt_names = vec![uri("spiffe://cluster.local/ca")];
            }),
            "signing certificate",
        ),
        (
            "intermediate of another trust domain",
            intermediate_with(pki, |ca| {
                ca.subject_alt_names = vec![uri("spiffe://other.local")];
            }),
            "signing certificate",
        ),
        (
            "intermediate with two ids",
            intermediate_with(pki, |ca| {
                ca.subject_alt_names.push(uri("spiffe://other.local"));
            }),
            "2 URI SANs",
        ),
        (
            "expired intermediate",
            intermediate_with(pki, |ca| {
                ca.not_after = (now - Duration::from_secs(1)).into();
            }),
            "expired",
        ),
        (
            "intermediate not yet valid",
            intermediate_with(pki, |ca| {
                ca.not_before = (now + Duration::from_secs(1)).into();
            }),
            "not valid yet",
        ),
    ]
}

#[test]
fn wrong_chains_are_refused_each_for_its_reason() {
    let pki = pki();
    let bundle = pki.bundle(1);
    let mut rows = bad_leaves(&pki);
    rows.extend(bad_chains(&pki));
    assert!(rows.len() > 50);
    for (name, chain, expected) in rows {
        for result in verify_both(&chain, &bundle, pki.now) {
            let Err(error) = result else {
                panic!("{name}: accepted");
            };
            let reason = reason(&error);
            assert!(reason.contains(expected), "{name}: {reason}");
        }
    }
}

#[test]
fn one_purpose_alone_is_refused_for_both() {
    let pki = pki();
    for purpose in [
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ] {
        let chain = leaf_with(&pki, |leaf| leaf.extended_key_usages = vec![purpose]);
        for result in verify_both(&chain, &pki.bundle(1), pki.now) {
            assert!(result.is_err());
        }
    }
}

#[test]
fn a_path_length_is_held() {
    let pki = pki();
    let mut params = authority_params("upper", pki.now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let upper = intermediate(params, &pki.root);
    let lower = intermediate(authority_params("lower", pki.now), &upper);
    let mut chain = under(&lower, &pki);
    chain.push(upper.der().clone());
    for result in verify_both(&chain, &pki.bundle(1), pki.now) {
        assert!(result.is_err());
    }
}

#[test]
fn an_empty_bundle_trusts_nobody() {
    let pki = pki();
    let empty = TrustBundle::new(trust_domain(), 2, Vec::new()).unwrap();
    for result in verify_both(&leaf_with(&pki, |_| {}), &empty, pki.now) {
        assert!(matches!(result, Err(VerifyError::NoRoots { .. })));
    }
}

#[test]
fn a_leaf_is_no_root() {
    let pki = pki();
    let leaf = leaf_with(&pki, |_| {}).remove(0);
    assert!(TrustBundle::new(trust_domain(), 1, vec![leaf]).is_err());
    let other = root(authority_params("root", pki.now));
    let bundle = TrustBundle::new(
        TrustDomain::parse("other.local").unwrap(),
        1,
        vec![other.der().clone()],
    );
    assert!(
        bundle.is_err(),
        "a root named cluster.local in the bundle of other.local"
    );
}

#[test]
fn bundles_hash_by_content_and_survive_pem() {
    let (a, b) = (pki(), pki());
    let bundle = |roots: [&Authority; 2]| {
        let ders = roots.map(|root| root.der().clone()).to_vec();
        TrustBundle::new(trust_domain(), 1, ders).unwrap()
    };
    let ab = bundle([&a.root, &b.root]);
    assert_eq!(ab.hash(), bundle([&b.root, &a.root]).hash());
    assert_ne!(ab.hash(), a.bundle(1).hash());
    assert_eq!(
        TrustBundle::from_pem(trust_domain(), 1, &ab.to_pem()).unwrap(),
        ab
    );
}
