//! Providers that speak gRPC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ::http::{Request, Response};
use bytes::{BufMut as _, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use prost::Message as _;

use super::*;
use crate::ext_authz::QueryChange;
use crate::ext_authz::wire::auth::check_response::HttpResponse;
use crate::ext_authz::wire::auth::{
    CheckRequest as Question, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use crate::ext_authz::wire::core::{HeaderValue as Pair, HeaderValueOption, QueryParameter};
use crate::ext_authz::wire::{HttpStatus, Status};
use crate::testing::{H2, Server, TestBody, serve};

type Seen = Arc<Mutex<Vec<(::http::request::Parts, Question)>>>;

fn framed(message: &CheckResponse) -> Bytes {
    let mut buffer = BytesMut::new();
    buffer.put_u8(0);
    buffer.put_u32(message.encoded_len().try_into().unwrap());
    message.encode(&mut buffer).unwrap();
    buffer.freeze()
}

/// A gRPC response with this body and these trailers.
fn response(body: Bytes, trailers: &[(&'static str, &str)]) -> Response<TestBody> {
    let trailers = (!trailers.is_empty()).then(|| Ok(headers(trailers)));
    let body = Full::new(body).with_trailers(async move { trailers });
    Response::builder()
        .header("content-type", "application/grpc")
        .body(TestBody::new(body))
        .unwrap()
}

/// A provider that gives one answer and remembers what it is asked.
async fn provider<F>(answer: F) -> (Server, Seen)
where
    F: Fn() -> Response<TestBody> + Clone + Send + Sync + 'static,
{
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let server = serve(H2, None, move |request: Request<Incoming>| {
        let (kept, answer) = (Arc::clone(&kept), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let question = Question::decode(body.slice(5..)).unwrap();
            kept.lock().unwrap().push((head, question));
            answer()
        }
    })
    .await;
    (server, seen)
}

/// What comes of a provider's answer.
async fn answered(settings: &str, answer: CheckResponse) -> CheckAnswer {
    let body = framed(&answer);
    let (server, _) = provider(move || response(body.clone(), &[("grpc-status", "0")])).await;
    let snapshot = snapshot("envoyExtAuthzGrpc", server.address, settings, "");
    ask(&ExtAuthz::default(), &snapshot, &HeaderMap::new(), None).await
}

fn status(code: i32) -> Status {
    let message = String::new();
    Status { code, message }
}

fn allowing() -> CheckResponse {
    CheckResponse {
        status: Some(status(0)),
        ..CheckResponse::default()
    }
}

fn option(key: &str, value: &str, append: Option<bool>, action: i32) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Pair {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        append,
        append_action: action,
    }
}

fn changing(ok: OkHttpResponse) -> CheckResponse {
    CheckResponse {
        http_response: Some(HttpResponse::OkResponse(ok)),
        ..allowing()
    }
}

fn denying(code: i32, headers: Vec<HeaderValueOption>, body: &str) -> CheckResponse {
    CheckResponse {
        status: Some(status(7)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code }),
            headers,
            body: body.to_owned(),
        })),
        ..CheckResponse::default()
    }
}

