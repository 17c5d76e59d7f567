//! What routes make of requests and answers beside a real Envoy: header operations, rewrites, redirects and weights.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    missing_docs,
    missing_debug_implementations,
    reason = "a failed test is a panic"
)]

#[path = "resilience/doors.rs"]
mod doors;
mod harness;
#[path = "ext_authz/processes.rs"]
mod processes;

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use doors::{Client, Door};
use harness::{Mesh, MeshSpec};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use processes::{Envoy, envoy};
use tokio::net::TcpListener;

/// A route, as a VirtualService has it (its match is `/a`) and as Envoy has it.
struct Case {
    name: &'static str,
    ours: &'static str,
    theirs: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "request-headers",
        ours: "route: [{destination: {host: one.example}}], headers: {request: \
               {set: {x-t-one: new, x-t-new: made}, add: {x-t-two: more}, remove: [x-t-three]}}",
        theirs: "route: {cluster: one}, request_headers_to_remove: [x-t-three], request_headers_to_add: [\
                 {header: {key: x-t-one, value: new}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, \
                 {header: {key: x-t-new, value: made}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, \
                 {header: {key: x-t-two, value: more}, append_action: APPEND_IF_EXISTS_OR_ADD}]",
    },
    Case {
        name: "response-headers",
        ours: "route: [{destination: {host: one.example}}], headers: {response: \
               {set: {x-t-app: new}, add: {x-t-more: more}, remove: [x-t-gone]}}",
        theirs: "route: {cluster: one}, response_headers_to_remove: [x-t-gone], response_headers_to_add: [\
                 {header: {key: x-t-app, value: new}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, \
                 {header: {key: x-t-more, value: more}, append_action: APPEND_IF_EXISTS_OR_ADD}]",
    },
    Case {
        name: "destination-headers",
        ours: "route: [{destination: {host: one.example}, headers: {request: {set: {x-t-one: new}}, response: {remove: [x-t-gone]}}}], \
               headers: {request: {add: {x-t-two: more}}}",
        theirs: "route: {weighted_clusters: {clusters: [{name: one, weight: 100, response_headers_to_remove: [x-t-gone], \
                 request_headers_to_add: [{header: {key: x-t-one, value: new}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}]}}, \
                 request_headers_to_add: [{header: {key: x-t-two, value: more}, append_action: APPEND_IF_EXISTS_OR_ADD}]",
    },
    Case {
        name: "formats",
        ours: "route: [{destination: {host: one.example}}], headers: {request: {set: {x-t-one: \"%PROTOCOL%\", \
               x-t-copy: \"is %REQ(x-t-two)%\", x-t-none: \"%REQ(x-none)%\"}}}",
        theirs: "route: {cluster: one}, request_headers_to_add: [\
                 {header: {key: x-t-one, value: \"%PROTOCOL%\"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, \
                 {header: {key: x-t-copy, value: \"is %REQ(x-t-two)%\"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, \
                 {header: {key: x-t-none, value: \"%REQ(x-none)%\"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]",
    },
    Case {
        name: "prefix",
        ours: "route: [{destination: {host: one.example}}], rewrite: {uri: /b/c}",
        theirs: "route: {cluster: one, prefix_rewrite: /b/c}",
    },
    Case {
        name: "authority",
        ours: "route: [{destination: {host: one.example}}], rewrite: {authority: other.example}",
        theirs: "route: {cluster: one, host_rewrite_literal: other.example}",
    },
    Case {
        name: "regex",
        ours: "route: [{destination: {host: one.example}}], rewrite: {uriRegexRewrite: {match: \"^/a/([0-9]+)/(.*)$\", rewrite: '/b/\\2/\\1'}}",
        theirs: "route: {cluster: one, regex_rewrite: {pattern: {regex: \"^/a/([0-9]+)/(.*)$\"}, substitution: '/b/\\2/\\1'}}",
    },
    Case {
        name: "redirect",
        ours: "redirect: {uri: /elsewhere, authority: other.example}",
        theirs: "redirect: {path_redirect: /elsewhere, host_redirect: other.example}",
    },
    Case {
        name: "permanent",
        ours: "redirect: {authority: other.example, redirectCode: 308}",
        theirs: "redirect: {host_redirect: other.example, response_code: PERMANENT_REDIRECT}",
    },
    Case {
        name: "direct",
        ours: "directResponse: {status: 418, body: {string: short and stout}}, headers: {response: {set: {x-t-app: pot}}}",
        theirs: "direct_response: {status: 418, body: {inline_string: short and stout}}, \
                 response_headers_to_add: [{header: {key: x-t-app, value: pot}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]",
    },
    Case {
        name: "weights",
        ours: "route: [{destination: {host: one.example}, weight: 75}, {destination: {host: two.example}, weight: 25}]",
        theirs: "route: {weighted_clusters: {clusters: [{name: one, weight: 75}, {name: two, weight: 25}]}}",
    },
];

