//! Header tables.

use std::net::IpAddr;
use std::time::SystemTime;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use identity::{PeerIdentity, SpiffeId};

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let parse = |(name, value): &(&str, &str)| {
        (
            name.parse::<HeaderName>().unwrap(),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    let mut map = HeaderMap::new();
    for (name, value) in pairs.iter().map(parse) {
        map.append(name, value);
    }
    map
}

fn shown(headers: &HeaderMap) -> Vec<String> {
    let mut all: Vec<String> = headers
        .iter()
        .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn hop_by_hop_headers_end_here() {
    for (given, keep, expected) in [
        (
            &[("accept", "*/*")][..],
            Upgrades::Strip,
            &["accept: */*"][..],
        ),
        (
            &[
                ("connection", "keep-alive, X-Private"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("transfer-encoding", "chunked"),
                ("te", "gzip"),
                ("x-private", "1"),
                ("x-public", "2"),
            ],
            Upgrades::Strip,
            &["x-public: 2"],
        ),
        // `TE: trailers` is what gRPC asks for.
        (&[("te", "trailers")], Upgrades::Strip, &["te: trailers"]),
        (
            &[("te", "gzip, trailers;q=0.5"), ("connection", "te")],
            Upgrades::Strip,
            &["te: trailers"],
        ),
        // What must not be nominated away.
        (
            &[
                (
                    "connection",
                    "host, content-length, authorization, cookie, x-forwarded-for",
                ),
                ("connection", "X-Request-Id,traceparent,,close"),
                ("host", "a"),
                ("content-length", "1"),
                ("authorization", "b"),
                ("cookie", "c"),
                ("x-forwarded-for", "d"),
                ("x-request-id", "e"),
                ("traceparent", "f"),
            ],
            Upgrades::Strip,
            &[
                "authorization: b",
                "content-length: 1",
                "cookie: c",
                "host: a",
                "traceparent: f",
                "x-forwarded-for: d",
                "x-request-id: e",
            ],
        ),
        (
            &[("connection", "upgrade"), ("upgrade", "websocket")],
            Upgrades::Strip,
            &[],
        ),
        (
            &[
                ("connection", "keep-alive, Upgrade, x-a"),
                ("upgrade", "websocket"),
                ("x-a", "1"),
            ],
            Upgrades::Keep,
            &["connection: upgrade", "upgrade: websocket"],
        ),
        // `Upgrade` without `Connection` is no upgrade.
        (&[("upgrade", "websocket")], Upgrades::Keep, &[]),
    ] {
        let mut map = headers(given);
        strip_hop_by_hop(&mut map, keep);
        assert_eq!(shown(&map), expected, "{given:?}");
    }
}

#[test]
fn forged_mesh_headers_are_dropped_at_the_edge() {
    let mut map = headers(&[
        ("x-envoy-original-path", "/admin"),
        ("x-envoy-internal", "true"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-istio-attributes", "a"),
        ("x-portcullis-decision", "allow"),
        (
            "x-forwarded-client-cert",
            "By=spiffe://cluster.local/ns/a/sa/b",
        ),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-env", "kept"),
    ]);
    strip_edge(&mut map);
    assert_eq!(shown(&map), ["x-env: kept", "x-forwarded-for: 192.0.2.1"]);
    assert_eq!(underscore_name(&map), None);
    assert_eq!(
        underscore_name(&headers(&[("x_env", "")])).unwrap(),
        "x_env"
    );
}

#[test]
fn upgrades_need_both_headers() {
    for (given, expected) in [
        (
            &[("connection", "Upgrade"), ("upgrade", "WebSocket")][..],
            true,
        ),
        (
            &[
                ("connection", "keep-alive"),
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
            ],
            true,
        ),
        (&[("connection", "upgrade"), ("upgrade", "h2c")], false),
        (&[("upgrade", "websocket")], false),
        (&[("connection", "upgrade")], false),
    ] {
        assert_eq!(websocket_upgrade(&headers(given)), expected, "{given:?}");
    }
}

#[test]
fn the_clients_address() {
    let peer: IpAddr = "10.0.0.1".parse().unwrap();
    for (forwarded, trusted, expected) in [
        (&["203.0.113.9"][..], 0, "10.0.0.1"),
        (&["203.0.113.9"], 1, "203.0.113.9"),
        (&["198.51.100.7, 203.0.113.9"], 1, "203.0.113.9"),
        (&["198.51.100.7, 203.0.113.9"], 2, "198.51.100.7"),
        (&["198.51.100.7", "203.0.113.9"], 2, "198.51.100.7"),
        // Fewer entries than proxies, or no address at all: the peer.
        (&["198.51.100.7, 203.0.113.9"], 3, "10.0.0.1"),
        (&["unknown"], 1, "10.0.0.1"),
        (&[], 1, "10.0.0.1"),
    ] {
        let pairs: Vec<_> = forwarded.iter().map(|v| ("x-forwarded-for", *v)).collect();
        let found = client_address(&headers(&pairs), peer, trusted);
        assert_eq!(found.to_string(), expected, "{forwarded:?} {trusted}");
    }
}

#[test]
fn the_clients_address_by_a_gateways_word() {
    let gateway: IpAddr = "10.0.0.1".parse().unwrap();
    for (said, expected) in [
        (&[][..], "10.0.0.1"),
        (&[("x-forwarded-for", "203.0.113.9,192.0.2.7")], "192.0.2.7"),
        (
            &[
                ("x-forwarded-for", "203.0.113.9,192.0.2.7"),
                ("x-envoy-external-address", "203.0.113.9"),
            ],
            "203.0.113.9",
        ),
        (
            &[
                ("x-forwarded-for", "192.0.2.7"),
                ("x-envoy-external-address", "nobody"),
            ],
            "192.0.2.7",
        ),
        (
            &[
                ("x-envoy-external-address", "203.0.113.8"),
                ("x-envoy-external-address", "203.0.113.9"),
            ],
            "10.0.0.1",
        ),
    ] {
        let found = address_by_gateway(&headers(said), gateway);
        assert_eq!(found.to_string(), expected, "{said:?}");
    }
    let mut map = headers(&[("x-envoy-external-address", "1.2.3.4")]);
    set_external_address(&mut map, "::ffff:203.0.113.9".parse().unwrap());
    assert_eq!(shown(&map), ["x-envoy-external-address: 203.0.113.9"]);
}

#[test]
fn the_peer_is_appended() {
    let mut map = HeaderMap::new();
    append_forwarded_for(&mut map, "::ffff:192.0.2.1".parse().unwrap());
    assert_eq!(map["x-forwarded-for"], "192.0.2.1");
    map.append(
        "x-forwarded-for",
        HeaderValue::from_static("198.51.100.1, 198.51.100.2"),
    );
    append_forwarded_for(&mut map, "2001:db8::1".parse().unwrap());
    assert_eq!(
        shown(&map),
        ["x-forwarded-for: 192.0.2.1,198.51.100.1, 198.51.100.2,2001:db8::1"]
    );
    set_forwarded_proto(&mut map, "https");
    assert_eq!(map["x-forwarded-proto"], "https");
}

#[test]
fn request_ids() {
    let mut map = HeaderMap::new();
    let made = ensure_request_id(&mut map, RequestIdSource::Caller);
    let text = made.to_str().unwrap();
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert_eq!(text.as_bytes()[14], b'4', "version of {text}");
    assert!(b"89ab".contains(&text.as_bytes()[19]), "variant of {text}");
    assert_eq!(ensure_request_id(&mut map, RequestIdSource::Caller), made);
    let replaced = ensure_request_id(&mut map, RequestIdSource::Fresh);
    assert_ne!(replaced, made);
    assert_eq!(map["x-request-id"], replaced);
    for bad in ["", "a b", &"x".repeat(129)] {
        let mut map = headers(&[("x-request-id", bad)]);
        assert_ne!(ensure_request_id(&mut map, RequestIdSource::Caller), bad);
    }
    let mut twice = headers(&[("x-request-id", "a"), ("x-request-id", "b")]);
    let one = ensure_request_id(&mut twice, RequestIdSource::Caller);
    assert_eq!(
        twice.get_all("x-request-id").iter().collect::<Vec<_>>(),
        [&one]
    );
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn traceparent_is_read_strictly() {
    let context = TraceContext::parse(PARENT.as_bytes()).unwrap();
    assert_eq!(context.trace_id_text(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(context.parent_id, 0xb7ad_6b71_6920_3331);
    assert_eq!(context.flags, 1);
    assert_eq!(context.header(), PARENT);
    let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes";
    assert_eq!(TraceContext::parse(later.as_bytes()), Some(context));
    for bad in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.",
        "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
        "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
    ] {
        assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn traces_are_continued_or_begun() {
    let state = ("tracestate", "vendor=1");
    let mut map = headers(&[("traceparent", PARENT), state]);
    let context = ensure_trace(&mut map, TraceRole::Forward);
    assert_eq!(map["traceparent"], PARENT);
    assert_eq!(map["tracestate"], "vendor=1");
    let child = ensure_trace(&mut map, TraceRole::Span);
    assert_eq!(
        (child.trace_id, child.flags),
        (context.trace_id, context.flags)
    );
    assert_ne!(child.parent_id, context.parent_id);
    assert_eq!(map["traceparent"], child.header());
    assert_eq!(map["tracestate"], "vendor=1");
    for invalid in [
        &[("traceparent", "nonsense"), state][..],
        &[("traceparent", PARENT), ("traceparent", PARENT), state],
    ] {
        let mut map = headers(invalid);
        let begun = ensure_trace(&mut map, TraceRole::Forward);
        assert_ne!(begun.trace_id, context.trace_id);
        assert_eq!(
            shown(&map),
            [format!("traceparent: {}", begun.header().to_str().unwrap())]
        );
    }
}

#[test]
fn client_certificates_are_told_on() {
    let me = SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/order").unwrap();
    let peer = PeerIdentity {
        id: SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/web").unwrap(),
        not_after: SystemTime::UNIX_EPOCH,
        fingerprint: [0xab; 32],
    };
    let hash = "ab".repeat(32);
    let ours = format!("By={me};Hash={hash};Subject=\"\";URI={}", peer.id);
    let forged = [(
        "x-forwarded-client-cert",
        "URI=spiffe://cluster.local/ns/x/sa/admin",
    )];

    let mut map = headers(&forged);
    apply_xfcc(&mut map, XfccMode::AppendForward, Some(&me), Some(&peer));
    assert_eq!(
        map["x-forwarded-client-cert"],
        format!("{},{ours}", forged[0].1)
    );
    for mode in [XfccMode::AppendForward, XfccMode::SanitizeSet] {
        let mut map = headers(&forged);
        apply_xfcc(&mut map, mode, Some(&me), None);
        assert!(map.is_empty(), "{mode:?} without a proven identity");
    }
    let mut map = headers(&forged);
    apply_xfcc(&mut map, XfccMode::SanitizeSet, Some(&me), Some(&peer));
    assert_eq!(
        map["x-forwarded-client-cert"],
        format!("Hash={hash};Subject=\"\";URI={}", peer.id)
    );
}
