//! The limits of a cluster's connections.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use policies::cluster::PoolSettings;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{BOTH, plain};
use crate::testing::{
    Client, H1, H2, Server, Speaks, eventually, full, get, plain_client, serve, text,
};
use crate::upstream::{ClusterConnections, Limits, Target, UpstreamErrorKind, UpstreamProtocol};

/// A server whose answers wait for permits.
async fn gated(speaks: Speaks) -> (Server, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let server = serve(speaks, None, move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new(full("hello"))
        }
    })
    .await;
    (server, open)
}

fn limited(server: &Server, protocol: UpstreamProtocol, settings: PoolSettings) -> Target {
    Target {
        connections: ClusterConnections::new(settings),
        ..plain(server.address, protocol)
    }
}

async fn hello(client: &Client, target: &Target) {
    let answer = client.send(target, get("/")).await.unwrap();
    assert_eq!(text(answer).await, "hello");
}

#[tokio::test]
async fn one_is_served_one_waits_and_the_third_is_refused_at_once() {
    for (speaks, protocol) in BOTH {
        let (server, gate) = gated(speaks).await;
        let client = plain_client(Limits::default());
        let settings = PoolSettings {
            max_connections: Some(1),
            max_pending: Some(1),
            max_concurrent_streams: Some(1),
            ..PoolSettings::default()
        };
        let target = limited(&server, protocol, settings);
        let send = || {
            let (client, target) = (client.clone(), target.clone());
            tokio::spawn(async move { hello(&client, &target).await })
        };
        let first = send();
        let status = || target.connections.status();
        eventually("the first has its connection", || {
            server.accepted() == 1 && status().pending == 0
        })
        .await;
        let second = send();
        eventually("the second waits", || status().pending == 1).await;
        let error = client.send(&target, get("/third")).await.unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Overflow);
        assert_eq!(error.request.unwrap().uri(), "/third");
        gate.add_permits(2);
        first.await.unwrap();
        second.await.unwrap();
        let status = status();
        assert_eq!(
            (status.overflowed, status.delayed, status.pending),
            (1, 1, 0)
        );
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_waits_is_served() {
    for (speaks, protocol) in BOTH {
        let (server, gate) = gated(speaks).await;
        gate.add_permits(1000);
        let client = plain_client(Limits::default());
        let settings = PoolSettings {
            max_connections: Some(2),
            max_concurrent_streams: Some(3),
            ..PoolSettings::default()
        };
        let target = limited(&server, protocol, settings);
        let mut tasks = JoinSet::new();
        for _ in 0..200 {
            let (client, target) = (client.clone(), target.clone());
            tasks.spawn(async move { hello(&client, &target).await });
        }
        let all = tokio::time::timeout(Duration::from_secs(30), tasks.join_all());
        all.await.expect("nobody is forgotten");
        assert!(server.accepted() <= 2, "{} connections", server.accepted());
        assert_eq!(target.connections.status().pending, 0);
    }
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_turn_to_the_next() {
    let (server, gate) = gated(H1).await;
    let client = plain_client(Limits::default());
    let settings = PoolSettings {
        max_connections: Some(1),
        ..PoolSettings::default()
    };
    let target = limited(&server, UpstreamProtocol::Http1, settings);
    let send = || {
        let (client, target) = (client.clone(), target.clone());
        tokio::spawn(async move { hello(&client, &target).await })
    };
    let first = send();
    eventually("it is served", || server.accepted() == 1).await;
    let gives_up = send();
    eventually("it waits", || target.connections.status().pending == 1).await;
    let last = send();
    eventually("both wait", || target.connections.status().pending == 2).await;
    gives_up.abort();
    gate.add_permits(2);
    first.await.unwrap();
    last.await.unwrap();
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_connection_serves_as_many_requests_as_it_may() {
    for (speaks, protocol) in BOTH {
        let (server, gate) = gated(speaks).await;
        gate.add_permits(5);
        let client = plain_client(Limits::default());
        let settings = PoolSettings {
            max_requests_per_connection: Some(2),
            ..PoolSettings::default()
        };
        let target = limited(&server, protocol, settings);
        for request in 1..=5_usize {
            hello(&client, &target).await;
            assert_eq!(server.accepted(), request.div_ceil(2));
        }
        server
            .until("spent connections close", |s| s.open() <= 1)
            .await;
    }
}

#[tokio::test]
async fn an_old_connection_takes_no_further_request() {
    for (speaks, protocol) in BOTH {
        let (server, gate) = gated(speaks).await;
        gate.add_permits(2);
        let client = plain_client(Limits::default());
        let settings = PoolSettings {
            max_connection_duration: Some(Duration::from_millis(50)),
            ..PoolSettings::default()
        };
        let target = limited(&server, protocol, settings);
        hello(&client, &target).await;
        server
            .until("it closes when it is old", |s| s.open() == 0)
            .await;
        hello(&client, &target).await;
        assert_eq!(server.accepted(), 2);
    }
}

#[tokio::test]
async fn an_idle_connection_closes_when_the_document_says() {
    let (server, gate) = gated(H2).await;
    gate.add_permits(1);
    let client = plain_client(Limits::default());
    let settings = PoolSettings {
        idle_timeout: Some(Duration::from_millis(50)),
        ..PoolSettings::default()
    };
    let target = limited(&server, UpstreamProtocol::Http2, settings);
    hello(&client, &target).await;
    server.until("it closes", |s| s.open() == 0).await;
    eventually("it is not counted", || {
        target.connections.status().connections == 0
    })
    .await;
}

#[tokio::test]
async fn an_opaque_connection_above_the_limit_is_refused() {
    let (server, _gate) = gated(H1).await;
    let client = plain_client::<crate::testing::TestBody>(Limits::default());
    let settings = PoolSettings {
        max_connections: Some(1),
        ..PoolSettings::default()
    };
    let target = limited(&server, UpstreamProtocol::Auto, settings);
    let first = client.connect(&target).await.unwrap();
    let error = client.connect(&target).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Overflow);
    drop(first);
    client.connect(&target).await.unwrap();
}

#[tokio::test]
async fn clusters_do_not_share_connections() {
    let (server, gate) = gated(H1).await;
    gate.add_permits(2);
    let client = plain_client(Limits::default());
    for clusters in 1..=2 {
        let target = limited(&server, UpstreamProtocol::Http1, PoolSettings::default());
        hello(&client, &target).await;
        assert_eq!(server.accepted(), clusters);
    }
}
