//! Failures on purpose (`fault`), ready to be drawn.

use std::time::Duration;

use super::Share;
use crate::document::{self, AbortStatus, HttpFault};

/// Istio's `HTTPFaultInjection`: what happens to some requests before anything is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    delay: Option<(Duration, Share)>,
    abort: Option<(AbortStatus, Share)>,
}

impl Fault {
    /// None if no request is touched: a share that is not given is 0 %, as in Istio.
    pub(crate) fn compile(document: &HttpFault) -> Option<Self> {
        let document::FaultDelay { fixed, percentage } =
            document.delay.unwrap_or(document::FaultDelay {
                fixed: None,
                percentage: 0.0,
            });
        let delay = fixed.map(|fixed| (fixed, Share::of_percent(percentage)));
        let abort = document.abort.and_then(|abort| {
            let status = abort.status?;
            Some((status, Share::of_percent(abort.percentage)))
        });
        let fault = Self {
            delay: delay.filter(|(_, share)| !share.is_none()),
            abort: abort.filter(|(_, share)| !share.is_none()),
        };
        (fault != Self::default()).then_some(fault)
    }

    /// How long the request waits, if it is one of those that do.
    pub fn delay(&self, random: u64) -> Option<Duration> {
        let (fixed, share) = self.delay?;
        share.takes(random).then_some(fixed)
    }

    /// What the request fails with, if it is one of those that do. Asked after the delay; the two are drawn apart.
    pub fn abort(&self, random: u64) -> Option<AbortStatus> {
        let (status, share) = self.abort?;
        share.takes(random).then_some(status)
    }

    /// The delay and its share.
    pub fn delayed(&self) -> Option<(Duration, Share)> {
        self.delay
    }

    /// The status of aborted requests and their share.
    pub fn aborted(&self) -> Option<(AbortStatus, Share)> {
        self.abort
    }
}
