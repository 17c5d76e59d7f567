//! Chaos before the application: what a scenario does to a request that was admitted.

use std::time::Duration;

use dataplane::LocalReply;
use dataplane::chaos::{ErrorType, Strike};
use dataplane::clock;
use dataplane::telemetry::ResponseFlags;
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::answer::{self, AnswerBody};
use crate::exchange::Exchange;
use crate::proxy::Proxy;

/// Says on an answer that chaos made it, so that nobody looks for the fault in the application.
const CHAOS: HeaderName = HeaderName::from_static("x-portcullis-chaos");

/// Delays the request, and fails it, as the scenarios in force have it. `Err` is what it gets instead of the
/// application's answer.
pub(crate) async fn strike(
    proxy: &Proxy,
    mut exchange: Box<Exchange>,
) -> Result<Box<Exchange>, Response<AnswerBody>> {
    let Strike { delay, error } = proxy.chaos.strike();
    if let Some(delay) = delay {
        exchange.seen.flags |= ResponseFlags::DELAY_INJECTED;
        tokio::time::sleep(delay).await;
    }
    let Some((error, until)) = error else {
        return Ok(exchange);
    };
    exchange.note(|record| record.details = "chaos_error".into());
    let flags = ResponseFlags::FAULT_INJECTED;
    Err(match error {
        ErrorType::Status(status) => answer::local(exchange, &failed(status)),
        ErrorType::Reset => answer::reset(*exchange, flags),
        ErrorType::Abort => answer::broken_off(*exchange, flags),
        ErrorType::Timeout => {
            let left = until.since(clock::now());
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
            answer::reset(*exchange, flags)
        }
    })
}

fn failed(status: StatusCode) -> LocalReply {
    LocalReply {
        headers: vec![(CHAOS, HeaderValue::from_static("error"))],
        ..LocalReply::new(
            status,
            "failed by chaos",
            ResponseFlags::FAULT_INJECTED,
            "chaos_error",
        )
    }
}
