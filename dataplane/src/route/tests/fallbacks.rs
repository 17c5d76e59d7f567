//! A service fails: its callers are answered what its Fallback says, and only where that is right.

use super::*;
use crate::telemetry::ResponseFlags;

const RULES: &str = "  - {route: [{destination: {host: product-service}}]}\n";

/// A second service, `spare`, at an address, and a Fallback with `spec` besides its host.
fn documents(spare: SocketAddr, spec: &str) -> String {
    format!(
        "{RULES}---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: spare, namespace: my-app}}
spec:
  hosts: [spare.my-app.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  endpoints: [{{address: {}, ports: {{http: {}}}}}]
---
apiVersion: portcullis.dev/v1
kind: Fallback
metadata: {{name: products, namespace: my-app}}
spec: {{host: product-service, {spec}}}
",
        spare.ip(),
        spare.port()
    )
}

/// An application that answers with a status and says so.
async fn answering(status: u16) -> Server {
    serve(H1, None, move |_| async move {
        let mut response = Response::new(full(format!("status {status}")));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    })
    .await
}

struct Told {
    status: u16,
    body: String,
    is_fallback: bool,
    flags: ResponseFlags,
    headers: HeaderMap,
}

async fn told(fixture: &Fixture, request: Request<TestBody>) -> Told {
    let sent = request.headers().clone();
    let answered = fixture.answer(request).await;
    let flags = answered.outcome.flags;
    let (status, headers, body) = seen(answered.answer, &sent).await;
    Told {
        status,
        body,
        is_fallback: headers
            .get("x-portcullis-fallback")
            .is_some_and(|value| value == "true"),
        flags,
        headers,
    }
}

const WRITTEN: &str = "response: {status: 200, body: '[]', contentType: application/json}";

#[tokio::test]
async fn a_failure_is_answered_as_written() {
    let (failing, spare) = (answering(500).await, answering(200).await);
    for role in [Role::Gateway, Role::Sidecar] {
        let spec = format!("when: [5xx], {WRITTEN}");
        let rules = documents(spare.address, &spec);
        let fixture = Fixture::new(role, &[&failing], &rules);
        let answer = told(&fixture, request("GET /")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(answer.is_fallback);
        assert!(answer.flags.contains(ResponseFlags::FALLBACK));
        // What was sent has no second answer elsewhere, but it has one that is written down.
        let mut post = request("POST /");
        *post.body_mut() = full("order");
        assert!(told(&fixture, post).await.is_fallback);
        // A caller that speaks gRPC would not understand it.
        let grpc = request("POST /a.B/C\ncontent-type: application/grpc");
        assert!(!told(&fixture, grpc).await.is_fallback);
    }
}

#[tokio::test]
async fn another_failure_is_left_alone() {
    let (failing, spare) = (answering(500).await, answering(200).await);
    let spec = format!("when: [timeout, overflow], {WRITTEN}");
    let rules = documents(spare.address, &spec);
    let fixture = Fixture::new(Role::Sidecar, &[&failing], &rules);
    let answer = told(&fixture, request("GET /")).await;
    assert_eq!((answer.status, answer.is_fallback), (500, false));
    assert!(!answer.flags.contains(ResponseFlags::FALLBACK));
    let (missing, spare) = (answering(404).await, answering(200).await);
    let rules = documents(spare.address, &format!("when: [5xx], {WRITTEN}"));
    let fixture = Fixture::new(Role::Sidecar, &[&missing], &rules);
    assert_eq!(told(&fixture, request("GET /")).await.status, 404);
}

#[tokio::test]
async fn another_destination_answers() {
    let (failing, spare) = (answering(503).await, answering(200).await);
    let rules = documents(spare.address, "when: [5xx], destination: {host: spare}");
    let fixture = Fixture::new(Role::Gateway, &[&failing], &rules);
    let answer = told(&fixture, request("GET /")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "status 200"));
    assert!(answer.is_fallback);
    assert!(answer.flags.contains(ResponseFlags::FALLBACK));
    // A body was sent already, and an order must not be placed twice.
    let mut put = request("PUT /");
    *put.body_mut() = full("order");
    for request in [put, request("POST /")] {
        let answer = told(&fixture, request).await;
        assert_eq!((answer.status, answer.is_fallback), (503, false));
    }
}

#[tokio::test]
async fn where_the_other_fails_too_the_first_answer_stands() {
    let (failing, spare) = (answering(503).await, answering(500).await);
    let rules = documents(spare.address, "when: [5xx], destination: {host: spare}");
    let fixture = Fixture::new(Role::Sidecar, &[&failing], &rules);
    let answer = told(&fixture, request("GET /")).await;
    assert_eq!((answer.status, answer.is_fallback), (503, false));
    assert_eq!(answer.body, "status 503");
}

#[tokio::test]
async fn failures_before_anything_is_sent_have_names() {
    let other = answering(200).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let rule = "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: spare, namespace: my-app}
spec: {host: spare, subsets: [{name: none, labels: {version: none}}]}
";
    for (to, when, flag) in [
        (
            "spare",
            "connectFailure",
            ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        ),
        (
            "spare, subset: none",
            "noHealthyUpstream",
            ResponseFlags::NO_HEALTHY_UPSTREAM,
        ),
    ] {
        for when in [when, "5xx"] {
            let documents = documents(address, &format!("when: [{when}], {WRITTEN}"))
                .replace(
                    "destination: {host: product-service}",
                    &format!("destination: {{host: {to}}}"),
                )
                .replace("{host: product-service, when", "{host: spare, when");
            let fixture = Fixture::new(Role::Sidecar, &[&other], &format!("{documents}{rule}"));
            let answer = told(&fixture, request("GET /")).await;
            assert_eq!((answer.status, answer.is_fallback), (200, true), "{when}");
            assert!(
                answer.flags.contains(ResponseFlags::FALLBACK | flag),
                "{when}: {}",
                answer.flags
            );
        }
    }
}
