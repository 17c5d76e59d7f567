//! One document at a time: every mistake is found, with its place and its cure; nothing good is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod support;

use std::fmt::Write as _;

use policies::check::check;
use policies::document::DocumentSet;
use policies::listener::GatewayListeners;
use policies::load::load;
use policies::source::SourceFile;
use support::{edge, mesh};

/// The findings without the file name, one per line.
fn findings(text: &str) -> Vec<String> {
    let loaded = load(&[SourceFile::new("f", text)], &mesh());
    loaded
        .diagnostics
        .iter()
        .map(|found| found.to_string().trim_start_matches("f:").to_owned())
        .collect()
}

fn good(text: &str) -> DocumentSet {
    let loaded = load(&[SourceFile::new("f", text)], &mesh());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.documents
}

fn document(kind: &str, spec: &str) -> String {
    let group = match kind {
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => {
            "security.istio.io/v1"
        }
        "RegistrationEntry" => "portcullis.dev/v1",
        _ => "networking.istio.io/v1",
    };
    format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")
}

fn table(kind: &str, cases: &[(&str, &[&str])]) {
    let mut wrong = String::new();
    for (spec, expected) in cases {
        let found = findings(&document(kind, spec));
        if found != *expected {
            writeln!(
                wrong,
                "{spec}\n  expected {expected:#?}\n  found {found:#?}"
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn virtual_services() {
    table(
        "VirtualService",
        &[
            ("{hosts: [a], http: [{directResponse: {status: 200}}]}", &[]),
            (
                "{hosts: [a], http: [{directResponse: {status: 200}, timout: 1s}]}",
                &["4:59: error[PC0107]: unknown field `timout` (help: did you mean `timeout`?)"],
            ),
            (
                "{hosts: [a], http: [{directResponse: {status: 100}, timeout: 10}]}",
                &[
                    "4:53: error[PC0111]: `100` is not a status between 200 and 599",
                    "4:68: error[PC0111]: `10` is not a duration (help: write `10s` for seconds)",
                ],
            ),
            (
                "{hosts: [\"http://a\"], http: [{directResponse: {status: 200}, timeout: 0s}]}",
                &[
                    "4:16: error[PC0111]: `http://a` is not a host name (help: leave out the scheme)",
                    "4:77: error[PC0111]: `0s` is not a duration of at least 1ms (help: leave the field out for no limit)",
                ],
            ),
            (
                "{hosts: [\"*\"], http: [{directResponse: {status: 200}}]}",
                &[
                    "4:16: error[PC0111]: the host `*` would take over all traffic of the mesh (help: name the hosts, or bind the document to gateways with `gateways`)",
                ],
            ),
            (
                "{hosts: [a], http: [{match: [{uri: {exact: /a, prefix: /b}}], redirect: {uri: /}, directResponse: {status: 200}}]}",
                &[
                    "4:54: error[PC0112]: `exact` and `prefix` exclude each other",
                    "4:89: error[PC0112]: `redirect` and `directResponse` exclude each other",
                ],
            ),
            (
                "{hosts: [a], http: [{match: [{uri: {regex: \"(\"}, headers: {x-a: {exact: true}}}], directResponse: {status: 200}}]}",
                &[
                    "4:50: error[PC0114]: `(` is not a regular expression: unclosed group",
                    "4:79: error[PC0109]: expected a text, found the boolean `true` (help: write `\"true\"`)",
                ],
            ),
            (
                "{hosts: [a], http: [{}]}",
                &[
                    "4:27: error[PC0108]: expected at least one of `route`, `redirect`, `directResponse`, `delegate`",
                ],
            ),
            (
                "{hosts: [a], http: [{directResponse: {status: 200}, headers: {request: {set: {x-a: \"%UPSTREAM_HOST%\", \"b c\": d, te: e}}}}]}",
                &[
                    "4:90: error[PC0111]: `%UPSTREAM_HOST%` is not a header value or a supported format string (help: write `%%` for a percent sign, or one of `%REQ(x)%`, `%RESP(x)%`, `%PROTOCOL%`, `%DOWNSTREAM_REMOTE_ADDRESS%`, `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`)",
                    "4:109: error[PC0111]: `b c` is not a header name",
                    "4:119: error[PC0111]: `te` is the proxy's own: it says how the message is framed",
                ],
            ),
            (
                "{hosts: [a], http: [{route: [{destination: {host: a}}], fault: {abort: {httpStatus: 500}}, corsPolicy: {}}], tcp: [{route: [{destination: {host: a}}]}]}",
                &[],
            ),
            (
                "{hosts: [a], http: [{route: [{destination: {host: a}, weight: 0}, {destination: {host: b}}]}]}",
                &["4:28: error[PC0122]: every destination has weight 0, so none gets a request"],
            ),
        ],
    );
}

#[test]
fn destination_rules() {
    table(
        "DestinationRule",
        &[
            (
                "{host: a, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: ca.pem}}}",
                &[
                    "4:69: error[PC0111]: `ca.pem` is not the absolute path of a file, as `/etc/portcullis/ca.pem`",
                ],
            ),
            (
                "{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTAL}}}",
                &[
                    "4:45: error[PC0110]: `ISTIO_MUTAL` is not one of DISABLE, ISTIO_MUTUAL, SIMPLE, MUTUAL (help: did you mean `ISTIO_MUTUAL`?)",
                ],
            ),
            (
                "{host: a, subsets: [{name: v1}, {name: v1, lables: {}}]}",
                &["4:50: error[PC0107]: unknown field `lables` (help: did you mean `labels`?)"],
            ),
            (
                "{host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 5}}}}",
                &["4:72: error[PC0111]: `5` is not a duration (help: write `5s` for seconds)"],
            ),
        ],
    );
    let text = "{host: a, trafficPolicy: {outlierDetection: {consecutiveErrors: 7}}}";
    let loaded = load(
        &[SourceFile::new(
            "f",
            document("DestinationRule", text).as_str(),
        )],
        &mesh(),
    );
    let outliers = loaded.documents.destination_rules[0]
        .traffic_policy
        .outlier_detection
        .as_ref()
        .unwrap();
    assert_eq!(outliers.consecutive_5xx_errors, Some(7));
}

#[test]
fn gateways() {
    table(
        "Gateway",
        &[
            (
                "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.b], tls: {mode: MUTUAL, credentialName: c}}]}",
                &[
                    "4:92: error[PC0117]: the mode MUTUAL is not in force, and a security field is never ignored (help: in force are SIMPLE and PASSTHROUGH)",
                ],
            ),
            (
                "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.b]}]}",
                &["4:18: error[PC0108]: an HTTPS server needs `tls`"],
            ),
            (
                "{servers: [{port: {number: 70000, name: a, protocol: HTTQ}, hosts: []}], bind: x}",
                &[
                    "4:34: error[PC0111]: `70000` is not a port between 1 and 65535",
                    "4:60: error[PC0110]: `HTTQ` is not one of HTTP, HTTP2, GRPC, GRPC-WEB, HTTPS, TLS, TCP, MONGO, MYSQL, REDIS (help: did you mean `HTTP`?)",
                    "4:74: error[PC0115]: `hosts` is empty, expected at least one element",
                    "4:80: error[PC0107]: unknown field `bind` (help: known fields: selector, servers)",
                ],
            ),
        ],
    );
    let text = document(
        "Gateway",
        "{servers: [{port: {number: 443, name: a, protocol: HTTPS}, hosts: [\"*.b.c\", a.b.c], tls: {mode: SIMPLE, credentialName: one, \
         minProtocolVersion: TLSV1_3}}, {port: {number: 443, name: b, protocol: HTTPS}, hosts: [x.b.c], tls: {mode: SIMPLE, \
         credentialName: two}}]}",
    );
    let (_, findings) = check(&good(&text), &mesh());
    assert!(findings.is_empty(), "{findings:?}");
    let listeners = GatewayListeners::compile(&good(&text), &edge(), &mesh());
    let port = listeners.port(443).unwrap();
    let credential = |sni| {
        port.server_for(sni).map(|server| {
            server
                .tls
                .as_ref()
                .unwrap()
                .terms()
                .unwrap()
                .credential_name
                .to_string()
        })
    };
    assert_eq!(credential(Some("x.b.c")).as_deref(), Some("two"));
    assert_eq!(credential(Some("y.b.c")).as_deref(), Some("one"));
    assert_eq!(credential(Some("b.c")), None);
    assert_eq!(credential(None), None);
}

#[test]
fn services() {
    table(
        "ServiceEntry",
        &[
            (
                "{hosts: [a], ports: [{number: 80, name: http}], resolution: STATIC}",
                &[
                    "4:67: error[PC0111]: resolution STATIC needs `endpoints` or `workloadSelector` (help: list the endpoints' addresses)",
                ],
            ),
            (
                "{hosts: [a], ports: [{number: 80, name: http}, {number: 80, name: http}], resolution: DNS}",
                &["4:63: error[PC0120]: the port 80 is listed twice"],
            ),
            (
                "{hosts: [a], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: [{address: \"127.0.0.1:80\"}]}",
                &[
                    "4:97: error[PC0111]: `127.0.0.1:80` is not an address (help: leave out the port: it comes from `ports`)",
                ],
            ),
        ],
    );
    table(
        "WorkloadEntry",
        &[
            (
                "{address: 10.0.0.1, labels: {app: a, version: 1}, serviceAccount: a/b}",
                &[
                    "4:53: error[PC0109]: expected a text, found the number `1` (help: write `\"1\"`)",
                    "4:73: error[PC0111]: `a/b` is not a service account's name",
                ],
            ),
            (
                "{labels: {app: a}}",
                &["4:1: error[PC0108]: `spec.address` is missing (help: add `address: 10.0.0.7`)"],
            ),
        ],
    );
}

#[test]
fn security() {
    table(
        "AuthorizationPolicy",
        &[
            ("{}", &[]),
            ("{rules: [{}]}", &[]),
            (
                "{action: DENY}",
                &[
                    "4:16: error[PC0108]: a DENY policy without rules never matches (help: write `rules: [{}]` to match every request)",
                ],
            ),
            (
                "{rules: [{from: [{source: {}}], to: [{operation: {ports: [80], pathes: [/a]}}]}]}",
                &[
                    "4:25: error[PC0108]: expected at least one of `principals`, `notPrincipals`, `requestPrincipals`, `notRequestPrincipals`, `namespaces`, `notNamespaces`, `serviceAccounts`, `notServiceAccounts`, `trustDomains`, `notTrustDomains`, `ipBlocks`, `notIpBlocks`, `remoteIpBlocks`, `notRemoteIpBlocks`",
                    "4:65: error[PC0109]: expected a text, found the number `80` (help: write `\"80\"`)",
                    "4:70: error[PC0107]: unknown field `pathes` (help: did you mean `paths`?)",
                ],
            ),
            (
                "{rules: [{from: [{source: {ipBlocks: [10.0.0.0/33, localhost]}}], when: [{key: source.ip}]}]}",
                &[
                    "4:45: error[PC0111]: `10.0.0.0/33` is not an address block with a prefix length between 0 and 32",
                    "4:58: error[PC0111]: `localhost` is not an IP address or block (help: write `10.0.0.0/8` or `2001:db8::/32`)",
                    "4:80: error[PC0108]: expected at least one of `values`, `notValues`",
                ],
            ),
        ],
    );
    table(
        "PeerAuthentication",
        &[
            ("{mtls: {mode: STRICT}}", &[]),
            (
                "{mtls: {mode: Strict}}",
                &[
                    "4:21: error[PC0110]: `Strict` is not one of UNSET, DISABLE, PERMISSIVE, STRICT (help: did you mean `STRICT`?)",
                ],
            ),
            (
                "{portLevelMtls: {8080: {mode: DISABLE}}}",
                &[
                    "4:1: error[PC0108]: `portLevelMtls` needs a `selector`: ports belong to workloads",
                ],
            ),
        ],
    );
    table("RequestAuthentication", &[("{}", &[])]);
    table(
        "RegistrationEntry",
        &[
            (
                "{spiffeID: \"spiffe://cluster.local/ns/a/sa/b\", selectors: [\"join_token:b\"], x509SVIDTTL: 1h}",
                &[],
            ),
            (
                "{spiffeID: ns/a/sa/b, selectors: [], federatesWith: [x]}",
                &[
                    "4:18: error[PC0111]: `ns/a/sa/b` is not a SPIFFE ID (help: write `spiffe://cluster.local/ns/my-app/sa/order-service`)",
                    "4:40: error[PC0115]: `selectors` is empty, expected at least one element",
                    "4:44: error[PC0113]: `federatesWith` is not in force, and a security field is never ignored: federation is not supported",
                ],
            ),
        ],
    );
}

#[test]
fn tolerated_and_refused_documents() {
    let served = "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n- apiVersion: security.istio.io/v1\n  kind: PeerAuthentication\n\
        \x20 metadata: {name: a, uid: 1, managedFields: [], creationTimestamp: null}\n  spec: {mtls: {mode: STRICT}}\n  status: {anything: [1]}\n";
    assert_eq!(good(served).peer_authentications.len(), 1);
    let one = document("PeerAuthentication", "{}");
    assert_eq!(
        findings(&format!("{one}---\n{one}")),
        ["6:1: error[PC0106]: PeerAuthentication `my-app/x` stands twice, first at f:1:1",]
    );
    for (header, expected) in [
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualServce",
            "2:7: error[PC0102]: `networking.istio.io/v1` has no kind `VirtualServce` (help: did you mean `VirtualService`?)",
        ),
        (
            "apiVersion: networking.istio.io/v2\nkind: Gateway",
            "2:7: error[PC0103]: `networking.istio.io/v2` has no kind `Gateway` (help: write `apiVersion: networking.istio.io/v1`)",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute",
            "2:7: warning[PC0240]: `TCPRoute` of the Gateway API is not read, and has no effect (help: write a VirtualService of `networking.istio.io/v1` with `tcp` routes)",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment",
            "2:7: info[PC0104]: `Deployment` of `apps/v1` is not read",
        ),
        (
            "just text",
            "1:1: error[PC0101]: expected a document with `apiVersion` and `kind`, found the text `just text`",
        ),
    ] {
        assert_eq!(findings(header), [expected]);
    }
}

#[test]
fn an_error_in_one_document_hides_no_other() {
    let broken = "a: [1\n---\nb: 1\nb: 2\n---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: G}\nspec: {}\n";
    let found = findings(broken);
    let starts = [
        "2:1: error[PC0001]",
        "4:1: error[PC0003]",
        "8:18: error[PC0111]",
        "9:1: error[PC0108]",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (line, start) in found.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}
