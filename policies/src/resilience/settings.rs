//! What the documents say about one cluster's resilience, compiled.

use std::num::NonZeroU32;
use std::time::Duration;

use super::HashKey;
use super::locality::LocalityRule;
use crate::document::{
    ConnectionPool, HashAlgorithm, OutlierDetection, RetryBudget, SimpleLoadBalancer, Warmup,
};

/// What holds for the traffic to one cluster (DestinationRule: the rule, its subset and its port together).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Whose turn it is.
    pub balancer: Balancer,
    /// Which endpoints come first, by where they are.
    pub(crate) locality: LocalityRule,
    /// How endpoints that have just come get their share (`loadBalancer.warmup`).
    pub warmup: Option<Warmup>,
    /// When an endpoint that fails is left alone (`outlierDetection`); none if no document asks for it.
    pub detection: Option<Detection>,
    /// `connectionPool` as written: limits and times of requests and connections.
    pub pool: ConnectionPool,
    /// `retryBudget` as written.
    pub retry_budget: Option<RetryBudget>,
}

/// The rule that picks an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Balancer {
    /// In turn, as often as the weights say. Our default, where Istio's is `LEAST_REQUEST`.
    #[default]
    RoundRobin,
    /// Of two drawn at random the one with fewer requests under way for its weight.
    LeastRequest,
    /// At random, by weight.
    Random,
    /// The endpoint that a key of the request belongs to.
    Hash {
        /// The key; requests without one go anywhere.
        key: Option<HashKey>,
        /// How its endpoint is found.
        algorithm: HashAlgorithm,
    },
}

impl Balancer {
    /// A balancer as Istio calls it, for operators.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::Random => "RANDOM",
            Self::Hash {
                algorithm: HashAlgorithm::Ring { .. },
                ..
            } => "consistentHash (ring)",
            Self::Hash {
                algorithm: HashAlgorithm::Maglev { .. },
                ..
            } => "consistentHash (maglev)",
        }
    }
}

impl From<SimpleLoadBalancer> for Balancer {
    fn from(simple: SimpleLoadBalancer) -> Self {
        match simple {
            SimpleLoadBalancer::LeastRequest => Self::LeastRequest,
            SimpleLoadBalancer::Random => Self::Random,
            // PASSTHROUGH is refused at load.
            SimpleLoadBalancer::RoundRobin
            | SimpleLoadBalancer::Unspecified
            | SimpleLoadBalancer::Passthrough => Self::RoundRobin,
        }
    }
}

/// Istio's `OutlierDetection` with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Errors in a row that open an endpoint's breaker; none: they are not counted.
    pub server_errors: Option<NonZeroU32>,
    /// Gateway errors (502, 503, 504) in a row that open it.
    pub gateway_errors: Option<NonZeroU32>,
    /// Failures to connect, resets and timeouts in a row that open it, where they count for themselves
    /// (`splitExternalLocalOriginErrors`).
    pub local_errors: Option<NonZeroU32>,
    /// Whether failures to connect, resets and timeouts count for themselves; otherwise they are server and gateway errors.
    pub split: bool,
    /// Healthy for so long, an endpoint has one of its ejections forgotten.
    pub interval: Duration,
    /// How long the first ejection takes; the n-th takes n times as long.
    pub base: Duration,
    /// The longest ejection.
    pub longest: Duration,
    /// The share of the endpoints that may be ejected, in percent; one may always, unless it is 0.
    pub max_ejection_percent: u32,
    /// Below this share of healthy endpoints, in percent, every endpoint is used; 0 is never.
    pub min_health_percent: u32,
    /// The statuses that are errors; 5xx if empty.
    pub statuses: Box<[u16]>,
}

/// Istio's longest ejection, unless the first already takes longer.
const LONGEST: Duration = Duration::from_mins(5);

impl From<&OutlierDetection> for Detection {
    fn from(written: &OutlierDetection) -> Self {
        let base = written
            .base_ejection_time
            .unwrap_or(Duration::from_secs(30));
        let split = written.split_external_local_origin_errors;
        let local = written.consecutive_local_origin_failures.unwrap_or(5);
        Self {
            server_errors: NonZeroU32::new(written.consecutive_5xx_errors.unwrap_or(5)),
            gateway_errors: written.consecutive_gateway_errors.and_then(NonZeroU32::new),
            local_errors: NonZeroU32::new(local).filter(|_| split),
            split,
            interval: written.interval.unwrap_or(Duration::from_secs(10)),
            base,
            longest: base.max(LONGEST),
            max_ejection_percent: written.max_ejection_percent.unwrap_or(10),
            min_health_percent: written.min_health_percent.unwrap_or(0),
            statuses: written.http_error_codes.clone().into(),
        }
    }
}

impl Detection {
    /// How many of so many endpoints may be ejected at once; at least one, unless none at all.
    pub fn may_eject(&self, endpoints: usize) -> usize {
        let percent = usize::try_from(self.max_ejection_percent).unwrap_or(100);
        if percent == 0 {
            return 0;
        }
        (endpoints.saturating_mul(percent) / 100).max(1)
    }

    /// Whether so few healthy endpoints are left that every endpoint is used (Envoy's panic mode).
    pub fn panics(&self, healthy: usize, endpoints: usize) -> bool {
        let least = usize::try_from(self.min_health_percent).unwrap_or(0);
        healthy.saturating_mul(100) < least.saturating_mul(endpoints)
    }

    /// How long the ejection of that number, counted from 1, takes.
    pub fn ejection_time(&self, number: u32) -> Duration {
        self.base.saturating_mul(number.max(1)).min(self.longest)
    }
}
