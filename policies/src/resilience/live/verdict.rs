//! What the end of a try says about its endpoint, and when that opens or closes the breaker.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use super::{Host, Live};
use crate::resilience::host::Counter;
use crate::resilience::settings::Detection;
use crate::resilience::{BreakerState, Moment, Reason, TryOutcome};

/// What one try says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing.
    Nothing,
    /// It works.
    Success,
    /// It answered with what counts as an error (`server`), as a gateway's error (`gateway`), or as both.
    Answer { server: bool, gateway: bool },
    /// It could not be reached, or broke off, or took too long.
    Local,
}

impl Detection {
    fn see(&self, outcome: TryOutcome) -> Seen {
        match outcome {
            TryOutcome::Cancelled => Seen::Nothing,
            TryOutcome::Answered { status, grpc } => {
                let status = match grpc {
                    Some(grpc) if status == 200 => status_of(grpc),
                    _ => status,
                };
                let listed = if self.statuses.is_empty() {
                    status >= 500
                } else {
                    self.statuses.contains(&status)
                };
                let server = listed && self.server_errors.is_some();
                let gateway = matches!(status, 502..=504) && self.gateway_errors.is_some();
                if server || gateway {
                    Seen::Answer { server, gateway }
                } else {
                    Seen::Success
                }
            }
            TryOutcome::ConnectFailure
            | TryOutcome::Refused
            | TryOutcome::Reset { .. }
            | TryOutcome::PerTryTimeout
            | TryOutcome::DeadlineExceeded => Seen::Local,
        }
    }
}

/// The HTTP status that a gRPC status stands for, as Envoy's outlier detection sees it.
const fn status_of(grpc: u16) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        // UNKNOWN, INTERNAL, DATA_LOSS, and numbers that nobody has given.
        _ => 500,
    }
}

impl Live {
    pub(super) fn judge(&self, position: usize, trial: bool, outcome: TryOutcome, now: Moment) {
        let Some(host) = self.hosts.get(position) else {
            return;
        };
        let Some(detection) = &self.settings.detection else {
            if trial {
                host.release_trial();
            }
            return;
        };
        let seen = detection.see(outcome);
        if trial {
            match seen {
                Seen::Nothing => host.release_trial(),
                Seen::Success => self.close(position, host, now),
                Seen::Answer { .. } | Seen::Local => {
                    self.open(position, host, Reason::TrialFailed, now);
                }
            }
            return;
        }
        if seen == Seen::Nothing || host.state(now) != BreakerState::Closed {
            // Tries from before the breaker opened say nothing new.
            return;
        }
        if let Some(reason) = count(host, detection, seen) {
            self.open(position, host, reason, now);
        }
    }

    fn close(&self, position: usize, host: &Host, now: Moment) {
        self.change(position, Reason::TrialSucceeded, now, |_| {
            let from = host.state(now);
            host.close(now);
            (from != BreakerState::Closed).then_some((from, BreakerState::Closed, None))
        });
    }

    fn open(&self, position: usize, host: &Host, reason: Reason, now: Moment) {
        let Some(detection) = &self.settings.detection else {
            return;
        };
        self.change(position, reason, now, |roster| {
            let from = host.state(now);
            let again = reason == Reason::TrialFailed;
            // Somebody else was faster: opened it, or closed it after the trial began.
            if again == (from == BreakerState::Closed) {
                return None;
            }
            if !again && roster.ejected(now) >= detection.may_eject(roster.hosts.len()) {
                self.shared.spared.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let time = |number| detection.ejection_time(number);
            let until = host.open(now, detection.interval, time, reason);
            Some((from, BreakerState::Open, Some(until)))
        });
    }
}

/// Counts what was seen; the reason to open the breaker if that is one too many.
fn count(host: &Host, detection: &Detection, seen: Seen) -> Option<Reason> {
    let over = |counter, limit: Option<NonZeroU32>, reason| {
        let limit = limit?;
        // The row begins anew also if the breaker may not open (Envoy).
        (host.count(counter) >= limit.get()).then(|| {
            host.forget(counter);
            reason
        })
    };
    match seen {
        Seen::Nothing => None,
        Seen::Success => {
            for counter in [Counter::Server, Counter::Gateway, Counter::Local] {
                host.forget(counter);
            }
            None
        }
        Seen::Local if detection.split => {
            over(Counter::Local, detection.local_errors, Reason::LocalErrors)
        }
        Seen::Answer { .. } | Seen::Local => {
            // Where they are not split off, Envoy counts failures to reach an endpoint as 503 and 504.
            let (server, gateway) = match seen {
                Seen::Answer { server, gateway } => {
                    // Whoever answers can be reached.
                    host.forget(Counter::Local);
                    (server, gateway)
                }
                _ => (true, true),
            };
            let row = |counts, counter, limit, reason| {
                if counts {
                    over(counter, limit, reason)
                } else {
                    host.forget(counter);
                    None
                }
            };
            let by_gateway = row(
                gateway,
                Counter::Gateway,
                detection.gateway_errors,
                Reason::GatewayErrors,
            );
            let by_server = row(
                server,
                Counter::Server,
                detection.server_errors,
                Reason::ServerErrors,
            );
            by_gateway.or(by_server)
        }
    }
}
