//! Tokens, external providers, dry runs and the audit mode through real sidecars and the gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod harness;

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use harness::{
    Issuer, Mesh, MeshSpec, Process, Reply, Transport, Version, WorkloadSpec, eventually, request,
    send,
};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Everything to `product-service` from outside.
const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - route: [{destination: {host: product-service, port: {number: 80}}}]
";

/// One request with header lines `name: value` and a body.
async fn ask(
    address: SocketAddr,
    version: Version,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut request = request(method, "product-service", path);
    for (name, value) in headers {
        request.headers_mut().append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::try_from(*value).unwrap(),
        );
    }
    *request.body_mut() = Full::from(body.to_owned());
    send(address, &Transport::Plain, version, request)
        .await
        .unwrap()
}

/// The line of a process's access log with this decision.
async fn line_of(process: &Process, decision: &str) -> Value {
    assert_eq!(decision.len(), 16, "a decision's number");
    let found = || async { line_with(process, &format!("\"decision_id\":\"{decision}\"")) };
    eventually("the access log has the decision", found).await
}

fn line_with(process: &Process, text: &str) -> Option<Value> {
    let log = process.log();
    let line = log.lines().find(|line| line.contains(text))?;
    serde_json::from_str(line).ok()
}

/// Only alice may, and whoever has the group `ops` may do everything.
fn token_policies(issuer: &Issuer, namespace: &str, labels: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {labels}}}
  jwtRules:
  - issuer: {issuer}
    jwks: '{jwks}'
    outputClaimToHeaders: [{{header: x-subject, claim: sub}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: subjects, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {labels}}}
  rules:
  - from: [{{source: {{requestPrincipals: ['{issuer}/alice']}}}}]
    to: [{{operation: {{methods: [GET, POST]}}}}]
  - when: [{{key: 'request.auth.claims[groups]', values: [ops]}}]
---
",
        issuer = Issuer::NAME,
        jwks = issuer.jwks(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_at_a_sidecar_and_at_the_gateway() {
    let issuer = Issuer::new();
    let at_sidecar = token_policies(&issuer, "my-app", "{app: product-service}");
    let mesh = Mesh::start(
        MeshSpec::new()
            .policy("edge.yaml", EDGE)
            .policy("tokens.yaml", at_sidecar)
            .workload(WorkloadSpec::new("product-service"))
            .workload(WorkloadSpec::new("order-service"))
            .gateway(),
    )
    .await;
    let product = &mesh.sidecar("product-service").process;
    judges_tokens(&issuer, mesh.sidecar("order-service").outbound(), product).await;
    // The gateway hands the token on: it is the sidecar's business.
    judges_tokens(&issuer, mesh.gateway().port("listener:80"), product).await;

    let at_edge = token_policies(&issuer, "istio-system", "{istio: ingressgateway}");
    mesh.write_policy("tokens.yaml", &at_edge).await;
    judges_tokens(&issuer, mesh.gateway().port("listener:80"), mesh.gateway()).await;
}

/// What a door at `address` says to tokens, when `judge` judges them.
async fn judges_tokens(issuer: &Issuer, address: SocketAddr, judge: &Process) {
    let get = ("GET", "/a");
    for version in [Version::Http1, Version::Http2] {
        let bearer = |token: String| format!("Bearer {token}");
        let alice = bearer(issuer.token("alice", &json!({})));
        let reply = ask(
            address,
            version,
            get,
            &[("authorization", &alice), ("x-subject", "root")],
            "",
        )
        .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = reply.json();
        assert_eq!(seen["headers"]["x-subject"], json!(["alice"]), "{seen}");
        assert!(seen["headers"].get("authorization").is_none(), "{seen}");

        let bob = bearer(issuer.token("bob", &json!({})));
        let ops = bearer(issuer.token("carol", &json!({"groups": ["dev", "ops"]})));
        let stranger = bearer(Issuer::new().token("alice", &json!({})));
        let late = bearer(issuer.token("alice", &json!({"exp": 1_000_000_000})));
        let other = bearer(issuer.token("alice", &json!({"iss": "https://other.example"})));
        for (authorization, status, text) in [
            ("", 403, "RBAC: access denied"),
            (&*bob, 403, "RBAC: access denied"),
            (&*ops, 200, ""),
            ("Basic YTpi", 403, "RBAC: access denied"),
            (&*stranger, 401, "Jwt verification fails"),
            (&*late, 401, "Jwt is expired"),
            (&*other, 401, "Jwt issuer is not configured"),
            (
                "Bearer nonsense",
                401,
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
            ),
        ] {
            let mut headers = vec![("x-subject", "root")];
            headers.extend((!authorization.is_empty()).then_some(("authorization", authorization)));
            let reply = ask(address, version, get, &headers, "").await;
            assert_eq!(reply.status, status, "{authorization}: {}", reply.text());
            if status == 200 {
                continue;
            }
            assert_eq!(reply.text(), text, "{authorization}");
            let challenge = reply.header("www-authenticate");
            assert_eq!(
                challenge.contains("Bearer realm="),
                status == 401,
                "{challenge}"
            );
            let line = line_of(judge, reply.header("x-portcullis-decision")).await;
            let details = line["response_code_details"].as_str().unwrap();
            let expected = match status {
                401 => "jwt_authn_access_denied{",
                _ => "rbac_access_denied_matched_policy[none]",
            };
            assert!(details.starts_with(expected), "{details}");
            // gRPC callers learn the same in their own way.
            headers.push(("content-type", "application/grpc"));
            let grpc = ask(address, version, ("POST", "/a.B/C"), &headers, "").await;
            let code = if status == 401 { "16" } else { "7" };
            assert_eq!(
                (grpc.status.as_u16(), grpc.header("grpc-status")),
                (200, code)
            );
            assert_eq!(grpc.header("x-portcullis-decision").len(), 16);
        }
    }
}

/// An HTTP provider: whoever shows `x-pass: please` may, and is called `trusted`; it repeats the body that it saw.
async fn provider() -> SocketAddr {
    async fn judge(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let passes = request
            .headers()
            .get("x-pass")
            .is_some_and(|pass| pass == "please");
        let saw = request.uri().to_string();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let answer = Response::builder().header("x-saw", saw);
        let answer = if passes {
            answer
                .header("x-caller", "trusted")
                .header("x-body", HeaderValue::from_bytes(&body).unwrap())
                .body(Full::default())
        } else {
            let text = Full::from("ask nicely");
            answer.status(418).header("x-reason", "manners").body(text)
        };
        Ok(answer.unwrap())
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A caller that goes away is its own business.
                let _ended = server
                    .serve_connection(TokioIo::new(stream), service_fn(judge))
                    .await;
            });
        }
    });
    address
}

