//! The endpoint loop, its deadline, and what it reports.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::testing::{
    CLIENT_ID, Ca, Documents, H1, H2, Server, TestBody, data, eventually, fed, full, get,
    plain_client, post, serve, text,
};
use crate::upstream::{Limits, UpstreamProtocol};

mod retries;

type Via = Forwarder<TestBody>;

fn plain() -> Via {
    Forwarder::new(plain_client(Limits::default()))
}

async fn refused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

async fn named(name: &'static str) -> Server {
    serve(H1, None, move |_| async move { Response::new(full(name)) }).await
}

fn snapshot(addresses: &[SocketAddr]) -> Snapshot {
    let mut documents = Documents::new();
    for address in addresses {
        documents.endpoint(*address, None);
    }
    documents.snapshot()
}

async fn send(via: &Via, snapshot: &Snapshot, request: Request<TestBody>) -> Forwarded<TestBody> {
    within(via, snapshot, request, None).await
}

async fn within(
    via: &Via,
    snapshot: &Snapshot,
    request: Request<TestBody>,
    limit: Option<Duration>,
) -> Forwarded<TestBody> {
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    let policy = RetryPolicy::default();
    let way = Way {
        deadline: limit.map(|limit| Instant::now() + limit),
        ..Way::new(cluster, &policy)
    };
    via.forward(snapshot, way, request).await
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (a, b) = (named("a").await, named("b").await);
    let snapshot = snapshot(&[a.address, b.address]);
    let via = plain();
    let mut seen = String::new();
    for _ in 0..4 {
        let Forwarded { result, outcome } = send(&via, &snapshot, get("/")).await;
        assert_eq!((outcome.attempts, outcome.flags), (1, ResponseFlags::NONE));
        assert!(outcome.service_time.is_some());
        let address = if outcome.endpoint == Some(0) {
            a.address
        } else {
            b.address
        };
        assert_eq!(outcome.address, Some(address));
        seen += &text(result.unwrap()).await;
    }
    assert!(seen == "abab" || seen == "baba", "{seen}");
}

#[tokio::test]
async fn a_failed_connect_goes_to_the_next_endpoint_with_the_whole_body() {
    let echo = serve(H1, None, |request| async move {
        Response::new(TestBody::new(request.into_body()))
    })
    .await;
    let snapshot = snapshot(&[refused().await, refused().await, echo.address]);
    let via = plain();
    for _ in 0..6 {
        let Forwarded { result, outcome } = send(&via, &snapshot, post("/", full("body"))).await;
        assert_eq!(text(result.unwrap()).await, "body");
        assert!((1..=3).contains(&outcome.attempts));
        assert_eq!(outcome.address, Some(echo.address));
        assert!(outcome.flags.is_empty());
    }
}

#[tokio::test]
async fn after_two_more_endpoints_the_client_is_told() {
    let mut addresses = Vec::new();
    for _ in 0..5 {
        addresses.push(refused().await);
    }
    let Forwarded { result, outcome } = send(&plain(), &snapshot(&addresses), get("/")).await;
    let reply = result.unwrap_err();
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(outcome.attempts, 3);
    let expected =
        ResponseFlags::UPSTREAM_CONNECTION_FAILURE | ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
    assert_eq!(outcome.flags, expected);
    assert!(outcome.failure.unwrap().contains("refused"));
}

