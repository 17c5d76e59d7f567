//! A body that tells how it ended, exactly once: when it ends, breaks or is dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// The whole body was read.
    Complete,
    /// The body itself failed.
    Failed,
    /// The reader went away before the end.
    Dropped,
}

/// What is known when a body is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyReport<E> {
    /// Bytes read.
    pub bytes: u64,
    /// `grpc-status` of the trailers.
    pub grpc_status: Option<u16>,
    /// How it ended.
    pub end: BodyEnd,
    /// What [`Observed::new`]'s `judge` made of the error.
    pub error: Option<E>,
}

/// Wraps a body; `done` is called with the [`BodyReport`] when it is over.
pub struct Observed<B: Body, E, F: FnOnce(BodyReport<E>)> {
    inner: B,
    bytes: u64,
    grpc_status: Option<u16>,
    judge: fn(&B::Error) -> E,
    done: Option<F>,
}

impl<B: Body + std::fmt::Debug, E, F: FnOnce(BodyReport<E>)> std::fmt::Debug for Observed<B, E, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes>, E, F: FnOnce(BodyReport<E>)> Observed<B, E, F> {
    /// Watches `inner`. A body that has ended already is reported at once.
    pub fn new(inner: B, judge: fn(&B::Error) -> E, done: F) -> Self {
        let ended = inner.is_end_stream();
        let mut body = Self {
            inner,
            bytes: 0,
            grpc_status: None,
            judge,
            done: Some(done),
        };
        if ended {
            body.report(BodyEnd::Complete, None);
        }
        body
    }

    fn report(&mut self, end: BodyEnd, error: Option<E>) {
        if let Some(done) = self.done.take() {
            done(BodyReport {
                bytes: self.bytes,
                grpc_status: self.grpc_status,
                end,
                error,
            });
        }
    }
}

/// The `grpc-status` of response headers or trailers.
pub fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl<B: Body<Data = Bytes> + Unpin, E, F: FnOnce(BodyReport<E>) + Unpin> Body
    for Observed<B, E, F>
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => this.report(BodyEnd::Complete, None),
            Poll::Ready(Some(Err(error))) => {
                let error = (this.judge)(error);
                this.report(BodyEnd::Failed, Some(error));
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.bytes += u64::try_from(data.remaining()).unwrap_or(u64::MAX);
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.grpc_status = grpc_status(trailers);
                }
                if this.inner.is_end_stream() {
                    this.report(BodyEnd::Complete, None);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body, E, F: FnOnce(BodyReport<E>)> Drop for Observed<B, E, F> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(BodyReport {
                bytes: self.bytes,
                grpc_status: self.grpc_status,
                end: BodyEnd::Dropped,
                error: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use parking_lot::Mutex;

    use super::*;
    use crate::testing::{TestBody, data, empty, fed};

    type Seen = Arc<Mutex<Vec<BodyReport<String>>>>;

    fn watched(
        body: TestBody,
    ) -> (
        Seen,
        impl Body<Data = Bytes, Error = crate::BoxError> + Unpin,
    ) {
        let seen = Seen::default();
        let reports = Arc::clone(&seen);
        let judge = |error: &crate::BoxError| error.to_string();
        (
            seen,
            Observed::new(body, judge, move |report| reports.lock().push(report)),
        )
    }

    #[tokio::test]
    async fn a_body_is_reported_once_however_it_ends() {
        let (seen, body) = watched(empty());
        drop(body);
        assert_eq!(seen.lock()[..], [report(0, None, BodyEnd::Complete, None)]);

        let (feeder, inner) = fed();
        let (seen, body) = watched(inner);
        tokio::spawn(async move {
            feeder.send(data("four")).await.unwrap();
            let trailers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("5"),
            )]);
            feeder.send(Ok(Frame::trailers(trailers))).await.unwrap();
        });
        body.collect().await.unwrap();
        assert_eq!(
            seen.lock()[..],
            [report(4, Some(5), BodyEnd::Complete, None)]
        );

        let (feeder, inner) = fed();
        let (seen, mut body) = watched(inner);
        feeder.send(Err("broken".into())).await.unwrap();
        body.frame().await.unwrap().unwrap_err();
        drop(body);
        assert_eq!(
            seen.lock()[..],
            [report(0, None, BodyEnd::Failed, Some("broken"))]
        );

        let (_feeder, inner) = fed();
        let (seen, body) = watched(inner);
        drop(body);
        assert_eq!(seen.lock()[..], [report(0, None, BodyEnd::Dropped, None)]);
    }

    fn report(
        bytes: u64,
        grpc_status: Option<u16>,
        end: BodyEnd,
        error: Option<&str>,
    ) -> BodyReport<String> {
        BodyReport {
            bytes,
            grpc_status,
            end,
            error: error.map(str::to_owned),
        }
    }
}
