//! How a try ended: what the engine is told about it, and what the client gets if it was the last.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Response, header};
use policies::resilience::{Ended, Load, TryOutcome, Wish};

use super::replay::Replay;
use crate::UpstreamBody;
use crate::body::{RequestBody, grpc_status};
use crate::local_reply::LocalReply;
use crate::upstream::{UpstreamError, UpstreamErrorKind};

static RATE_LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What a try came to.
pub(super) enum Ending<B: RequestBody> {
    /// The head of a response.
    Answer(Response<UpstreamBody<Replay<B>>>),
    /// No response, and why.
    Failure(UpstreamError<Replay<B>>),
    /// `perTryTimeout` passed.
    PerTryTimeout,
    /// The request's deadline passed.
    Deadline,
    /// Nothing moved for too long.
    Idle,
}

impl<B: RequestBody> Ending<B> {
    /// What the engine is told. `replayable`: the request can be sent whole once more.
    pub(super) fn told(&self, replayable: bool) -> Ended {
        let ended = Ended {
            replayable,
            ..Ended::new(self.outcome())
        };
        match self {
            Self::Answer(response) => Ended {
                rate_limited: response.headers().contains_key(&RATE_LIMITED),
                wish: wish(response.headers(), SystemTime::now()),
                ..ended
            },
            Self::Failure(error) => Ended {
                reused: error.reused,
                ..ended
            },
            Self::PerTryTimeout | Self::Deadline | Self::Idle => ended,
        }
    }

    /// What a retry after it puts upon the destination.
    pub(super) fn load(&self) -> Load {
        match self.outcome() {
            TryOutcome::ConnectFailure => Load::First,
            _ => Load::Another,
        }
    }

    /// What the client gets.
    pub(super) fn result(self) -> Result<Response<UpstreamBody<Replay<B>>>, LocalReply> {
        match self {
            Self::Answer(response) => Ok(response),
            Self::Failure(error) => Err(LocalReply::upstream(error.kind)),
            Self::PerTryTimeout => Err(LocalReply::try_timeout()),
            Self::Deadline => Err(LocalReply::timeout()),
            Self::Idle => Err(LocalReply::idle()),
        }
    }

    fn outcome(&self) -> TryOutcome {
        match self {
            Self::Answer(response) => TryOutcome::Answered {
                status: response.status().as_u16(),
                grpc: grpc_status(response.headers()),
            },
            Self::Failure(error) => outcome_of(error.kind, error.request.is_none()),
            Self::PerTryTimeout => TryOutcome::PerTryTimeout,
            Self::Deadline | Self::Idle => TryOutcome::DeadlineExceeded,
        }
    }
}

/// What a failure says about the endpoint; `sent`: it may have got something.
const fn outcome_of(kind: UpstreamErrorKind, sent: bool) -> TryOutcome {
    use UpstreamErrorKind as Kind;
    match kind {
        Kind::Resolve | Kind::Connect | Kind::ConnectTimeout | Kind::Identity | Kind::Tls => {
            TryOutcome::ConnectFailure
        }
        Kind::Refused => TryOutcome::Refused,
        Kind::Reset => TryOutcome::Reset { sent },
        Kind::Protocol => TryOutcome::Reset { sent: true },
        // Our own trouble, or the client's; a limit of ours is never tried again (Envoy).
        Kind::Overflow | Kind::NoIdentity | Kind::Upload | Kind::Request => TryOutcome::Cancelled,
    }
}

/// What an answer says about being asked again; what makes no sense is as if it were not there, but for gRPC's push-back
/// (gRFC A6: then not at all).
fn wish(headers: &HeaderMap, now: SystemTime) -> Wish {
    if let Some(pushback) = headers.get(&PUSHBACK) {
        let millis = pushback.to_str().ok().and_then(|text| text.parse().ok());
        return millis.map_or(Wish::Never, |millis| {
            Wish::At(Duration::from_millis(millis))
        });
    }
    let Some(text) = headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
    else {
        return Wish::Silent;
    };
    if let Ok(seconds) = text.parse() {
        return Wish::NotBefore(Duration::from_secs(seconds));
    }
    match httpdate::parse_http_date(text) {
        Ok(date) => Wish::NotBefore(date.duration_since(now).unwrap_or_default()),
        Err(_) => Wish::Silent,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn endpoints_say_when() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (name, value, expected) in [
            ("retry-after", "7", Wish::NotBefore(Duration::from_secs(7))),
            (
                "retry-after",
                "Sun, 06 Nov 1994 08:49:47 GMT",
                Wish::NotBefore(Duration::from_secs(10)),
            ),
            (
                "retry-after",
                "Sun, 06 Nov 1994 08:00:00 GMT",
                Wish::NotBefore(Duration::ZERO),
            ),
            ("retry-after", "soon", Wish::Silent),
            ("retry-after", "-3", Wish::Silent),
            ("x-other", "3", Wish::Silent),
            (
                "grpc-retry-pushback-ms",
                "40",
                Wish::At(Duration::from_millis(40)),
            ),
            ("grpc-retry-pushback-ms", "-1", Wish::Never),
            ("grpc-retry-pushback-ms", "x", Wish::Never),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            assert_eq!(wish(&headers, now), expected, "{name}: {value}");
        }
    }
}
