//! Who is accepted, what is agreed by ALPN, and rotation under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Response, Version};
use tokio::task::JoinSet;

use super::{SOON, mesh};
use crate::testing::{CLIENT_ID, Ca, H1, H2, SERVER_ID, full, get, id, serve, text};
use crate::upstream::{Expected, Limits, Target, UpstreamErrorKind, UpstreamProtocol, Upstreams};

const MALLORY: &str = "spiffe://cluster.local/ns/my-app/sa/mallory";

#[tokio::test]
async fn alpn_decides() {
    let ca = Ca::new();
    let (_server_keys, server_material) = ca.material(SERVER_ID);
    let (_client_keys, client_material) = ca.material(CLIENT_ID);
    let client = Upstreams::new(client_material, Limits::default());
    for (speaks, protocol, spoken) in [
        (H2, UpstreamProtocol::Auto, Version::HTTP_2),
        (H1, UpstreamProtocol::Auto, Version::HTTP_11),
        (H2, UpstreamProtocol::Http1, Version::HTTP_11),
        (H2, UpstreamProtocol::Http2, Version::HTTP_2),
    ] {
        let server = serve(
            speaks,
            Some(server_material.clone()),
            |request| async move {
                let host = request
                    .headers()
                    .get("host")
                    .map(|h| h.to_str().unwrap().to_owned());
                let host = host
                    .or_else(|| Some(request.uri().authority()?.to_string()))
                    .unwrap();
                Response::new(full(format!("{host} {}", request.uri().path())))
            },
        )
        .await;
        for _ in 0..2 {
            let target = mesh(server.address, protocol);
            let response = client.send(&target, get("/p?q")).await.unwrap();
            assert_eq!(response.version(), spoken);
            assert_eq!(text(response).await, "product-service /p");
        }
        assert_eq!(server.accepted(), 1);
    }
    let server = serve(H1, Some(server_material), |_| async {
        Response::new(full(""))
    })
    .await;
    let target = mesh(server.address, UpstreamProtocol::Http2);
    let error = client.send(&target, get("/")).await.unwrap_err();
    // This server refuses the handshake; others go on without ALPN.
    assert!(
        matches!(
            error.kind,
            UpstreamErrorKind::Tls | UpstreamErrorKind::Protocol
        ),
        "{error}"
    );
}

#[tokio::test]
async fn the_wrong_identity_is_an_error_of_its_own() {
    let ca = Ca::new();
    let (_server_keys, server_material) = ca.material(MALLORY);
    let (_client_keys, client_material) = ca.material(CLIENT_ID);
    let server = serve(H2, Some(server_material), |_| async {
        Response::new(full(""))
    })
    .await;
    let client = Upstreams::new(client_material, Limits::default());
    for protocol in [
        UpstreamProtocol::Auto,
        UpstreamProtocol::Http1,
        UpstreamProtocol::Http2,
    ] {
        let error = client
            .send(&mesh(server.address, protocol), get("/"))
            .await
            .unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Identity, "{error}");
        assert!(error.cause.contains("mallory"), "{error}");
        assert!(error.request.is_some());
    }
    let nobody = Expected::any_of(Vec::new());
    let target = Target::mesh(server.address, nobody, UpstreamProtocol::Auto, SOON);
    let error = client.send(&target, get("/")).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Identity);
    let either = Expected::any_of([id(SERVER_ID), id(MALLORY)]);
    let target = Target::mesh(server.address, either, UpstreamProtocol::Auto, SOON);
    assert_eq!(client.send(&target, get("/")).await.unwrap().status(), 200);
    // The connection that passed for `either` does not serve those who expect somebody else.
    let target = mesh(server.address, UpstreamProtocol::Auto);
    let error = client.send(&target, get("/")).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Identity);
}

