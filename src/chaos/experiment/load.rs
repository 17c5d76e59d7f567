//! The requests of a step: so many, so many at once, and what came back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::file::{Destination, Requests};

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measured {
    pub(super) requests: usize,
    /// The share of answers with a status of 200 to 399.
    pub(super) success_rate: f64,
    /// How many answers had each status; `none` for requests without an answer.
    pub(super) statuses: BTreeMap<String, usize>,
    pub(super) latency_ms: Latencies,
}

/// Latencies to the last byte, or to the failure, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Latencies {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// The status, if there was an answer, and how long it took.
type Answer = (Option<u16>, Duration);

impl Measured {
    /// Adds up what came back.
    pub(super) fn of(mut answers: Vec<Answer>) -> Self {
        answers.sort_by_key(|(_, took)| *took);
        let mut statuses = BTreeMap::new();
        let mut good = 0_u32;
        for (status, _) in &answers {
            let name = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
            *statuses.entry(name).or_insert(0) += 1;
            good += u32::from(status.is_some_and(|status| (200..400).contains(&status)));
        }
        let all = u32::try_from(answers.len()).unwrap_or(u32::MAX).max(1);
        // The nearest rank.
        let percentile = |percent: usize| {
            let rank = (answers.len() * percent).div_ceil(100).max(1) - 1;
            answers
                .get(rank)
                .map_or(0.0, |(_, took)| took.as_secs_f64() * 1000.0)
        };
        Self {
            requests: answers.len(),
            success_rate: f64::from(good) / f64::from(all),
            statuses,
            latency_ms: Latencies {
                p50: percentile(50),
                p90: percentile(90),
                p99: percentile(99),
                max: percentile(100),
            },
        }
    }
}

/// Sends them all.
pub(super) async fn send(at: &Destination, requests: &Requests) -> Measured {
    let left = Arc::new(AtomicUsize::new(requests.count));
    let mut workers = JoinSet::new();
    let connect: Arc<str> = at.connect.as_str().into();
    for _ in 0..requests.concurrency.min(requests.count) {
        let Some(request) = prepared(at, requests) else {
            return Measured::of(vec![(None, Duration::ZERO)]);
        };
        let (left, connect) = (Arc::clone(&left), Arc::clone(&connect));
        let limit = requests.timeout;
        workers.spawn(async move {
            let mut answers = Vec::new();
            let one_less = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
            {
                let begun = Instant::now();
                let asked = timeout(limit, ask(&connect, request.clone())).await;
                answers.push((asked.ok().flatten(), begun.elapsed()));
            }
            answers
        });
    }
    Measured::of(workers.join_all().await.into_iter().flatten().collect())
}

fn prepared(at: &Destination, requests: &Requests) -> Option<http::Request<Full<Bytes>>> {
    let mut request = http::Request::builder()
        .method(requests.method.clone())
        .uri(&at.target)
        .header(HOST, &at.connect)
        .header(CONNECTION, "close");
    for (name, value) in &requests.headers {
        // What the file says about Host holds.
        request.headers_mut()?.insert(name, value.clone());
    }
    let body = Bytes::copy_from_slice(requests.body.as_bytes());
    request.body(Full::new(body)).ok()
}

/// One request on a connection of its own; none for no answer, or half of one.
async fn ask(connect: &str, request: http::Request<Full<Bytes>>) -> Option<u16> {
    let stream = TcpStream::connect(connect).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let asked = async {
        let mut answer = sender.send_request(request).await.ok()?;
        while let Some(frame) = answer.frame().await {
            frame.ok()?;
        }
        Some(answer.status().as_u16())
    };
    let status = asked.await;
    driver.abort();
    status
}
