//! Connections that die, exchanges that are given up, upgrades.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{BOTH, plain};
use crate::testing::{
    H1, Server, Speaks, data, empty, eventually, fed, full, get, plain_client, post, serve, text,
};
use crate::upstream::{Limits, UpstreamErrorKind, UpstreamProtocol};

#[tokio::test]
async fn a_connection_that_the_peer_closed_is_not_used_again() {
    for (speaks, protocol) in BOTH {
        let server = serve(speaks, None, |_| async { Response::new(full("hello")) }).await;
        let client = plain_client(Limits::default());
        let target = plain(server.address, protocol);
        for round in 1..=20 {
            // A POST with a body: what was not sent may be sent again, whatever it is.
            let request = post("/", full("body"));
            assert_eq!(
                text(client.send(&target, request).await.unwrap()).await,
                "hello"
            );
            assert_eq!(server.accepted(), round);
            server.drain_connections();
            server.until("the connection ends", |s| s.open() == 0).await;
        }
    }
}

/// A peer that answers once and closes without saying so: the next request finds a dead connection.
#[tokio::test]
async fn a_silently_closed_connection_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(listener.local_addr().unwrap(), UpstreamProtocol::Http1);
    tokio::spawn(async move {
        loop {
            let (mut io, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 1024];
                assert_ne!(io.read(&mut head).await.unwrap(), 0);
                io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            });
        }
    });
    let client = plain_client(Limits::default());
    for _ in 0..20 {
        assert_eq!(
            text(client.send(&target, get("/")).await.unwrap()).await,
            "ok"
        );
        // The end of the connection arrives a moment after the response.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_reset_before_the_response_does_not_give_the_request_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(listener.local_addr().unwrap(), UpstreamProtocol::Http1);
    tokio::spawn(async move {
        loop {
            let (mut io, _) = listener.accept().await.unwrap();
            assert_ne!(io.read(&mut [0; 1024]).await.unwrap(), 0);
        }
    });
    let client = plain_client(Limits::default());
    let error = client.send(&target, get("/")).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Reset, "{error}");
    assert!(error.request.is_none());
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(listener.local_addr().unwrap(), UpstreamProtocol::Http1);
    tokio::spawn(async move {
        loop {
            let (mut io, _) = listener.accept().await.unwrap();
            assert_ne!(io.read(&mut [0; 1024]).await.unwrap(), 0);
            io.write_all(b"220 smtp.example ESMTP\r\n").await.unwrap();
        }
    });
    let client = plain_client(Limits::default());
    let error = client.send(&target, get("/")).await.unwrap_err();
    assert_eq!(error.kind, UpstreamErrorKind::Protocol, "{error}");
}

/// Counts the handlers that were dropped before they answered.
struct Unanswered(Option<Arc<AtomicUsize>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A server whose `/hang` never answers.
async fn hanging(speaks: Speaks) -> (Server, Arc<AtomicUsize>) {
    let gone = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&gone);
    let server = serve(speaks, None, move |request| {
        let mut unanswered = Unanswered(Some(Arc::clone(&counter)));
        async move {
            if request.uri().path() == "/hang" {
                std::future::pending::<()>().await;
            }
            drop(unanswered.0.take());
            Response::new(full("hello"))
        }
    })
    .await;
    (server, gone)
}

#[tokio::test]
async fn giving_up_before_the_response_cancels_only_this_exchange() {
    for (speaks, protocol) in BOTH {
        let (server, gone) = hanging(speaks).await;
        let client = plain_client(Limits::default());
        let target = plain(server.address, protocol);
        let neighbour = client.send(&target, get("/")).await.unwrap();
        let hang = client.send(&target, get("/hang"));
        tokio::time::timeout(Duration::from_millis(100), hang)
            .await
            .unwrap_err();
        eventually("the server's handler is dropped", || {
            gone.load(Ordering::SeqCst) == 1
        })
        .await;
        assert_eq!(text(neighbour).await, "hello");
        assert_eq!(
            text(client.send(&target, get("/")).await.unwrap()).await,
            "hello"
        );
        if protocol == UpstreamProtocol::Http2 {
            assert_eq!(server.accepted(), 1);
        }
    }
}

#[tokio::test]
async fn giving_up_within_the_response_cancels_it() {
    for (speaks, protocol) in BOTH {
        let (feeder, body) = fed();
        let body = Arc::new(parking_lot::Mutex::new(Some(body)));
        let server = serve(speaks, None, move |_| {
            let body = body.lock().take().unwrap();
            async move { Response::new(body) }
        })
        .await;
        let client = plain_client(Limits::default());
        let response = client
            .send(&plain(server.address, protocol), get("/"))
            .await
            .unwrap();
        feeder.send(data("first")).await.unwrap();
        drop(response);
        eventually("the server's body is dropped", || feeder.is_closed()).await;
    }
}

#[tokio::test]
async fn an_answer_before_the_uploads_end_ends_the_upload() {
    for (speaks, protocol) in BOTH {
        let server = serve(speaks, None, |request| async move {
            tokio::spawn(async move { request.into_body().collect().await.ok() });
            Response::new(full("early"))
        })
        .await;
        let client = plain_client(Limits::default());
        let (feeder, body) = fed();
        feeder.send(data("a beginning")).await.unwrap();
        let target = plain(server.address, protocol);
        let response = client.send(&target, post("/", body)).await.unwrap();
        // The answer is complete, the upload never will be: nobody may wait for it.
        assert_eq!(text(response).await, "early");
        eventually("the upload is dropped", || feeder.is_closed()).await;
    }
}

#[tokio::test]
async fn a_failed_upload_is_the_clients_fault_and_never_a_clean_end() {
    for (speaks, protocol) in BOTH {
        let (told, mut ends) = tokio::sync::mpsc::channel(1);
        let server = serve(speaks, None, move |request| {
            let told = told.clone();
            async move {
                let whole = request.into_body().collect().await;
                told.send(whole.is_ok()).await.unwrap();
                Response::new(full(""))
            }
        })
        .await;
        let client = plain_client(Limits::default());
        let (feeder, body) = fed();
        let target = plain(server.address, protocol);
        let sending = tokio::spawn(async move { client.send(&target, post("/", body)).await });
        feeder.send(data("half of")).await.unwrap();
        feeder
            .send(Err("the client went away".into()))
            .await
            .unwrap();
        let error = sending.await.unwrap().unwrap_err();
        assert_eq!(error.kind, UpstreamErrorKind::Upload, "{error}");
        assert_eq!(ends.recv().await, Some(false));
    }
}

#[tokio::test]
async fn upgrades_take_their_connection_away() {
    let server = serve(H1, None, |mut request| async move {
        if request.headers().get("upgrade").is_none() {
            return Response::new(full("plain"));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.unwrap());
            let mut bytes = [0; 5];
            io.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            io.write_all(&bytes).await.unwrap();
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .body(empty())
            .unwrap()
    })
    .await;
    let client = plain_client(Limits::default());
    let target = plain(server.address, UpstreamProtocol::Auto).http1();
    for round in 1..=2 {
        let request = Request::get("/ws")
            .header("host", "chat")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .body(empty())
            .unwrap();
        let mut response = client.send(&target, request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        drop(response);
        io.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        io.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"olleh");
        assert_eq!(server.accepted(), round);
    }
    assert_eq!(
        text(client.send(&target, get("/")).await.unwrap()).await,
        "plain"
    );
}