#[tokio::test]
async fn a_foreign_authority_is_refused() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (_server_keys, server_material) = theirs.material(SERVER_ID);
    let (_client_keys, client_material) = ours.material(CLIENT_ID);
    let server = serve(H2, Some(server_material), |_| async {
        Response::new(full(""))
    })
    .await;
    let client = Upstreams::new(client_material, Limits::default());
    let target = mesh(server.address, UpstreamProtocol::Auto);
    let error = client.send(&target, get("/")).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Identity, "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_our_certificate_is_a_tls_failure() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    // A server of our domain that trusts only the other root.
    let (mut keys, server_material) = ours.material(SERVER_ID);
    keys.publish_bundle(Arc::clone(&theirs.bundle)).unwrap();
    let (_client_keys, client_material) = ours.material(CLIENT_ID);
    for speaks in [H1, H2] {
        let material = server_material.clone();
        let server = serve(speaks, Some(material), |_| async {
            Response::new(full(""))
        })
        .await;
        let client = Upstreams::new(client_material.clone(), Limits::default());
        let target = mesh(server.address, UpstreamProtocol::Auto);
        let error = client.send(&target, get("/")).await.unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Tls, "{error}");
    }
}

#[tokio::test]
async fn without_material_nothing_is_dialled() {
    let (_keys, material) = identity::material::channel();
    let client = Upstreams::new(material, Limits::default());
    let target = mesh("127.0.0.1:1".parse().unwrap(), UpstreamProtocol::Auto);
    let error = client.send(&target, get("/")).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::NoIdentity);
    assert_eq!(client.counts().dials, 0);
}

/// New certificates every 50 ms under constant load: connections change, requests do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_re_keys_without_failing_a_request() {
    for speaks in [H1, H2] {
        let ca = Ca::new();
        let (mut server_keys, server_material) = ca.material(SERVER_ID);
        let (mut client_keys, client_material) = ca.material(CLIENT_ID);
        let server = serve(speaks, Some(server_material), |_| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Response::new(full("hello"))
        })
        .await;
        let client = Upstreams::new(client_material, Limits::default());
        let target = mesh(server.address, UpstreamProtocol::Auto);
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let mut load = JoinSet::new();
        for _ in 0..8 {
            let (client, target) = (client.clone(), target.clone());
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            load.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let response = client.send(&target, get("/")).await.unwrap();
                    assert_eq!(text(response).await, "hello");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ca.renew(&mut client_keys, CLIENT_ID);
            ca.renew(&mut server_keys, SERVER_ID);
        }
        stop.store(true, Ordering::Relaxed);
        load.join_all().await;
        assert!(served.load(Ordering::Relaxed) > 100);
        assert!(server.accepted() >= 8, "{} connections", server.accepted());
        // Idle connections of old generations are gone at once.
        let last = server.accepted();
        ca.renew(&mut client_keys, CLIENT_ID);
        server
            .until("old connections close", |s| s.open() == 0)
            .await;
        assert_eq!(server.accepted(), last);
    }
}

/// What is in flight when the material changes ends on its old connection.
#[tokio::test]
async fn exchanges_in_flight_outlive_their_generation() {
    let ca = Ca::new();
    let (_server_keys, server_material) = ca.material(SERVER_ID);
    let (mut client_keys, client_material) = ca.material(CLIENT_ID);
    let server = serve(H2, Some(server_material), |request| async move {
        if request.uri().path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Response::new(full("hello"))
    })
    .await;
    let client = Upstreams::new(client_material, Limits::default());
    let target = mesh(server.address, UpstreamProtocol::Auto);
    let slow = tokio::spawn({
        let (client, target) = (client.clone(), target.clone());
        async move { text(client.send(&target, get("/slow")).await.unwrap()).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    ca.renew(&mut client_keys, CLIENT_ID);
    assert_eq!(
        text(client.send(&target, get("/")).await.unwrap()).await,
        "hello"
    );
    assert_eq!(server.accepted(), 2);
    assert_eq!(slow.await.unwrap(), "hello");
    server
        .until("the old connection closes", |s| s.open() == 1)
        .await;
}