const PATHS: &[&str] = &[
    "/a/7/x",
    "/a/7/x/y",
    "/a/7/x?q=1&r=%20",
    "/a/",
    "/a",
    "/a?q",
];

/// The headers that the test is about, in order.
fn listed(headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-t") || name.as_str() == "location")
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    // Those of one name keep their order.
    lines.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    lines.concat()
}

/// An application that says who it is and what reached it.
async fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |request: Request<Incoming>| async move {
        let host = request.headers()["host"].to_str().unwrap();
        let (method, uri) = (request.method(), request.uri());
        let told = format!(
            "{name}: {method} {uri} {host}\n{}",
            listed(request.headers())
        );
        let response = Response::builder()
            .header("x-t-app", "app")
            .header("x-t-more", "app")
            .header("x-t-gone", "app");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from(told)).unwrap())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let served = server.serve_connection(TokioIo::new(stream), service_fn(answer));
                // A caller that goes away is its own business.
                let _ended = served.await;
            });
        }
    });
    address
}

fn service(name: &str, at: SocketAddr) -> String {
    format!(
        "---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: my-app}}\n\
         spec:\n  \
           hosts: [{name}.example]\n  \
           ports: [{{number: 80, name: http, protocol: HTTP}}]\n  \
           location: MESH_EXTERNAL\n  \
           resolution: STATIC\n  \
           endpoints: [{{address: 127.0.0.1, ports: {{http: {}}}}}]\n",
        at.port()
    )
}

/// What a client sees of a route, in words.
async fn seen(door: Door, case: &str, path: &str) -> String {
    let request = Request::get(path)
        .header("host", "compared.example")
        .header("x-case", case)
        .header("x-t-one", "old")
        .header("x-t-two", "old")
        .header("x-t-three", "old");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = Client::to(door).await.send(request).await;
    let headers = listed(&answer.head.headers);
    format!("{}\n{headers}\n{}", answer.status, answer.text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_and_our_gateway_make_the_same_of_requests() {
    let Some(program) = envoy() else { return };
    let (one, two) = (echo("one").await, echo("two").await);
    let mut documents = include_str!("resilience/policies/edge.yaml").to_owned();
    documents += &service("one", one);
    documents += &service("two", two);
    documents += "---\n\
        apiVersion: networking.istio.io/v1\n\
        kind: VirtualService\n\
        metadata: {name: compared, namespace: my-app}\n\
        spec:\n  \
          hosts: [compared.example]\n  \
          gateways: [edge]\n  \
          http:\n";
    let mut routes = String::new();
    for Case { name, ours, theirs } in CASES {
        documents += "    - {match: [{uri: {prefix: /a}, headers: {x-case: {exact: ";
        documents += name;
        documents += "}}}], ";
        documents += ours;
        documents += "}\n";
        routes +=
            "              - {match: {prefix: /a, headers: [{name: x-case, string_match: {exact: ";
        routes += name;
        routes += "}}]}, ";
        routes += theirs;
        routes += "}\n";
    }
    let mesh = Mesh::start(MeshSpec::new().gateway().policy("ours.yaml", documents)).await;
    let directory = tempfile::tempdir().unwrap();
    let names = [
        ("ROUTES", routes.trim_end().to_owned()),
        ("ONE", one.port().to_string()),
        ("TWO", two.port().to_string()),
    ];
    let template = include_str!("envoy_routes/envoy.yaml");
    let envoy = Envoy::start(&program, directory.path(), template, &names).await;
    let theirs = Door {
        name: "Envoy",
        address: envoy.listener("door").await,
    };
    let ours = Door {
        name: "gateway",
        address: mesh.gateway().port("listener:80"),
    };

    for Case { name, .. } in CASES.iter().filter(|case| case.name != "weights") {
        for path in PATHS {
            let (expected, found) = (seen(theirs, name, path).await, seen(ours, name, path).await);
            assert_eq!(expected, found, "`{name}` for {path}: Envoy's, and ours");
        }
    }

    for door in [theirs, ours] {
        let mut ones = 0;
        for _ in 0..2000 {
            let answer = seen(door, "weights", "/a").await;
            ones += usize::from(answer.contains("\none: "));
        }
        // Four times the standard deviation.
        assert!((1422..=1578).contains(&ones), "{}: {ones}", door.name);
    }
}