/// `/asked/*` of product-service and of the gateway is what the provider says; two providers in the mesh and outside.
fn custom_policies(outside: SocketAddr, provider: &str) -> String {
    let settings = "pathPrefix: /check, timeout: 5s, includeRequestHeadersInCheck: [x-pass], \
                    headersToUpstreamOnAllow: [x-caller, x-body], headersToDownstreamOnDeny: [x-reason], \
                    headersToDownstreamOnAllow: [x-saw], \
                    includeRequestBodyInCheck: {maxRequestBytes: 8, allowPartialMessage: false}";
    format!(
        "apiVersion: portcullis.dev/v1
kind: MeshConfig
metadata: {{name: mesh}}
spec:
  extensionProviders:
  - name: inside
    envoyExtAuthzHttp: {{service: authorizer.my-app.svc.cluster.local, port: 80, {settings}}}
  - name: outside
    envoyExtAuthzHttp: {{service: authorizer.example.com, port: 9000, {settings}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside}}
spec:
  hosts: [authorizer.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 9000, name: http, protocol: HTTP}}]
  endpoints: [{{address: {ip}, ports: {{http: {port}}}}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: asked, namespace: my-app}}
spec:
  selector: {{matchLabels: {{app: product-service}}}}
  action: CUSTOM
  provider: {{name: {provider}}}
  rules: [{{to: [{{operation: {{paths: [/asked/*]}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: asked, namespace: istio-system}}
spec:
  selector: {{matchLabels: {{istio: ingressgateway}}}}
  action: CUSTOM
  provider: {{name: {provider}}}
  rules: [{{to: [{{operation: {{paths: [/edge/*]}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: never, namespace: my-app}}
spec:
  selector: {{matchLabels: {{app: product-service}}}}
  action: DENY
  rules: [{{to: [{{operation: {{paths: [/asked/never]}}}}]}}]
",
        ip = outside.ip(),
        port = outside.port(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_inside_and_outside_the_mesh_is_asked_by_sidecar_and_gateway() {
    let address = provider().await;
    let mesh = Mesh::start(
        MeshSpec::new()
            .policy("edge.yaml", EDGE)
            .policy("custom.yaml", custom_policies(address, "inside"))
            .workload(WorkloadSpec::new("product-service"))
            .workload(WorkloadSpec::new("order-service"))
            .workload(WorkloadSpec::new("authorizer").app(address))
            .gateway(),
    )
    .await;
    let product = &mesh.sidecar("product-service").process;
    let order = mesh.sidecar("order-service").outbound();
    let gateway = mesh.gateway().port("listener:80");
    for provider in ["inside", "outside"] {
        if provider == "outside" {
            let policies = custom_policies(address, provider);
            mesh.write_policy("custom.yaml", &policies).await;
        }
        for (door, path, judge) in [
            (order, "/asked/a?b=c", product),
            (gateway, "/asked/a?b=c", product),
            (gateway, "/edge/a?b=c", mesh.gateway()),
        ] {
            for version in [Version::Http1, Version::Http2] {
                consults(door, version, path, judge).await;
            }
        }
        // What the provider allows, a DENY policy still denies.
        let pass = [("x-pass", "please")];
        let reply = ask(order, Version::Http1, ("GET", "/asked/never"), &pass, "").await;
        assert_eq!(reply.text(), "RBAC: access denied");
        // Who is not asked about does not cost a question.
        let reply = ask(order, Version::Http1, ("GET", "/free"), &[], "").await;
        assert_eq!(reply.status, 200);
    }
}

/// A request for `path` at `door` is what the provider says, and `judge` writes it down.
async fn consults(door: SocketAddr, version: Version, path: &str, judge: &Process) {
    let denied = ask(
        door,
        version,
        ("POST", path),
        &[("x-caller", "forged")],
        "small",
    )
    .await;
    assert_eq!(
        (denied.status.as_u16(), denied.text().as_str()),
        (418, "ask nicely"),
        "{path}"
    );
    assert_eq!(denied.header("x-reason"), "manners");
    let line = line_of(judge, denied.header("x-portcullis-decision")).await;
    assert_eq!(line["response_code_details"], "ext_authz_denied");
    assert_eq!(line["response_flags"], "UAEX");
    let rule = line["policy"].as_str().unwrap();
    assert!(rule.ends_with("-policy[asked]-rule[0]"), "{rule}");

    let pass = ("x-pass", "please");
    let passed = ask(door, version, ("POST", path), &[pass], "12345678").await;
    assert_eq!(passed.status, 200, "{path}: {}", passed.text());
    assert_eq!(passed.header("x-saw"), format!("/check{path}"));
    let seen = passed.json();
    assert_eq!(seen["headers"]["x-caller"], json!(["trusted"]), "{seen}");
    assert_eq!(seen["headers"]["x-body"], json!(["12345678"]), "{seen}");
    assert_eq!(
        (&seen["body"], &seen["path"]),
        (&json!("12345678"), &json!(path))
    );

    let long = ask(door, version, ("POST", path), &[pass], "123456789").await;
    assert_eq!(long.status, 413, "{path}: {}", long.text());
    assert_eq!(long.header("x-portcullis-decision").len(), 16);

    let grpc = [("content-type", "application/grpc")];
    let grpc = ask(door, version, ("POST", path), &grpc, "").await;
    assert_eq!(grpc.status, 200);
    assert_eq!(grpc.header("grpc-message"), "ask nicely");
}

/// Nobody may `/closed/*` of product-service; at the gateway nobody may `/edge/*`. Tried: nobody may `/tried/*`.
const CLOSED: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: my-app}
spec:
  selector: {matchLabels: {app: product-service}}
  action: DENY
  rules: [{to: [{operation: {paths: [/closed/*]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules: [{to: [{operation: {paths: [/edge/*]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tried, namespace: my-app, annotations: {istio.io/dry-run: 'true'}}
spec:
  selector: {matchLabels: {app: product-service}}
  action: DENY
  rules: [{to: [{operation: {paths: [/tried/*]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: noted, namespace: my-app}
spec:
  selector: {matchLabels: {app: product-service}}
  action: AUDIT
  rules: [{to: [{operation: {paths: [/noted/*]}}]}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_bites_on_open_connections_and_dry_runs_are_visible() {
    let mesh = Mesh::start(
        MeshSpec::new()
            .policy("edge.yaml", EDGE)
            .workload(WorkloadSpec::new("product-service"))
            .workload(WorkloadSpec::new("order-service"))
            .gateway(),
    )
    .await;
    let order = mesh.sidecar("order-service").outbound();
    let gateway = mesh.gateway().port("listener:80");
    let mut doors = Vec::new();
    for (address, path) in [
        (order, "/closed/a"),
        (gateway, "/closed/a"),
        (gateway, "/edge/a"),
    ] {
        for version in [Version::Http1, Version::Http2] {
            let mut open = Open::to(address, version).await;
            assert_eq!(open.get(path).await, 200, "{path} {version:?}");
            doors.push((open, path));
        }
    }
    mesh.write_policy("closed.yaml", CLOSED).await;
    for (open, path) in &mut doors {
        assert_eq!(
            open.get(path).await,
            403,
            "{path}: the same connection, the new policy"
        );
        assert_eq!(open.get("/open").await, 200);
    }

    let product = &mesh.sidecar("product-service").process;
    let reply = ask(order, Version::Http1, ("GET", "/tried/x"), &[], "").await;
    assert_eq!(reply.status, 200);
    let found = || async { line_with(product, "\"path\":\"/tried/x\"") };
    let line = eventually("the request is logged", found).await;
    let tried = "ns[my-app]-policy[tried]-rule[0]";
    assert_eq!(line["dry_run"]["deny"], tried, "{line}");
    let reply = ask(order, Version::Http1, ("GET", "/noted/x"), &[], "").await;
    assert_eq!(reply.status, 200);
    let found = || async { line_with(product, "\"path\":\"/noted/x\"") };
    let line = eventually("the request is logged", found).await;
    assert_eq!(
        line["audit_policy"], "ns[my-app]-policy[noted]-rule[0]",
        "{line}"
    );
}

/// A connection that stays open.
enum Open {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Open {
    async fn to(address: SocketAddr, version: Version) -> Self {
        let io = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
        match version {
            Version::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Self::One(sender)
            }
            Version::Http2 => {
                let executor = TokioExecutor::new();
                let (sender, connection) = hyper::client::conn::http2::handshake(executor, io)
                    .await
                    .unwrap();
                tokio::spawn(connection);
                Self::Two(sender)
            }
        }
    }

    async fn get(&mut self, path: &str) -> u16 {
        let mut request = request("GET", "product-service", path);
        let response = match self {
            Self::One(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Self::Two(sender) => {
                let target = format!("http://product-service{path}");
                *request.uri_mut() = target.parse().unwrap();
                request.headers_mut().clear();
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
        };
        let status = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_mode_of_a_process_is_loud_and_lets_denials_pass() {
    const AUDIT: &str = "authorization: {mode: audit}";
    let mesh = Mesh::start(
        MeshSpec::new()
            .policy("edge.yaml", EDGE)
            .policy("closed.yaml", CLOSED)
            .workload(WorkloadSpec::new("product-service").setting(AUDIT))
            .workload(WorkloadSpec::new("order-service"))
            .gateway()
            .gateway_setting(AUDIT),
    )
    .await;
    let gateway = mesh.gateway().port("listener:80");
    for (path, process) in [
        ("/closed/a", &mesh.sidecar("product-service").process),
        ("/edge/a", mesh.gateway()),
    ] {
        assert_eq!(process.status().await["authorization"]["mode"], "audit");
        assert!(
            process.log().contains("AUDIT MODE"),
            "{}",
            process.log_tail()
        );
        let metrics = process.metrics().await;
        assert!(
            metrics.lines().any(|line| {
                line.starts_with("portcullis_authorization_audit_mode") && line.ends_with(" 1")
            }),
            "{metrics}"
        );
        let reply = ask(gateway, Version::Http1, ("GET", path), &[], "").await;
        assert_eq!(reply.status, 200, "{path}");
        let found = || async { line_with(process, "\"let_pass\":true") };
        let line = eventually("the denial is logged", found).await;
        assert_eq!(line["path"], path);
        assert!(
            line["policy"]
                .as_str()
                .unwrap()
                .contains("-policy[closed]-")
        );
    }
    let order = &mesh.sidecar("order-service").process;
    assert_eq!(order.status().await["authorization"]["mode"], "enforce");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_behind_trusted_proxies_is_known_at_the_gateway_and_behind_it() {
    const NOT_FROM_THERE: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-from-there, namespace: istio-system}
spec:
  action: DENY
  rules:
  - from: [{source: {remoteIpBlocks: [203.0.113.0/24]}}]
    to: [{operation: {paths: [/everywhere]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-from-there, namespace: my-app}
spec:
  selector: {matchLabels: {app: product-service}}
  action: DENY
  rules:
  - from: [{source: {remoteIpBlocks: [203.0.113.0/24]}}]
    to: [{operation: {paths: [/product]}}]
";
    let mesh = Mesh::start(
        MeshSpec::new()
            .policy("edge.yaml", EDGE)
            .policy("remote.yaml", NOT_FROM_THERE)
            .workload(WorkloadSpec::new("product-service"))
            .workload(WorkloadSpec::new("order-service"))
            .gateway()
            .gateway_setting("gatewayTopology: {numTrustedProxies: 1}"),
    )
    .await;
    let gateway = mesh.gateway().port("listener:80");
    let order = mesh.sidecar("order-service").outbound();
    for (door, path, forwarded, status) in [
        (gateway, "/everywhere", "203.0.113.9", 403),
        (gateway, "/product", "203.0.113.9", 403),
        (gateway, "/product", "203.0.113.9, 192.0.2.1", 200),
        (gateway, "/product", "nobody", 200),
        // Inside the mesh a caller is who it is, whatever it says.
        (order, "/product", "203.0.113.9", 200),
        (order, "/everywhere", "203.0.113.9", 200),
    ] {
        let forged = [
            ("x-forwarded-for", forwarded),
            ("x-envoy-external-address", "203.0.113.9"),
        ];
        let reply = ask(door, Version::Http1, ("GET", path), &forged, "").await;
        assert_eq!(reply.status, status, "{path} {forwarded}: {}", reply.text());
    }
}
