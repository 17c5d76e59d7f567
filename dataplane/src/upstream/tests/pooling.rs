//! Which connections are opened, shared, kept and closed.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{mesh, plain};
use crate::testing::{
    CLIENT_ID, Ca, Client, H1, H2, SERVER_ID, Server, Speaks, eventually, full, get, plain_client,
    serve, text,
};
use crate::upstream::{Limits, Target, UpstreamErrorKind, UpstreamProtocol, Upstreams};

async fn hello(speaks: Speaks) -> Server {
    serve(speaks, None, |_| async { Response::new(full("hello")) }).await
}

/// Sends `n` requests at the same moment and waits for all answers.
async fn at_once(client: &Client, target: &Target, n: usize) {
    let mut tasks = JoinSet::new();
    let start = Arc::new(Barrier::new(n));
    for _ in 0..n {
        let (client, target, start) = (client.clone(), target.clone(), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            text(client.send(&target, get("/")).await.unwrap()).await
        });
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer, "hello");
    }
}

#[tokio::test]
async fn http1_connections_are_reused() {
    let server = hello(H1).await;
    let client = plain_client(Limits::default());
    let target = plain(server.address, UpstreamProtocol::Auto);
    for _ in 0..5 {
        assert_eq!(
            text(client.send(&target, get("/")).await.unwrap()).await,
            "hello"
        );
    }
    assert_eq!(server.accepted(), 1);
    assert_eq!(client.counts().dials, 1);
}

#[tokio::test]
async fn http1_connections_with_an_unread_body_are_not_reused() {
    let server = serve(H1, None, |_| async {
        Response::new(full(vec![b'x'; 1 << 20]))
    })
    .await;
    let client = plain_client(Limits::default());
    let target = plain(server.address, UpstreamProtocol::Http1);
    drop(client.send(&target, get("/")).await.unwrap());
    assert_eq!(
        text(client.send(&target, get("/")).await.unwrap())
            .await
            .len(),
        1 << 20
    );
    assert_eq!(server.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cold_requests_share_one_dial() {
    let server = hello(H2).await;
    let client = plain_client(Limits::default());
    at_once(
        &client,
        &plain(server.address, UpstreamProtocol::Http2),
        100,
    )
    .await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_cold_mesh_requests_share_one_handshake() {
    let ca = Ca::new();
    let (_server_keys, server_material) = ca.material(SERVER_ID);
    let (_client_keys, client_material) = ca.material(CLIENT_ID);
    let server = serve(H2, Some(server_material), |_| async {
        Response::new(full("hello"))
    })
    .await;
    let client = Upstreams::new(client_material, Limits::default());
    at_once(&client, &mesh(server.address, UpstreamProtocol::Auto), 100).await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_http2_connection_gets_a_neighbour() {
    let all_here = Arc::new(Barrier::new(30));
    let server = serve(Speaks::Http2 { max_streams: 10 }, None, move |request| {
        let all_here = Arc::clone(&all_here);
        async move {
            if request.uri().path() == "/together" {
                all_here.wait().await;
            }
            Response::new(full("hello"))
        }
    })
    .await;
    let client = plain_client(Limits::default());
    let target = plain(server.address, UpstreamProtocol::Http2);
    let mut tasks = JoinSet::new();
    for _ in 0..30 {
        let (client, target) = (client.clone(), target.clone());
        tasks.spawn(async move { client.send(&target, get("/together")).await.unwrap() });
    }
    tokio::time::timeout(Duration::from_secs(5), tasks.join_all())
        .await
        .unwrap();
    assert_eq!(server.accepted(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_stream_limit_holds_and_connections_are_bounded() {
    let server = hello(H2).await;
    let limits = Limits {
        max_streams_per_connection: 1,
        max_shared_per_target: 3,
        ..Limits::default()
    };
    let client = plain_client(limits);
    at_once(&client, &plain(server.address, UpstreamProtocol::Http2), 50).await;
    assert!(server.accepted() <= 3, "{} connections", server.accepted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_dial_answers_everyone_who_waited_for_it() {
    // Accepts TCP but never answers the handshake.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ca = Ca::new();
    let (_keys, material) = ca.material(CLIENT_ID);
    let client = Upstreams::new(material, Limits::default());
    let mut target = mesh(silent.local_addr().unwrap(), UpstreamProtocol::Auto);
    target.connect_timeout = Duration::from_millis(200);
    let begun = std::time::Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let (client, target) = (client.clone(), target.clone());
        tasks.spawn(async move { client.send(&target, get("/")).await.unwrap_err() });
    }
    for error in tasks.join_all().await {
        assert_eq!(error.kind, UpstreamErrorKind::ConnectTimeout);
        assert!(error.request.is_some());
    }
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "{:?}",
        begun.elapsed()
    );
    assert!(client.counts().dials <= 2);
}

#[tokio::test]
async fn a_refused_connection_gives_the_request_back() {
    let address = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let client = plain_client(Limits::default());
    for protocol in [UpstreamProtocol::Http1, UpstreamProtocol::Http2] {
        let error = client
            .send(&plain(address, protocol), get("/x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Connect);
        assert_eq!(error.request.unwrap().uri(), "/x");
    }
    assert_eq!(client.counts().dial_failures, 2);
}

#[tokio::test]
async fn idle_connections_are_swept() {
    for (speaks, protocol) in [(H1, UpstreamProtocol::Http1), (H2, UpstreamProtocol::Http2)] {
        let server = hello(speaks).await;
        let limits = Limits {
            idle_timeout: Duration::from_millis(150),
            ..Limits::default()
        };
        let client = plain_client(limits);
        let target = plain(server.address, protocol);
        text(client.send(&target, get("/")).await.unwrap()).await;
        assert_eq!(server.open(), 1);
        server
            .until("the idle connection is closed", |s| s.open() == 0)
            .await;
        eventually("the client counts none", || client.counts().open == 0).await;
        eventually("the pool is gone", || {
            format!("{client:?}").contains("targets: 0")
        })
        .await;
        text(client.send(&target, get("/")).await.unwrap()).await;
    }
}

#[tokio::test]
async fn the_idle_pool_is_bounded() {
    let server = hello(H1).await;
    let client = plain_client(Limits {
        max_idle_per_target: 2,
        ..Limits::default()
    });
    at_once(&client, &plain(server.address, UpstreamProtocol::Http1), 8).await;
    server
        .until("surplus connections are closed", |s| s.open() <= 2)
        .await;
}

#[tokio::test]
async fn closing_keeps_nothing_idle() {
    let server = hello(H1).await;
    let client = plain_client(Limits::default());
    let target = plain(server.address, UpstreamProtocol::Http1);
    text(client.send(&target, get("/")).await.unwrap()).await;
    client.close_idle();
    server
        .until("the idle connection is closed", |s| s.open() == 0)
        .await;
    text(client.send(&target, get("/")).await.unwrap()).await;
    server
        .until("the new one is not kept", |s| s.open() == 0)
        .await;
}