#[tokio::test]
async fn the_wrong_identity_is_a_bad_gateway() {
    let ca = Ca::new();
    let (_server_keys, server_material) =
        ca.material("spiffe://cluster.local/ns/my-app/sa/mallory");
    let (_client_keys, client_material) = ca.material(CLIENT_ID);
    let server = serve(H2, Some(server_material), |_| async {
        Response::new(full(""))
    })
    .await;
    let mut documents = Documents::new();
    documents.endpoint(server.address, Some("server"));
    let via = Forwarder::new(Upstreams::new(client_material, Limits::default()));
    let Forwarded { result, outcome } = send(&via, &documents.snapshot(), get("/")).await;
    assert_eq!(result.unwrap_err().status, StatusCode::BAD_GATEWAY);
    assert_eq!(outcome.attempts, 1);
    assert_eq!(outcome.flags, ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
    assert!(outcome.failure.unwrap().contains("mallory"));
}

#[tokio::test]
async fn a_mesh_endpoint_is_reached_by_mtls() {
    let ca = Ca::new();
    let (_server_keys, server_material) = ca.material(crate::testing::SERVER_ID);
    let (_client_keys, client_material) = ca.material(CLIENT_ID);
    let server = serve(H2, Some(server_material), |_| async {
        Response::new(full("mesh"))
    })
    .await;
    let mut documents = Documents::new();
    documents.endpoint(server.address, Some("server"));
    let via = Forwarder::new(Upstreams::new(client_material, Limits::default()));
    let response = send(&via, &documents.snapshot(), get("/"))
        .await
        .result
        .unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(text(response).await, "mesh");
}

#[tokio::test]
async fn a_hanging_upstream_is_a_timeout_at_the_deadline() {
    let server = serve(H1, None, |_| async { std::future::pending().await }).await;
    let begun = Instant::now();
    let limit = Some(Duration::from_millis(150));
    let Forwarded { result, outcome } =
        within(&plain(), &snapshot(&[server.address]), get("/"), limit).await;
    let reply = result.unwrap_err();
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(reply.body, "upstream request timeout");
    assert_eq!(outcome.flags, ResponseFlags::UPSTREAM_REQUEST_TIMEOUT);
    assert_eq!(outcome.address, Some(server.address));
    let took = begun.elapsed();
    assert!((150..400).contains(&took.as_millis()), "{took:?}");
    server
        .until("the exchange is cancelled", |s| s.open() == 0)
        .await;
}

/// A body that drips does not outlive the deadline either.
#[tokio::test]
async fn a_dripping_body_is_cut_at_the_deadline() {
    let server = serve(H1, None, |_| async {
        let (feeder, body) = fed();
        tokio::spawn(async move {
            while feeder.send(data("drip")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Response::new(body)
    })
    .await;
    let begun = Instant::now();
    let limit = Some(Duration::from_millis(200));
    let via = plain();
    let forwarded = within(&via, &snapshot(&[server.address]), get("/"), limit).await;
    let error = forwarded
        .result
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap_err();
    assert_eq!(error.flags(), ResponseFlags::UPSTREAM_REQUEST_TIMEOUT);
    let took = begun.elapsed();
    assert!((200..450).contains(&took.as_millis()), "{took:?}");
    server
        .until("the exchange is cancelled", |s| s.open() == 0)
        .await;
}

/// The deadline ends with the response: a connection that was returned in time stays usable.
#[tokio::test]
async fn a_deadline_leaves_finished_exchanges_alone() {
    let server = named("quick").await;
    let (via, snapshot) = (plain(), snapshot(&[server.address]));
    let limit = Some(Duration::from_millis(100));
    let response = within(&via, &snapshot, get("/"), limit)
        .await
        .result
        .unwrap();
    assert_eq!(text(response).await, "quick");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let response = within(&via, &snapshot, get("/"), limit)
        .await
        .result
        .unwrap();
    assert_eq!(text(response).await, "quick");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_never_a_clean_end() {
    let server = serve(H1, None, |_| async {
        let (feeder, body) = fed();
        tokio::spawn(async move {
            feeder.send(data("half")).await.unwrap();
            feeder.send(Err("gone".into())).await.unwrap();
        });
        Response::new(body)
    })
    .await;
    let forwarded = send(&plain(), &snapshot(&[server.address]), get("/")).await;
    let error = forwarded
        .result
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        error.flags(),
        ResponseFlags::UPSTREAM_CONNECTION_TERMINATION
    );
}

#[tokio::test]
async fn a_given_target_is_served_the_same_way() {
    let server = serve(H2, None, |request| async move {
        let (feeder, body) = fed();
        tokio::spawn(async move {
            let sent = request.into_body().collect().await.unwrap();
            feeder.send(Ok(Frame::data(sent.to_bytes()))).await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", 0.into());
            feeder.send(Ok(Frame::trailers(trailers))).await.unwrap();
        });
        Response::new(body)
    })
    .await;
    let target = Target::plaintext(
        server.address,
        UpstreamProtocol::Http2,
        Duration::from_secs(1),
    );
    let via = plain();
    let Forwarded { result, outcome } = via
        .to_target(&target, &RetryPolicy::off(), post("/", full("grpc")), None)
        .await;
    let collected = result.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), Bytes::from_static(b"grpc"));
    assert_eq!(
        (outcome.attempts, outcome.address),
        (1, Some(server.address))
    );
    let gone = Target::plaintext(
        refused().await,
        UpstreamProtocol::Http1,
        Duration::from_secs(1),
    );
    let reply = via
        .to_target(&gone, &RetryPolicy::off(), get("/"), None)
        .await
        .result
        .unwrap_err();
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn dropping_the_future_cancels() {
    let server = serve(H1, None, |_| async { std::future::pending().await }).await;
    let (via, snapshot) = (plain(), Arc::new(snapshot(&[server.address])));
    let task = tokio::spawn(async move { send(&via, &snapshot, get("/")).await.outcome });
    eventually("the request arrives", || server.open() == 1).await;
    task.abort();
    server
        .until("the exchange is cancelled", |s| s.open() == 0)
        .await;
}
