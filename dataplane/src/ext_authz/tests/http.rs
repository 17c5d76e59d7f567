//! Providers that speak HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::*;
use crate::testing::{CLIENT_ID, Ca, H1, H2, SERVER_ID, Server, TestBody, empty, full, serve};

type Seen = Arc<Mutex<Vec<(::http::request::Parts, Bytes)>>>;

/// A provider that remembers what it is asked.
async fn provider(answer: fn() -> Response<TestBody>) -> (Server, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let server = serve(H1, None, move |request: Request<Incoming>| {
        let kept = Arc::clone(&kept);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            kept.lock().unwrap().push((head, body));
            answer()
        }
    })
    .await;
    (server, seen)
}

fn ok() -> Response<TestBody> {
    Response::builder()
        .header("x-user", "alice")
        .header("x-user", "admin")
        .header("x-team-a", "red")
        .header("x-other", "no")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header(
            "x-envoy-auth-headers-to-remove",
            "authorization, x-secret,host",
        )
        .body(full("ignored"))
        .unwrap()
}

#[tokio::test]
async fn what_is_asked_and_what_an_allowance_changes() {
    let (server, seen) = provider(ok).await;
    let settings = ", pathPrefix: /check, includeRequestHeadersInCheck: [x-a, x-b-*, '*-c', content-type], \
                    includeAdditionalHeadersInCheck: {X-From: 100%%, x-a: ours}, \
                    headersToUpstreamOnAllow: [x-user, x-team-*], headersToDownstreamOnAllow: [set-cookie]";
    let snapshot = snapshot("envoyExtAuthzHttp", server.address, settings, "");
    let client = ExtAuthz::default();
    assert_eq!(ExtAuthz::wanted_body(&snapshot, "asked"), None);
    let sent = headers(&[
        ("authorization", "Bearer t"),
        ("x-a", "theirs"),
        ("x-b-1", "1"),
        ("x-b-1", "2"),
        ("x-z-c", "3"),
        ("x-not", "4"),
        ("cookie", "5"),
        ("content-length", "99"),
        ("content-type", "text/csv"),
    ]);
    let CheckAnswer::Allow(allowed) = ask(&client, &snapshot, &sent, None).await else {
        panic!("not allowed");
    };
    assert_eq!(
        allowed.request,
        [
            set("x-user", "alice"),
            append("x-user", "admin"),
            set("x-team-a", "red"),
            HeaderChange::Remove("authorization".parse().unwrap()),
            HeaderChange::Remove("x-secret".parse().unwrap()),
        ]
    );
    assert_eq!(
        allowed.response,
        [append("set-cookie", "a=1"), append("set-cookie", "b=2")]
    );
    assert!(!allowed.failed_open && allowed.query.is_empty());

    let (head, body) = seen.lock().unwrap().remove(0);
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri, "/check/orders/1?x=y");
    assert!(body.is_empty());
    let mut told: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    told.sort();
    let expected = [
        ("authorization", "Bearer t"),
        ("content-length", "0"),
        ("content-type", "text/csv"),
        ("host", "shop.example:8443"),
        ("x-a", "ours"),
        ("x-b-1", "1"),
        ("x-b-1", "2"),
        ("x-from", "100%"),
        ("x-z-c", "3"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_body_is_shown_as_far_as_it_is_wanted() {
    let (server, seen) = provider(|| Response::new(empty())).await;
    let settings = ", includeRequestHeadersInCheck: [x-envoy-auth-partial-body], \
                    includeRequestBodyInCheck: {maxRequestBytes: 4, allowPartialMessage: true}";
    let snapshot = snapshot("envoyExtAuthzHttp", server.address, settings, "");
    let client = ExtAuthz::default();
    let wanted = ExtAuthz::wanted_body(&snapshot, "asked").unwrap();
    assert!(wanted.max == 4 && wanted.allow_partial);
    let forged = headers(&[("x-envoy-auth-partial-body", "false")]);
    for (complete, partial) in [(true, "false"), (false, "true")] {
        let answer = ask(&client, &snapshot, &forged, Some(("body", complete))).await;
        assert!(matches!(answer, CheckAnswer::Allow(_)), "{answer:?}");
        let (head, body) = seen.lock().unwrap().remove(0);
        assert_eq!(body, "body");
        assert_eq!(head.headers["content-length"], "4");
        let told: Vec<_> = head
            .headers
            .get_all("x-envoy-auth-partial-body")
            .iter()
            .collect();
        assert_eq!(told, [partial]);
    }
}

fn login() -> Response<TestBody> {
    Response::builder()
        .status(StatusCode::FOUND)
        .header("location", "https://login.example")
        .header("www-authenticate", "Bearer")
        .header("x-reason", "none")
        .header("content-type", "text/html")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .body(full("<p>login"))
        .unwrap()
}

#[tokio::test]
async fn a_denial_is_the_providers_own() {
    let (server, _) = provider(login).await;
    let client = ExtAuthz::default();
    let none = HeaderMap::new();
    for (settings, expected) in [
        (
            "",
            &[
                ("content-length", "8"),
                ("content-type", "text/html"),
                ("location", "https://login.example"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("www-authenticate", "Bearer"),
                ("x-reason", "none"),
            ][..],
        ),
        (
            ", headersToDownstreamOnDeny: [x-rea*]",
            &[
                ("content-length", "8"),
                ("content-type", "text/plain"),
                ("location", "https://login.example"),
                ("www-authenticate", "Bearer"),
                ("x-reason", "none"),
            ],
        ),
    ] {
        let snapshot = snapshot("envoyExtAuthzHttp", server.address, settings, "");
        let CheckAnswer::Deny(response) = ask(&client, &snapshot, &none, None).await else {
            panic!("not denied");
        };
        assert_eq!(response.status(), 302);
        assert_eq!(response.body(), "<p>login");
        let mut got: Vec<(&str, &str)> = response
            .headers()
            .iter()
            .filter(|(name, _)| *name != "date")
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        got.sort_unstable();
        assert_eq!(got, expected, "{settings}");
    }
    // A caller of gRPC cannot read a page.
    let snapshot = snapshot("envoyExtAuthzHttp", server.address, "", "");
    let grpc = headers(&[("content-type", "application/grpc")]);
    let CheckAnswer::Deny(response) = ask(&client, &snapshot, &grpc, None).await else {
        panic!("not denied");
    };
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "2");
    assert_eq!(response.headers()["grpc-message"], "<p>login");
    assert_eq!(response.headers()["x-reason"], "none");
}

fn broken() -> Response<TestBody> {
    Response::builder().status(502).body(full("down")).unwrap()
}

fn endless() -> Response<TestBody> {
    Response::builder()
        .status(401)
        .body(full(vec![b'x'; 1024 * 1024 + 1]))
        .unwrap()
}

#[tokio::test]
async fn who_does_not_answer_denies_unless_it_may_be_missing() {
    let client = ExtAuthz::default();
    let none = HeaderMap::new();
    let (down, _) = provider(broken).await;
    let (long, _) = provider(endless).await;
    let gone = {
        let (gone, _) = provider(ok).await;
        gone.address
    };
    let slow = serve(H1, None, |_: Request<Incoming>| async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        ok()
    })
    .await;
    for address in [down.address, long.address, gone, slow.address] {
        let asked = |settings| snapshot("envoyExtAuthzHttp", address, settings, "");
        let reply = failed(ask(&client, &asked(", timeout: 0.3s"), &none, None).await);
        assert_eq!(reply.status, 403);
        assert_eq!(reply.details, "ext_authz_error");
        assert!(reply.body.is_empty());
        let settings = ", timeout: 0.3s, statusOnError: '503'";
        let reply = failed(ask(&client, &asked(settings), &none, None).await);
        assert_eq!(reply.status, 503);
        let settings = ", timeout: 0.3s, failOpen: true";
        let CheckAnswer::Allow(allowed) = ask(&client, &asked(settings), &none, None).await else {
            panic!("did not open");
        };
        assert!(allowed.failed_open && allowed.request.is_empty());
    }
}

#[tokio::test]
async fn a_connection_cannot_be_judged_over_http() {
    let (server, seen) = provider(ok).await;
    let snapshot = snapshot("envoyExtAuthzHttp", server.address, "", "");
    let reply = failed(check(&ExtAuthz::default(), &snapshot, None).await);
    assert_eq!(reply.details, "ext_authz_error");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_is_asked_whom_the_mesh_does_not_have() {
    let (server, _) = provider(ok).await;
    let snapshot = snapshot("envoyExtAuthzHttp", server.address, "", "");
    let request = CheckRequest {
        source_principal: None,
        destination_principal: None,
        source: "10.0.0.1:1".parse().unwrap(),
        destination: "10.0.0.2:2".parse().unwrap(),
        sni: None,
        http: None,
    };
    let answer = ExtAuthz::default().check(&snapshot, "other", request).await;
    assert_eq!(failed(answer).status, 403);
}

#[tokio::test]
async fn a_provider_of_the_mesh_has_to_prove_who_it_is() {
    let ca = Ca::new();
    let (_kept, theirs) = ca.material(SERVER_ID);
    let (_mine, reader) = ca.material(CLIENT_ID);
    let server = serve(H2, Some(theirs), |_: Request<Incoming>| async { ok() }).await;
    let client = ExtAuthz::new(reader, &prometheus::Registry::new()).unwrap();
    let none = HeaderMap::new();
    let asked = |account| snapshot("envoyExtAuthzHttp", server.address, "", account);
    let answer = ask(&client, &asked(", serviceAccount: server"), &none, None).await;
    assert!(matches!(answer, CheckAnswer::Allow(_)), "{answer:?}");
    let stranger = asked(", serviceAccount: other");
    failed(ask(&client, &stranger, &none, None).await);
}
