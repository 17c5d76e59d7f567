//! Clusters with their breakers as `/breakers` shows them; the command reads the same shapes.

use std::time::Duration;

use policies::cluster::{Cluster, Endpoint};
use policies::resilience::{Detection, EndpointState, Live, Moment, Transition};
use serde::{Deserialize, Serialize};

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterShown {
    /// Istio's name, `outbound|8080|v1|host`.
    pub cluster: String,
    /// The canonical host of the service.
    pub host: String,
    /// Its short name.
    pub service: String,
    /// The service port.
    pub port: u16,
    /// The subset.
    pub subset: Option<String>,
    /// `closed`, `half-open` or `open`.
    pub breaker: String,
    /// How endpoints are chosen.
    pub balancer: String,
    /// Requests under way.
    pub active: u32,
    /// How many there may be (`http2MaxRequests`); `null` is no limit.
    pub max_requests: Option<u32>,
    /// Requests that this limit has turned away.
    pub overflows: u64,
    /// Ejections that `maxEjectionPercent` did not allow.
    pub spared: u64,
    /// `outlierDetection` with its defaults; `null`: no breaker.
    pub detection: Option<DetectionShown>,
    /// Its endpoints.
    pub endpoints: Vec<EndpointShown>,
    /// Its last transitions, the oldest first.
    pub transitions: Vec<TransitionShown>,
}

/// When breakers open; times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetectionShown {
    /// `consecutive5xxErrors`; `null`: they are not counted.
    pub consecutive_5xx_errors: Option<u32>,
    /// `consecutiveGatewayErrors`.
    pub consecutive_gateway_errors: Option<u32>,
    /// `consecutiveLocalOriginFailures`, where they are split off.
    pub consecutive_local_origin_failures: Option<u32>,
    /// `splitExternalLocalOriginErrors`.
    pub split_external_local_origin_errors: bool,
    /// The statuses that are errors; 5xx if empty.
    pub error_codes: Vec<u16>,
    /// `interval`.
    pub interval: u64,
    /// `baseEjectionTime`.
    pub base_ejection_time: u64,
    /// The longest ejection.
    pub longest_ejection_time: u64,
    /// `maxEjectionPercent`.
    pub max_ejection_percent: u32,
    /// How many of the present endpoints that is.
    pub may_eject: usize,
    /// `minHealthPercent`.
    pub min_health_percent: u32,
}

/// An endpoint; times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointShown {
    /// Where it is.
    pub address: String,
    /// The workload behind it.
    pub workload: String,
    /// `closed`, `half-open` or `open`.
    pub breaker: String,
    /// How long its ejection still takes; `null` unless the breaker is open.
    pub remaining: Option<u64>,
    /// Why its breaker opened last.
    pub reason: Option<String>,
    /// What active health checks say.
    pub healthy: bool,
    /// Tries under way.
    pub active: u32,
    /// Errors in a row.
    pub consecutive_5xx_errors: u32,
    /// Gateway errors in a row.
    pub consecutive_gateway_errors: u32,
    /// Failures to connect in a row, where they are split off.
    pub consecutive_local_origin_failures: u32,
    /// Ejections since the proxy started.
    pub ejections: u64,
    /// Its share of the requests, relative to the others.
    pub weight: u32,
    /// Where it is on the map.
    pub locality: Option<String>,
}

/// A breaker that has changed its state; times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransitionShown {
    /// How long ago.
    pub ago: u64,
    /// Whose breaker.
    pub endpoint: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
    /// Why.
    pub reason: String,
    /// How long it is left alone; `null` unless the breaker opened.
    #[serde(rename = "for")]
    pub time: Option<u64>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ClusterShown {
    pub(super) fn of(cluster: &Cluster, live: &Live, now: Moment) -> Self {
        let state = live.state(now);
        let settings = live.settings();
        let of_detection = |detection| DetectionShown::of(detection, cluster.endpoints.len());
        Self {
            cluster: cluster.key.to_string(),
            host: cluster.key.host.to_string(),
            service: cluster.service.name.to_string(),
            port: cluster.key.port,
            subset: cluster.key.subset.as_deref().map(str::to_owned),
            breaker: state.breaker.as_str().to_owned(),
            balancer: settings.balancer.name().to_owned(),
            active: state.active,
            max_requests: settings.pool.max_requests,
            overflows: state.overflows,
            spared: state.spared,
            detection: settings.detection.as_ref().map(of_detection),
            endpoints: cluster
                .endpoints
                .iter()
                .zip(&state.endpoints)
                .map(|(endpoint, state)| EndpointShown::of(endpoint, state, now))
                .collect(),
            transitions: state
                .transitions
                .iter()
                .map(|transition| TransitionShown::of(transition, now))
                .collect(),
        }
    }
}

impl DetectionShown {
    fn of(detection: &Detection, endpoints: usize) -> Self {
        let number = |limit: Option<std::num::NonZeroU32>| limit.map(std::num::NonZeroU32::get);
        Self {
            consecutive_5xx_errors: number(detection.server_errors),
            consecutive_gateway_errors: number(detection.gateway_errors),
            consecutive_local_origin_failures: number(detection.local_errors),
            split_external_local_origin_errors: detection.split,
            error_codes: detection.statuses.to_vec(),
            interval: millis(detection.interval),
            base_ejection_time: millis(detection.base),
            longest_ejection_time: millis(detection.longest),
            max_ejection_percent: detection.max_ejection_percent,
            may_eject: detection.may_eject(endpoints),
            min_health_percent: detection.min_health_percent,
        }
    }
}

impl EndpointShown {
    fn of(endpoint: &Endpoint, state: &EndpointState, now: Moment) -> Self {
        let remaining = state.until.map(|until| until.since(now));
        Self {
            address: state.address.to_string(),
            workload: endpoint.workload.name.to_string(),
            breaker: state.breaker.as_str().to_owned(),
            remaining: remaining.filter(|time| !time.is_zero()).map(millis),
            reason: state.reason.map(|reason| reason.to_string()),
            healthy: state.healthy,
            active: state.active,
            consecutive_5xx_errors: state.server_errors,
            consecutive_gateway_errors: state.gateway_errors,
            consecutive_local_origin_failures: state.local_errors,
            ejections: state.ejections,
            weight: endpoint.weight,
            locality: endpoint.locality.as_ref().map(ToString::to_string),
        }
    }
}

impl TransitionShown {
    fn of(transition: &Transition, now: Moment) -> Self {
        let at = transition.at;
        Self {
            ago: millis(now.since(at)),
            endpoint: transition.endpoint.to_string(),
            from: transition.from.as_str().to_owned(),
            to: transition.to.as_str().to_owned(),
            reason: transition.reason.to_string(),
            time: transition.until.map(|until| millis(until.since(at))),
        }
    }
}
