//! Random requests and connections.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use identity::id::SpiffeId;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use crate::words::REQUEST_PATHS;

/// A request as it was made.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) peer: Option<SpiffeId>,
    pub(crate) source: IpAddr,
    pub(crate) remote: IpAddr,
    pub(crate) port: u16,
    pub(crate) sni: Option<&'static str>,
    pub(crate) http: Option<(&'static str, &'static str, &'static str, HeaderMap)>,
    pub(crate) payload: Option<Map<String, Value>>,
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let peers = [
        "td1/ns/a/sa/b",
        "cluster.local/ns/a/sa/b",
        "old-td/ns/a/sa/c",
        "td1/ns/shop/sa/b",
        "other/ns/a/sa/b",
        "td1/x/ns/a/y/sa/b/z",
        "td1/ns/ns/sa/ns",
        "td1/thing",
    ];
    let peer = option::weighted(0.8, select(peers.to_vec()));
    let address = || {
        select(vec![
            "10.1.2.3",
            "10.1.9.9",
            "10.9.9.9",
            "192.168.0.7",
            "203.0.113.5",
        ])
    };
    let roles = vec(
        select(vec!["admin", "user", "", "guest", "admin,user"]),
        0..3,
    );
    let hosts = select(vec![
        "web.shop",
        "web.shop:8080",
        "WEB.SHOP",
        "api.other",
        "api.other:80",
    ]);
    let http = (
        select(vec!["GET", "POST", "DELETE", "PUT"]),
        hosts,
        select(REQUEST_PATHS),
        roles,
    );
    let sni = option::of(select(vec!["web.shop", "api.other"]));
    (
        peer,
        address(),
        address(),
        select(vec![80, 8080, 9090]),
        sni,
        option::weighted(0.8, http),
        option::weighted(0.6, payload()),
    )
        .prop_map(|(peer, source, remote, port, sni, http, payload)| Request {
            payload,
            peer: peer.map(|peer| SpiffeId::parse(&format!("spiffe://{peer}")).unwrap()),
            source: source.parse().unwrap(),
            remote: remote.parse().unwrap(),
            port,
            sni,
            http: http.map(|(method, host, path, roles)| {
                let mut headers = HeaderMap::new();
                for role in roles {
                    headers.append("x-role", HeaderValue::from_static(role));
                }
                (method, host, path, headers)
            }),
        })
}

/// The payload of a verified token.
fn payload() -> impl Strategy<Value = Map<String, Value>> {
    let claim = |values: Vec<Value>| option::weighted(0.8, select(values));
    let groups = vec![
        json!(["staff", "dev", 7]),
        json!("staff"),
        json!([]),
        json!(true),
        json!(7),
    ];
    let scopes = vec![
        json!("read write"),
        json!("read"),
        json!(" dev  staff "),
        json!(["read write"]),
    ];
    let realms = vec![
        json!({"roles": ["dev"]}),
        json!({"roles": "staff"}),
        json!("dev"),
        json!({}),
    ];
    (
        claim(vec![
            json!("i"),
            json!("https://i.example"),
            json!("https:/"),
            json!(""),
            json!(["i"]),
        ]),
        claim(vec![json!("alice"), json!("bob"), json!("i-am"), json!("")]),
        claim(vec![json!("web"), json!(["web", "app"]), json!(["other"])]),
        claim(vec![json!("portal"), json!("")]),
        claim(groups),
        claim(scopes),
        claim(realms),
    )
        .prop_map(|(iss, sub, aud, azp, groups, scope, realm)| {
            let claims = [
                ("iss", iss),
                ("sub", sub),
                ("aud", aud),
                ("azp", azp),
                ("groups", groups),
                ("scope", scope),
                ("realm", realm),
            ];
            claims
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect()
        })
}