#[tokio::test]
async fn what_is_asked() {
    let body = framed(&allowing());
    let (server, seen) = provider(move || response(body.clone(), &[("grpc-status", "0")])).await;
    let settings = ", timeout: 2s, includeRequestBodyInCheck: {maxRequestBytes: 4}";
    let snapshot = snapshot("envoyExtAuthzGrpc", server.address, settings, "");
    let client = ExtAuthz::default();
    let sent = headers(&[
        ("x-request-id", "17"),
        ("accept", "a"),
        ("accept", "b"),
        ("cookie", "c=1"),
        ("cookie", "d=2"),
        ("host", "other"),
        ("x-envoy-auth-partial-body", "true"),
    ]);
    let answer = ask(&client, &snapshot, &sent, Some(("body", true))).await;
    assert!(
        matches!(&answer, CheckAnswer::Allow(a) if a.request.is_empty()),
        "{answer:?}"
    );
    // TCP: both ends and the server name, and nothing of HTTP.
    let answer = check(&client, &snapshot, None).await;
    assert!(matches!(answer, CheckAnswer::Allow(_)), "{answer:?}");

    let (head, question) = seen.lock().unwrap().remove(0);
    assert_eq!(
        head.uri.path(),
        "/envoy.service.auth.v3.Authorization/Check"
    );
    let authority = head.uri.authority().unwrap().as_str();
    assert_eq!(
        authority,
        "outbound_.9000_._.authorizer.my-app.svc.cluster.local"
    );
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["grpc-timeout"], "2000m");
    let attributes = question.attributes.unwrap();
    let source = attributes.source.unwrap();
    assert_eq!(source.principal, "spiffe://cluster.local/ns/my-app/sa/web");
    let place = format!("{:?}", source.address.unwrap());
    assert!(
        place.contains("\"10.0.0.1\"") && place.contains("4711"),
        "{place}"
    );
    assert_eq!(attributes.destination.unwrap().principal, "");
    assert_eq!(attributes.tls_session.unwrap().sni, "shop.example");
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!(http.id, "17");
    assert_eq!(http.path, "/orders/1?x=y");
    assert_eq!(http.host, "shop.example:8443");
    assert_eq!(
        (http.method.as_str(), http.scheme.as_str()),
        ("POST", "https")
    );
    assert_eq!((http.protocol.as_str(), http.size), ("HTTP/1.1", 4));
    assert_eq!((http.body.as_str(), http.raw_body.len()), ("body", 0));
    let expected = [
        (":authority", "shop.example:8443"),
        (":method", "POST"),
        (":path", "/orders/1?x=y"),
        (":scheme", "https"),
        ("x-request-id", "17"),
        ("accept", "a,b"),
        ("cookie", "c=1; d=2"),
        ("x-envoy-auth-partial-body", "false"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(http.headers, HashMap::from(expected));

    let (_, question) = seen.lock().unwrap().remove(0);
    let attributes = question.attributes.unwrap();
    assert!(attributes.request.is_none() && attributes.source.is_some());
}

#[tokio::test]
async fn bytes_stay_bytes() {
    let body = framed(&allowing());
    let (server, seen) = provider(move || response(body.clone(), &[("grpc-status", "0")])).await;
    let settings = ", includeRequestBodyInCheck: {maxRequestBytes: 4, packAsBytes: true}";
    let snapshot = snapshot("envoyExtAuthzGrpc", server.address, settings, "");
    let none = HeaderMap::new();
    ask(
        &ExtAuthz::default(),
        &snapshot,
        &none,
        Some(("body", false)),
    )
    .await;
    let (_, question) = seen.lock().unwrap().remove(0);
    let http = question.attributes.unwrap().request.unwrap().http.unwrap();
    assert_eq!(
        (http.raw_body.as_slice(), http.body.as_str()),
        (&b"body"[..], "")
    );
    assert_eq!(http.headers["x-envoy-auth-partial-body"], "true");
    assert_eq!(http.size, -1);
}

#[tokio::test]
async fn what_an_allowance_changes() {
    let ok = OkHttpResponse {
        headers: vec![
            option("X-User", "alice", None, 0),
            option("x-user", "admin", None, 2),
            option("x-list", "b", Some(true), 0),
            option("x-one", "c", Some(false), 0),
            option("x-new", "d", None, 1),
            option("x-old", "e", None, 3),
        ],
        headers_to_remove: ["Authorization", "host", ":path"]
            .map(str::to_owned)
            .to_vec(),
        response_headers_to_add: vec![option("set-cookie", "a=1", Some(true), 0)],
        query_parameters_to_set: vec![QueryParameter {
            key: "user".to_owned(),
            value: "alice".to_owned(),
        }],
        query_parameters_to_remove: vec!["token".to_owned()],
        ..OkHttpResponse::default()
    };
    let CheckAnswer::Allow(allowed) = answered("", changing(ok)).await else {
        panic!("not allowed");
    };
    let name = |text: &'static str| ::http::HeaderName::from_static(text);
    let value = |text: &'static str| ::http::HeaderValue::from_static(text);
    assert_eq!(
        allowed.request,
        [
            set("x-user", "alice"),
            append("x-user", "admin"),
            append("x-list", "b"),
            set("x-one", "c"),
            HeaderChange::AddIfAbsent(name("x-new"), value("d")),
            HeaderChange::SetIfPresent(name("x-old"), value("e")),
            HeaderChange::Remove(name("authorization")),
        ]
    );
    assert_eq!(allowed.response, [append("set-cookie", "a=1")]);
    let changed = QueryChange::apply_all(&allowed.query, Some("token=t&x=y"));
    assert_eq!(changed.as_deref(), Some("x=y&user=alice"));
}

#[tokio::test]
async fn a_denial_is_the_providers_own() {
    let cookies = vec![
        option("set-cookie", "a=1", None, 0),
        option("set-cookie", "b=2", None, 0),
        option("Content-Type", "text/html", None, 0),
    ];
    let CheckAnswer::Deny(response) = answered("", denying(401, cookies, "<p>no")).await else {
        panic!("not denied");
    };
    assert_eq!(response.status(), 401);
    assert_eq!(response.body(), "<p>no");
    assert_eq!(response.headers()["content-type"], "text/html");
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    // Without a word about the response, and with a code only.
    for denial in [
        denying(0, Vec::new(), ""),
        CheckResponse {
            status: Some(status(16)),
            ..CheckResponse::default()
        },
    ] {
        let CheckAnswer::Deny(response) = answered(", failOpen: true", denial).await else {
            panic!("not denied");
        };
        assert_eq!(response.status(), 403);
        assert!(response.body().is_empty());
    }
}

#[tokio::test]
async fn what_no_provider_may_change_is_refused_even_where_it_may_be_missing() {
    let one = |key: &str, value: &str, action| {
        changing(OkHttpResponse {
            headers: vec![option(key, value, None, action)],
            ..OkHttpResponse::default()
        })
    };
    let contradicting = CheckResponse {
        status: Some(status(0)),
        ..denying(403, Vec::new(), "")
    };
    for answer in [
        one(":path", "/admin", 2),
        one(":method", "GET", 2),
        one("host", "other", 2),
        one("content-length", "0", 2),
        one("transfer-encoding", "chunked", 2),
        one("x-split", "a\r\nb: c", 2),
        one("bad name", "a", 2),
        one("x-a", "a", 9),
        denying(99, Vec::new(), ""),
        denying(1000, Vec::new(), ""),
        contradicting,
        CheckResponse::default(),
    ] {
        let text = format!("{answer:?}");
        let reply = failed(answered(", failOpen: true", answer).await);
        assert_eq!(reply.status, 500, "{text}");
        assert_eq!(reply.details, "ext_authz_invalid", "{text}");
    }
}

#[tokio::test]
async fn who_does_not_answer_denies_unless_it_may_be_missing() {
    let allow = framed(&allowing());
    let cut = allow.slice(..allow.len() - 1);
    let long = Bytes::from(vec![0; 1024 * 1024 + 6]);
    let could_not_tell = framed(&CheckResponse {
        status: Some(status(7)),
        http_response: Some(HttpResponse::ErrorResponse(DeniedHttpResponse::default())),
        ..CheckResponse::default()
    });
    let mut compressed = allow.to_vec();
    compressed[0] = 1;
    let good: &[(&str, &str)] = &[("grpc-status", "0")];
    let cases: Vec<(Bytes, &[(&'static str, &str)])> = vec![
        (allow.clone(), &[]),
        (allow.clone(), &[("x-other", "1")]),
        (
            allow.clone(),
            &[("grpc-status", "14"), ("grpc-message", "down")],
        ),
        (Bytes::new(), good),
        (cut, good),
        (long, good),
        (compressed.into(), good),
        (could_not_tell, good),
        (Bytes::from_static(b"\0\0\0\0\x02\xff\xff"), good),
    ];
    for (body, trailers) in cases {
        let text = format!("{} bytes, {trailers:?}", body.len());
        let trailers = headers(trailers);
        let (server, _) = provider(move || {
            let pairs: Vec<(&'static str, String)> = ["grpc-status", "grpc-message", "x-other"]
                .into_iter()
                .filter_map(|name| Some((name, trailers.get(name)?.to_str().ok()?.to_owned())))
                .collect();
            let pairs: Vec<(&'static str, &str)> = pairs
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            response(body.clone(), &pairs)
        })
        .await;
        let asked = |settings| snapshot("envoyExtAuthzGrpc", server.address, settings, "");
        let (client, none) = (ExtAuthz::default(), HeaderMap::new());
        let reply = failed(ask(&client, &asked(", statusOnError: '503'"), &none, None).await);
        assert_eq!(
            (reply.status.as_u16(), &*reply.details),
            (503, "ext_authz_error"),
            "{text}"
        );
        let answer = ask(&client, &asked(", failOpen: true"), &none, None).await;
        assert!(
            matches!(&answer, CheckAnswer::Allow(a) if a.failed_open),
            "{text}: {answer:?}"
        );
    }
}
