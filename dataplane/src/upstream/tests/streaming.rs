//! Bodies in motion: trailers, both directions at once, back pressure.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{BOTH, plain};
use crate::testing::{H2, TestBody, data, empty, fed, full, plain_client, post, serve, text};
use crate::upstream::{Limits, UpstreamProtocol};

#[tokio::test]
async fn trailers_travel_both_ways_over_http2() {
    let server = serve(H2, None, |request| async move {
        let collected = request.into_body().collect().await.unwrap();
        let echoed = collected.trailers().cloned().unwrap();
        let (feeder, body) = fed();
        tokio::spawn(async move {
            feeder.send(data("answer")).await.unwrap();
            feeder.send(Ok(Frame::trailers(echoed))).await.unwrap();
        });
        Response::new(body)
    })
    .await;
    let client = plain_client(Limits::default());
    let (feeder, body) = fed();
    let name = HeaderName::from_static("grpc-status");
    let trailers = HeaderMap::from_iter([(name, HeaderValue::from_static("0"))]);
    tokio::spawn({
        let trailers = trailers.clone();
        async move {
            feeder.send(data("question")).await.unwrap();
            feeder.send(Ok(Frame::trailers(trailers))).await.unwrap();
        }
    });
    let target = plain(server.address, UpstreamProtocol::Http2);
    let response = client.send(&target, post("/", body)).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "answer");
}

#[tokio::test]
async fn both_directions_stream_at_once() {
    for (speaks, protocol) in BOTH {
        let server = serve(speaks, None, |request| async move {
            Response::new(TestBody::new(request.into_body()))
        })
        .await;
        let client = plain_client(Limits::default());
        let (feeder, body) = fed();
        let target = plain(server.address, protocol);
        let response = client.send(&target, post("/echo", body)).await.unwrap();
        let mut echo = response.into_body();
        for word in ["ping", "pong", "ping"] {
            feeder.send(data(word)).await.unwrap();
            let frame = echo.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), word);
        }
        assert_eq!(echo.upload().unwrap().bytes(), 12);
        drop(feeder);
        assert!(echo.frame().await.is_none(), "no empty frame either");
        // The exchange is complete: its connection serves the next one.
        let again = client
            .send(&target, post("/echo", full("again")))
            .await
            .unwrap();
        assert_eq!(text(again).await, "again");
        assert_eq!(server.accepted(), 1);
    }
}

/// h2 ends a connection that has received more than a hundred empty DATA frames.
#[tokio::test]
async fn empty_frames_are_not_passed_on() {
    for (speaks, protocol) in BOTH {
        let server = serve(speaks, None, |request| async move {
            let (feeder, body) = fed();
            let mut came = request.into_body();
            tokio::spawn(async move {
                while let Some(Ok(frame)) = came.frame().await {
                    feeder.send(Ok(frame)).await.unwrap();
                    // Fewer than a hundred altogether: this client is an HTTP/2 peer as well.
                    feeder.send(data("")).await.unwrap();
                }
            });
            Response::new(body)
        })
        .await;
        let client = plain_client(Limits::default());
        let target = plain(server.address, protocol);
        let (feeder, body) = fed();
        let sending = tokio::spawn(async move {
            for _ in 0..40 {
                for _ in 0..10 {
                    feeder.send(data("")).await.unwrap();
                }
                feeder.send(data("some")).await.unwrap();
            }
        });
        let response = client.send(&target, post("/", body)).await.unwrap();
        assert_eq!(text(response).await, "some".repeat(40));
        sending.await.unwrap();
        assert_eq!(server.accepted(), 1);
    }
}

const CHUNK: usize = 64 * 1024;

/// An upstream that does not read stops the upload when its windows and socket buffers are full.
#[tokio::test]
async fn a_slow_reader_stops_the_upload() {
    const TOTAL: usize = 64 * 1024 * 1024;
    for (speaks, protocol) in BOTH {
        let server = serve(speaks, None, |request| async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let bytes = request
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len();
            Response::new(full(bytes.to_string()))
        })
        .await;
        let client = plain_client(Limits::default());
        let (feeder, body) = fed();
        let target = plain(server.address, protocol);
        let sending = tokio::spawn(async move { client.send(&target, post("/", body)).await });
        let chunk = Bytes::from(vec![b'x'; CHUNK]);
        let feeding = tokio::spawn(async move {
            let mut stalled_at = None;
            for sent in (0..TOTAL).step_by(CHUNK) {
                if timeout(Duration::from_millis(100), feeder.reserve())
                    .await
                    .is_err()
                {
                    stalled_at.get_or_insert(sent);
                }
                feeder.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
            }
            stalled_at
        });
        let stalled_at = feeding
            .await
            .unwrap()
            .expect("the upload never had to wait");
        assert!(
            stalled_at < 16 * 1024 * 1024,
            "{stalled_at} bytes were taken without a reader"
        );
        let response = sending.await.unwrap().unwrap();
        assert_eq!(text(response).await, TOTAL.to_string());
    }
}

/// A client that does not read stops the download.
#[tokio::test]
async fn a_slow_client_stops_the_download() {
    for (speaks, protocol) in BOTH {
        let (feeder, body) = fed();
        let body = Arc::new(parking_lot::Mutex::new(Some(body)));
        let server = serve(speaks, None, move |_| {
            let body = body.lock().take().unwrap();
            async move { Response::new(body) }
        })
        .await;
        let client = plain_client(Limits::default());
        let target = plain(server.address, protocol);
        let response = client.send(&target, post("/", empty())).await.unwrap();
        let chunk = Bytes::from(vec![b'x'; CHUNK]);
        let mut sent = 0;
        while let Ok(permit) = timeout(Duration::from_millis(300), feeder.reserve()).await {
            permit.unwrap().send(Ok(Frame::data(chunk.clone())));
            sent += CHUNK;
            assert!(sent < 32 * 1024 * 1024, "the download is not held back");
        }
        let reading = tokio::spawn(async move { text(response).await.len() });
        drop(feeder);
        assert_eq!(reading.await.unwrap(), sent);
    }
}
