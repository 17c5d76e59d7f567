//! A service that says yes, no, too late, or nonsense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;

use super::super::wire::{
    Code, DescriptorStatus, Entry, Header, Limit, RateLimitDescriptor, RateLimitRequest,
    RateLimitResponse, Unit,
};
use super::{build, get, shown};
use crate::ext_authz::HeaderChange;
use crate::rate_limit::RateLimiter;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;
use crate::testing::{H2, Server, TestBody, serve};

fn generation(address: SocketAddr, settings: &str) -> Snapshot {
    let service = format!(
        "apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: limits, namespace: my-app}}\n\
         spec:\n  \
           hosts: [limits.my-app.svc.cluster.local]\n  \
           location: MESH_INTERNAL\n  \
           resolution: STATIC\n  \
           ports: [{{number: 8081, name: grpc, protocol: GRPC}}]\n  \
           endpoints: [{{address: {}, ports: {{grpc: {}}}}}]\n",
        address.ip(),
        address.port()
    );
    let asks = super::limit(&format!(
        "  global: {{service: {{host: limits.my-app.svc.cluster.local, port: 8081, domain: shop, timeout: 2s{settings}}}, \
         response: {{rateLimitHeaders: true}}}}"
    ));
    let descriptors = super::limit(
        "  global: {descriptors: [{by: [{value: v1, key: api}, {method: {}}]}, {match: {methods: [POST]}, by: [{path: {}}]}]}",
    )
    .replace("name: limits", "name: descriptors");
    build(&[service, asks, descriptors], None)
}

/// A service that gives `answer`, and how often it was asked.
async fn service(answer: Option<RateLimitResponse>) -> (Server, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = serve(H2, None, move |request| {
        let (answer, count) = (answer.clone(), Arc::clone(&count));
        async move {
            assert_eq!(
                request.uri().path(),
                "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
            );
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let question = RateLimitRequest::decode(body.slice(5..)).unwrap();
            assert_eq!(question.domain, "shop");
            let [descriptor] = question.descriptors.as_slice() else {
                panic!("{question:?}");
            };
            let entries: Vec<_> = descriptor
                .entries
                .iter()
                .map(|entry| (entry.key.as_str(), entry.value.as_str()))
                .collect();
            assert_eq!(entries, [("api", "v1"), ("method", "GET")]);
            count.fetch_add(1, Ordering::SeqCst);
            let status = if answer.is_some() { "0" } else { "13" };
            let mut framed = BytesMut::new();
            if let Some(answer) = answer {
                framed.put_u8(0);
                framed.put_u32(answer.encoded_len().try_into().unwrap());
                answer.encode(&mut framed).unwrap();
            }
            let trailers =
                HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
            let body = Full::new(framed.freeze()).with_trailers(async { Some(Ok(trailers)) });
            Response::new(TestBody::new(body))
        }
    })
    .await;
    (server, asked)
}

fn verdict(code: Code) -> RateLimitResponse {
    RateLimitResponse {
        overall_code: code.into(),
        statuses: vec![DescriptorStatus {
            code: code.into(),
            current_limit: Some(Limit {
                requests_per_unit: 10,
                unit: Unit::Minute.into(),
                name: "api".to_owned(),
            }),
            limit_remaining: 3,
            duration_until_reset: Some(prost_types::Duration {
                seconds: 17,
                nanos: 1,
            }),
        }],
        response_headers_to_add: vec![Header {
            key: "x-from-service".to_owned(),
            value: "1".to_owned(),
            ..Header::default()
        }],
        ..RateLimitResponse::default()
    }
}

#[tokio::test]
async fn a_service_lets_pass_and_refuses() {
    let (server, asked) = service(Some(verdict(Code::Ok))).await;
    let snapshot = generation(server.address, "");
    let limiter = RateLimiter::default();
    let told = get(&limiter, &snapshot).await.unwrap();
    let told: Vec<_> = told
        .into_iter()
        .filter_map(HeaderChange::into_pair)
        .collect();
    assert_eq!(told[0].0, "x-from-service");
    assert_eq!(told[2].1, "3");
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let (server, _) = service(Some(verdict(Code::OverLimit))).await;
    let snapshot = generation(server.address, "");
    let reply = get(&limiter, &snapshot).await.unwrap_err();
    assert_eq!((reply.status.as_u16(), &*reply.body), (429, ""));
    assert_eq!(reply.details, "request_rate_limited");
    let shown = shown(&reply);
    for header in [
        "x-envoy-ratelimited: true",
        "x-from-service: 1",
        "x-ratelimit-limit: 10",
        "ratelimit-policy: \"api\";q=10;w=60",
        "retry-after: 18",
    ] {
        assert!(shown.iter().any(|found| found == header), "{shown:?}");
    }
}

#[tokio::test]
async fn without_an_answer_the_document_decides() {
    let limiter = RateLimiter::default();
    let (broken, _) = service(None).await;
    let (silent, _) = service(Some(verdict(Code::Unknown))).await;
    for address in [
        broken.address,
        silent.address,
        "127.0.0.1:1".parse().unwrap(),
    ] {
        let open = generation(address, "");
        assert!(get(&limiter, &open).await.is_ok(), "{address}");
        let closed = generation(address, ", failureMode: DENY, statusOnError: 503");
        let reply = get(&limiter, &closed).await.unwrap_err();
        assert_eq!(reply.status, 503);
        assert_eq!(reply.flags, ResponseFlags::RATE_LIMIT_SERVICE_ERROR);
    }
}

/// The bytes that Envoy would send (protoc's encoding of the same message).
#[test]
fn the_messages_have_envoys_numbers() {
    let question = RateLimitRequest {
        domain: "d".to_owned(),
        descriptors: vec![RateLimitDescriptor {
            entries: vec![Entry {
                key: "k".to_owned(),
                value: "v".to_owned(),
            }],
        }],
        hits_addend: 1,
    };
    let bytes = b"\x0a\x01d\x12\x08\x0a\x06\x0a\x01k\x12\x01v\x18\x01";
    assert_eq!(question.encode_to_vec(), bytes);
    let answer = b"\x08\x02\x12\x0d\x08\x02\x12\x04\x08\x05\x10\x02\x18\x01\x22\x01\x00";
    // An unknown field at the end of a status must not matter, a broken one must.
    assert!(RateLimitResponse::decode(&answer[..]).is_err());
    let answer = b"\x08\x02\x12\x0e\x08\x02\x12\x04\x08\x05\x10\x02\x18\x01\x22\x02\x08\x07";
    let answer = RateLimitResponse::decode(&answer[..]).unwrap();
    assert_eq!(answer.overall_code(), Code::OverLimit);
    let status = &answer.statuses[0];
    assert_eq!(
        (status.code(), status.limit_remaining),
        (Code::OverLimit, 1)
    );
    let limit = status.current_limit.as_ref().unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit()), (5, Unit::Minute));
    assert_eq!(status.duration_until_reset.unwrap().seconds, 7);
}
