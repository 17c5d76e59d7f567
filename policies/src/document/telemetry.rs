//! Telemetry (`telemetry.istio.io`): traces, metrics and access logs of workloads.

mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Attachment, Meta, Spanned};

/// Istio's Telemetry.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector`, `spec.targetRefs` or `spec.targetRef`; without, the whole namespace.
    pub attachment: Attachment,
    /// `spec.tracing`.
    pub tracing: Vec<Tracing>,
    /// `spec.metrics`.
    pub metrics: Vec<Metrics>,
    /// `spec.accessLogging`.
    pub access_logging: Vec<AccessLogging>,
}

/// Whose traffic a rule is about; Istio's `WorkloadMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkloadMode {
    /// `CLIENT_AND_SERVER`, the default.
    #[default]
    ClientAndServer,
    /// `CLIENT`: outbound.
    Client,
    /// `SERVER`: inbound.
    Server,
}

/// Istio's `Tracing`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// `match.mode`.
    pub mode: WorkloadMode,
    /// `providers[].name`: extension providers of the MeshConfig.
    pub providers: Vec<Spanned<String>>,
    /// `randomSamplingPercentage`, 0 to 100; default 1.
    pub random_sampling_percentage: Option<f64>,
    /// `disableSpanReporting`.
    pub disable_span_reporting: Option<bool>,
    /// `customTags`: further tags of spans.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// `useRequestIdForTraceSampling`: default true.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// `enableIstioTags`: default true.
    pub enable_istio_tags: Option<bool>,
    /// `disableContextPropagation`: trace headers are not passed on; default false.
    pub disable_context_propagation: Option<bool>,
}

/// Where the value of a span's tag comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomTag {
    /// `literal.value`.
    Literal(String),
    /// `environment`: a variable of the proxy.
    Environment {
        /// `name`.
        name: String,
        /// `defaultValue`.
        default_value: String,
    },
    /// `header`: of the request.
    Header {
        /// `name`.
        name: String,
        /// `defaultValue`.
        default_value: String,
    },
    /// `formatter.value`: an access log format.
    Formatter(String),
}

/// Istio's `Metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// `providers[].name`.
    pub providers: Vec<Spanned<String>>,
    /// `overrides`, applied in order.
    pub overrides: Vec<MetricsOverride>,
    /// `reportingInterval`: of TCP metrics, default 5s.
    pub reporting_interval: Option<Duration>,
}

/// Istio's `MetricsOverrides`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsOverride {
    /// `match.metric` or `match.customMetric`; `None` for all of Istio's metrics.
    pub metric: Option<Metric>,
    /// `match.mode`.
    pub mode: WorkloadMode,
    /// `disabled`.
    pub disabled: Option<bool>,
    /// `tagOverrides`: by label.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// A metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `metric`: one of Istio's, such as `REQUEST_COUNT`.
    Istio(&'static str),
    /// `customMetric`.
    Custom(String),
}

/// What happens to a metric's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagOverride {
    /// `UPSERT`: set to a CEL expression.
    Upsert(String),
    /// `REMOVE`.
    Remove,
}

/// Istio's `AccessLogging`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogging {
    /// `match.mode`.
    pub mode: WorkloadMode,
    /// `providers[].name`.
    pub providers: Vec<Spanned<String>>,
    /// `disabled`.
    pub disabled: Option<bool>,
    /// `filter.expression`: CEL; only requests for which it is true are logged.
    pub filter: Option<Spanned<String>>,
}
