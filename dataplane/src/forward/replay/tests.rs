//! Every try has the whole body as far as it is kept, however it arrives.

use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use proptest::prelude::*;

use super::*;
use crate::testing::{TestBody, data, empty, fed, full};

/// Reads frames until so many bytes came, or the end.
async fn read(body: &mut Replay<TestBody>, most: usize) -> Result<String, ReplayError> {
    let mut text = Vec::new();
    while text.len() < most {
        match body.frame().await {
            None => break,
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    text.extend_from_slice(&data);
                }
            }
        }
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_body_is_sent_as_often_as_wanted() {
    let mut body = Original::new(full("body"), Some(64));
    for _ in 0..5 {
        assert!(body.is_whole());
        let mut try_ = body.next().unwrap();
        assert_eq!(try_.size_hint().exact(), Some(4));
        assert_eq!(read(&mut try_, 100).await.unwrap(), "body");
        assert!(try_.is_end_stream());
    }
    assert_eq!(body.moved().so_far(), 20);
}

/// The first try does not wait for the whole body, and the second goes on where the first was.
#[tokio::test]
async fn it_streams_on_as_it_comes() {
    let (feeder, source) = fed();
    let mut body = Original::new(source, Some(64));
    let mut first = body.next().unwrap();
    feeder.send(data("one ")).await.unwrap();
    assert_eq!(read(&mut first, 4).await.unwrap(), "one ");
    let mut second = body.next().unwrap();
    feeder.send(data("two ")).await.unwrap();
    assert_eq!(read(&mut second, 8).await.unwrap(), "one two ");
    let mut trailers = HeaderMap::new();
    trailers.insert(
        HeaderName::from_static("x-sum"),
        HeaderValue::from_static("7"),
    );
    feeder
        .send(Ok(Frame::trailers(trailers.clone())))
        .await
        .unwrap();
    drop(feeder);
    let mut again = body.next().unwrap();
    let read = again.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(read, "one two ");
    let last = again.frame().await.unwrap().unwrap();
    assert_eq!(last.trailers_ref(), Some(&trailers));
    assert!(again.is_end_stream() && again.frame().await.is_none());
    let all = body.next().unwrap().collect().await.unwrap();
    assert_eq!(all.trailers(), Some(&trailers));
    assert_eq!(all.to_bytes(), "one two ");
}

/// A try that was given up breaks off, also while it waits for the client.
#[tokio::test]
async fn an_earlier_try_ends() {
    let (_feeder, source) = fed();
    let mut body = Original::new(source, Some(64));
    let mut first = body.next().unwrap();
    let waiting = tokio::spawn(async move { first.frame().await });
    tokio::task::yield_now().await;
    let second = body.next().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert!(matches!(
        ended.unwrap().unwrap(),
        Some(Err(ReplayError::GivenUp))
    ));
    assert!(!second.is_end_stream());
}

#[tokio::test]
async fn what_is_too_long_is_sent_once() {
    // Known beforehand.
    let mut long = Original::new(full("12345"), Some(4));
    assert!(matches!(long.source, Source::Once(_)));
    assert_eq!(read(&mut long.next().unwrap(), 9).await.unwrap(), "12345");
    assert!(!long.is_whole() && long.next().is_none());
    // Seen on the way: the try goes on, but there is no other.
    let (feeder, source) = fed();
    let mut body = Original::new(source, Some(4));
    let mut first = body.next().unwrap();
    for piece in ["123", "45", "6"] {
        feeder.send(data(piece)).await.unwrap();
        assert_eq!(read(&mut first, 1).await.unwrap(), piece);
        assert_eq!(body.is_whole(), piece == "123");
    }
    assert!(body.next().is_none());
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_is_repeated() {
    let mut once = Original::new(full("x"), None);
    let taken = once.next().unwrap();
    assert!(!once.is_whole());
    once.unsent(taken);
    assert!(once.is_whole());
    let mut none = Original::new(empty(), None);
    for _ in 0..3 {
        assert!(none.is_whole() && none.next().unwrap().is_end_stream());
    }
}

#[tokio::test]
async fn what_is_released_still_arrives() {
    let (feeder, source) = fed();
    let mut body = Original::new(source, Some(64));
    let mut first = body.next().unwrap();
    feeder.send(data("one ")).await.unwrap();
    assert_eq!(read(&mut first, 4).await.unwrap(), "one ");
    let mut second = body.next().unwrap();
    body.release();
    assert!(!body.is_whole() && body.next().is_none());
    feeder.send(data("two")).await.unwrap();
    drop(feeder);
    assert_eq!(read(&mut second, 99).await.unwrap(), "one two");
    assert!(second.is_end_stream());
}

#[tokio::test]
async fn a_client_that_breaks_off_is_not_repeated() {
    let (feeder, source) = fed();
    let mut body = Original::new(source, Some(64));
    let mut first = body.next().unwrap();
    feeder.send(Err("gone".into())).await.unwrap();
    assert!(matches!(
        first.frame().await,
        Some(Err(ReplayError::Body(_)))
    ));
    assert!(!body.is_whole() && body.next().is_none());
}

/// A body of these pieces that is always ready.
struct Pieces(std::collections::VecDeque<Vec<u8>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = self.0.pop_front();
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece.into()))))
    }
}

proptest! {
    /// However often and wherever tries are cut, the last has every byte in order, as long as the body fits.
    #[test]
    fn every_try_has_the_whole(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..12),
        cuts in prop::collection::vec(0_usize..14, 0..6),
        most in 1_usize..300,
    ) {
        let whole: Vec<u8> = pieces.concat();
        let mut body = Original::new(Pieces(pieces.into()), Some(most));
        let mut cx = Context::from_waker(Waker::noop());
        for cut in cuts {
            let Some(mut try_) = body.next() else { break };
            for _ in 0..cut {
                if let Poll::Ready(None) = Pin::new(&mut try_).poll_frame(&mut cx) {
                    break;
                }
            }
        }
        match body.next() {
            None => prop_assert!(whole.len() > most),
            Some(mut last) => {
                let mut read = Vec::new();
                while let Poll::Ready(Some(frame)) = Pin::new(&mut last).poll_frame(&mut cx) {
                    read.extend_from_slice(frame.unwrap().data_ref().unwrap());
                }
                prop_assert_eq!(read, whole);
            }
        }
    }
}
