//! Every rule of SPIFFE-ID §2, and what hostile bytes may not do.

use proptest::prelude::*;

use super::*;

#[test]
fn valid_ids() {
    for uri in [
        "spiffe://td",
        "spiffe://cluster.local/ns/my-app/sa/order-service",
        "spiffe://127.0.0.1/a",
        "spiffe://under_score-dash.dot/A/b/C",
        "spiffe://td/.../..a/a..",
        "spiffe://td/portcullis/ca",
    ] {
        let id = SpiffeId::parse(uri).unwrap();
        assert_eq!(id.as_str(), uri);
        assert_eq!(format!("{SCHEME}{}{}", id.trust_domain(), id.path()), uri);
        assert_eq!(SpiffeId::from_bytes(uri.as_bytes()).unwrap(), id);
    }
}

#[test]
fn invalid_ids() {
    use SpiffeIdError as E;
    let byte = |byte, position| E::TrustDomainByte { byte, position };
    let in_path = |byte, position| E::PathByte { byte, position };
    let cases: &[(&[u8], E)] = &[
        (b"", E::Scheme),
        (b"spiffe:/td/a", E::Scheme),
        (b"http://td/a", E::Scheme),
        (b"SPIFFE://td/a", E::Scheme),
        (b" spiffe://td/a", E::Scheme),
        (b"spiffe://", E::TrustDomainEmpty),
        (b"spiffe:///a", E::TrustDomainEmpty),
        (b"spiffe://Td/a", byte(b'T', 9)),
        (b"spiffe://td:80/a", byte(b':', 11)),
        (b"spiffe://td:/a", byte(b':', 11)),
        (b"spiffe://u@td/a", byte(b'@', 10)),
        (b"spiffe://[::1]/a", byte(b'[', 9)),
        (b"spiffe://t%64/a", byte(b'%', 10)),
        (b"spiffe://td?q", byte(b'?', 11)),
        (b"spiffe://td#", byte(b'#', 11)),
        (b"spiffe://\xe2\x84\xaahost/a", byte(0xe2, 9)),
        (b"spiffe://td/a?", in_path(b'?', 13)),
        (b"spiffe://td/a#f", in_path(b'#', 13)),
        (b"spiffe://td/%41", in_path(b'%', 12)),
        (b"spiffe://td/a\n", in_path(b'\n', 13)),
        (b"spiffe://td/a\0b", in_path(0, 13)),
        (b"spiffe://td/a b", in_path(b' ', 13)),
        (b"spiffe://td/\xff", in_path(0xff, 12)),
        (b"spiffe://td/a:b", in_path(b':', 13)),
        (b"spiffe://td/", E::EmptySegment),
        (b"spiffe://td//a", E::EmptySegment),
        (b"spiffe://td/a/", E::EmptySegment),
        (b"spiffe://td/./a", E::DotSegment),
        (b"spiffe://td/a/..", E::DotSegment),
    ];
    for (uri, expected) in cases {
        assert_eq!(
            SpiffeId::from_bytes(uri).as_ref(),
            Err(expected),
            "{}",
            uri.escape_ascii()
        );
    }
}

#[test]
fn lengths_are_bounded() {
    let longest = format!("spiffe://td/{}", "a".repeat(MAX_ID_BYTES - 12));
    assert_eq!(longest.len(), MAX_ID_BYTES);
    assert!(SpiffeId::parse(&longest).is_ok());
    assert_eq!(
        SpiffeId::parse(&format!("{longest}a")),
        Err(SpiffeIdError::TooLong { length: 2049 })
    );
    assert!(TrustDomain::parse(&"a".repeat(255)).is_ok());
    assert_eq!(
        TrustDomain::parse(&"a".repeat(256)),
        Err(SpiffeIdError::TrustDomainTooLong { length: 256 })
    );
}

#[test]
fn workload_names() {
    let td = TrustDomain::parse("cluster.local").unwrap();
    let id = SpiffeId::for_workload(&td, "my-app", "order-service").unwrap();
    assert_eq!(
        id.as_str(),
        "spiffe://cluster.local/ns/my-app/sa/order-service"
    );
    assert_eq!(id.principal(), "cluster.local/ns/my-app/sa/order-service");
    assert_eq!(id.namespace(), Some("my-app"));
    assert_eq!(id.service_account(), Some("order-service"));
    for (namespace, account) in [
        ("a/b", "c"),
        ("", "c"),
        ("a", ".."),
        ("a", "b\n"),
        ("é", "b"),
    ] {
        assert!(SpiffeId::for_workload(&td, namespace, account).is_err());
    }
    for other in [
        "spiffe://td",
        "spiffe://td/ns/a",
        "spiffe://td/ns/a/sa/b/c",
        "spiffe://td/ns/a/b/sa/c",
        "spiffe://td/x/ns/a/sa/b",
    ] {
        let id = SpiffeId::parse(other).unwrap();
        assert_eq!((id.namespace(), id.service_account()), (None, None));
    }
}

#[test]
fn reserved_names() {
    let td = TrustDomain::parse("td").unwrap();
    assert_eq!(td.ca_id().as_str(), "spiffe://td/portcullis/ca");
    assert_eq!(SpiffeId::parse(td.ca_id().as_str()).unwrap(), td.ca_id());
    assert!(td.ca_id().is_reserved());
    assert!(
        SpiffeId::parse("spiffe://td/portcullis")
            .unwrap()
            .is_reserved()
    );
    assert!(
        !SpiffeId::parse("spiffe://td/portcullis2/x")
            .unwrap()
            .is_reserved()
    );
}

proptest! {
    #[test]
    fn parse_and_print_are_inverse(uri in "spiffe://[a-z0-9._-]{1,20}(/[a-zA-Z0-9_-]{1,8}){0,5}") {
        let id = SpiffeId::parse(&uri).unwrap();
        prop_assert_eq!(id.to_string(), uri);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_only_ascii_passes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut uri = b"spiffe://".to_vec();
        uri.extend(bytes);
        if let Ok(id) = SpiffeId::from_bytes(&uri) {
            prop_assert_eq!(id.as_str().as_bytes(), &uri[..]);
            prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_graphic()));
            prop_assert!(!id.path().ends_with('/'));
        }
    }

    #[test]
    fn text_and_bytes_agree(text in "\\PC{0,40}") {
        let uri = format!("spiffe://{text}");
        prop_assert_eq!(SpiffeId::parse(&uri), SpiffeId::from_bytes(uri.as_bytes()));
    }
}
