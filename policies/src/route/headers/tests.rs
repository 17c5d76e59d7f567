//! Header operations, and the format strings in their values.

use super::*;

const FACTS: HeaderFacts<'static> = HeaderFacts {
    method: "GET",
    target: "/a?b=c",
    host: "shop.example.com:8080",
    scheme: "https",
    version: Version::HTTP_2,
    remote: SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
        50_000,
    ),
};

fn ops(set: &[(&'static str, &str)], add: &[(&'static str, &str)]) -> HeaderOps {
    let pairs = |pairs: &[(&'static str, &str)]| {
        pairs
            .iter()
            .map(|(name, text)| {
                let text = HeaderText::parse(text).unwrap();
                (HeaderName::from_static(name), text)
            })
            .collect()
    };
    HeaderOps {
        set: pairs(set),
        add: pairs(add),
        ..HeaderOps::default()
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

#[test]
fn the_subset_of_format_strings() {
    for (written, made) in [
        ("plain", Some("plain")),
        ("100%%", Some("100%")),
        ("%REQ(x-user)%", Some("jane")),
        ("%REQ(X-User):2%", Some("ja")),
        ("<%REQ(x-none?x-user)%>", Some("<jane>")),
        ("%REQ(x-none)%", None),
        ("a%REQ(x-none)%b", Some("ab")),
        (
            "%REQ(:METHOD)% %REQ(:PATH)% %REQ(:AUTHORITY)% %REQ(:SCHEME)%",
            Some("GET /a?b=c shop.example.com:8080 https"),
        ),
        ("%PROTOCOL%", Some("HTTP/2")),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", Some("192.0.2.7:50000")),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            Some("192.0.2.7"),
        ),
        // Nothing has been answered yet.
        ("%RESP(server)%", None),
    ] {
        let mut request = headers(&[("x-user", "jane")]);
        ops(&[("x-made", written)], &[]).apply_to_request(&mut request, &FACTS);
        let found = request.get("x-made").map(|value| value.to_str().unwrap());
        assert_eq!(found, made, "{written}");
    }
}

#[test]
fn responses_know_both_sides() {
    let request = headers(&[("x-user", "jane")]);
    let mut response = headers(&[("server", "app")]);
    ops(
        &[("server", "%RESP(server)%/%REQ(x-user)%")],
        &[("x-was", "%RESP(server)%")],
    )
    .apply_to_response(&mut response, &request, &FACTS);
    assert_eq!(response["server"], "app/jane");
    // Values are made before anything is changed.
    assert_eq!(response["x-was"], "app");
}

#[test]
fn a_value_without_content_changes_nothing() {
    let mut request = headers(&[("x-a", "old")]);
    ops(&[("x-a", "%REQ(x-none)%")], &[("x-b", "%REQ(x-none)%")])
        .apply_to_request(&mut request, &FACTS);
    assert_eq!(request["x-a"], "old");
    assert!(!request.contains_key("x-b"));
}

#[test]
fn other_texts_are_errors() {
    for (written, error) in [
        ("50% off", FormatError::Unclosed),
        (
            "%UPSTREAM_HOST%",
            FormatError::Unknown("UPSTREAM_HOST".to_owned()),
        ),
        ("%REQ(x)", FormatError::Unclosed),
        ("%REQ(x):y%", FormatError::Unknown("REQ(x):y".to_owned())),
        ("%REQ(a b)%", FormatError::Name("a b".to_owned())),
        ("a\nb", FormatError::Text),
    ] {
        assert_eq!(HeaderText::parse(written).unwrap_err(), error, "{written}");
    }
    assert!(HeaderText::parse("%RESP(x)%").unwrap().reads_response());
    assert!(!HeaderText::parse("%REQ(x)%").unwrap().reads_response());
}
