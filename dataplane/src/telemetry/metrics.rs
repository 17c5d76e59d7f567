//! Istio's standard request metrics: one small key per request, no formatting on the hot path.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use super::flags::ResponseFlags;
use super::parties::{DestinationService, Interned, Party, PartyId, ServiceId, UNKNOWN};
use super::series::Series;

/// Every label of Istio's standard HTTP metrics, in the order in which values are given.
pub(super) const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "source_canonical_service",
    "source_canonical_revision",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

/// Envoy's default histogram buckets, which Istio's dashboards expect.
const BUCKETS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Which end of the request reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reporter {
    /// The client's side: a gateway, or a sidecar's outbound listener.
    Source,
    /// The server's side: a sidecar's inbound listener.
    Destination,
}

impl Reporter {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestProtocol {
    /// HTTP of any version.
    Http,
    /// gRPC, known by its content type.
    Grpc,
}

/// How the connection between the two proxies is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// Both ends proved who they are.
    MutualTls,
    /// Plaintext, or TLS without a client certificate.
    None,
    /// The source does not know; Istio's value for `reporter="source"`.
    Unknown,
}

impl Security {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::None => "none",
            Self::Unknown => UNKNOWN,
        }
    }
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// Which end reports.
    pub reporter: Reporter,
    /// Who asked.
    pub source: PartyId,
    /// Who answered.
    pub destination: PartyId,
    /// The service that was asked for.
    pub service: ServiceId,
    /// HTTP or gRPC.
    pub protocol: RequestProtocol,
    /// HTTP status that the client got; 0 when it got none.
    pub response_code: u16,
    /// What a proxy did to the response.
    pub flags: ResponseFlags,
    /// `grpc-status`, for gRPC.
    pub grpc_status: Option<u16>,
    /// How the connection is protected.
    pub security: Security,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
}

/// The part of an observation that selects its time series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    reporter: Reporter,
    source: PartyId,
    destination: PartyId,
    service: ServiceId,
    protocol: RequestProtocol,
    response_code: u16,
    flags: ResponseFlags,
    grpc_status: Option<u16>,
    security: Security,
}

impl Key {
    const fn of(seen: &Observation) -> Self {
        Self {
            reporter: seen.reporter,
            source: seen.source,
            destination: seen.destination,
            service: seen.service,
            protocol: seen.protocol,
            response_code: seen.response_code,
            flags: seen.flags,
            grpc_status: seen.grpc_status,
            security: seen.security,
        }
    }

    /// Where everything above the bound is counted: few series, whatever strangers send.
    const fn overflow(seen: &Observation) -> Self {
        Self {
            reporter: seen.reporter,
            source: PartyId(0),
            destination: PartyId(0),
            service: ServiceId(0),
            protocol: seen.protocol,
            response_code: seen.response_code / 100 * 100,
            flags: ResponseFlags::NONE,
            grpc_status: None,
            security: Security::Unknown,
        }
    }
}

/// The handles of one label set.
#[derive(Debug, Clone)]
struct Handles {
    requests: IntCounter,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl Handles {
    fn observe(&self, seen: &Observation) {
        self.requests.inc();
        self.duration.observe(seen.duration.as_secs_f64() * 1000.0);
        self.request_bytes.observe(approximate(seen.request_bytes));
        self.response_bytes
            .observe(approximate(seen.response_bytes));
    }
}

/// Why the metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the request metrics cannot be registered")]
pub struct MetricsError(#[from] prometheus::Error);

/// Istio's standard HTTP metrics of one process.
#[derive(Debug)]
pub struct RequestMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    request_bytes: HistogramVec,
    response_bytes: HistogramVec,
    parties: Arc<Interned<Party>>,
    services: Arc<Interned<DestinationService>>,
    series: Series<Key, Handles>,
}

impl RequestMetrics {
    /// Label sets kept apart; what comes above is counted as `unknown`.
    pub const DEFAULT_MAX_SERIES: usize = 2000;

    /// Registers the metrics with `registry`.
    ///
    /// # Errors
    /// When the names are registered already.
    pub fn new(registry: &Registry, max_series: usize) -> Result<Self, MetricsError> {
        let histogram = |name: &str, help: &str| -> Result<HistogramVec, MetricsError> {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            let metric = HistogramVec::new(options, &LABELS)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let requests = IntCounterVec::new(
            Opts::new("istio_requests_total", "Requests handled by this proxy."),
            &LABELS,
        )?;
        registry.register(Box::new(requests.clone()))?;
        let overflow = IntCounter::new(
            "portcullis_request_metrics_overflow_total",
            "Requests counted as unknown because too many label sets are in use.",
        )?;
        registry.register(Box::new(overflow.clone()))?;
        Ok(Self {
            requests,
            duration: histogram(
                "istio_request_duration_milliseconds",
                "Time from the first byte of a request to the last of its response, in milliseconds.",
            )?,
            request_bytes: histogram("istio_request_bytes", "Request body size in bytes.")?,
            response_bytes: histogram("istio_response_bytes", "Response body size in bytes.")?,
            parties: Arc::new(Interned::new(max_series)),
            services: Arc::new(Interned::new(max_series)),
            series: Series::new(max_series, overflow),
        })
    }

    /// The number of `party`; look it up once per connection, endpoint or process, not per request.
    /// When too many are known already, the number that stands for `unknown`.
    pub fn party(&self, party: &Party) -> PartyId {
        PartyId(self.parties.intern(party).unwrap_or_default())
    }

    /// The number of `service`; look it up once per cluster, not per request.
    pub fn service(&self, service: &DestinationService) -> ServiceId {
        ServiceId(self.services.intern(service).unwrap_or_default())
    }

    /// Counts one finished request.
    pub fn observe(&self, seen: &Observation) {
        self.series.with(
            Key::of(seen),
            || Key::overflow(seen),
            |key| self.handles_of(key),
            |handles| handles.observe(seen),
        );
    }

    /// The numbers of parties and services, for metrics beside these.
    pub(super) fn names(&self) -> (Arc<Interned<Party>>, Arc<Interned<DestinationService>>) {
        (Arc::clone(&self.parties), Arc::clone(&self.services))
    }

    fn handles_of(&self, key: &Key) -> Handles {
        let source = self.parties.value(key.source.0).unwrap_or_default();
        let destination = self.parties.value(key.destination.0).unwrap_or_default();
        let service = self.services.value(key.service.0).unwrap_or_default();
        let code = key.response_code.to_string();
        let grpc = key.grpc_status.map(|s| s.to_string()).unwrap_or_default();
        let flags = key.flags.to_string();
        let protocol = match key.protocol {
            RequestProtocol::Http => "http",
            RequestProtocol::Grpc => "grpc",
        };
        let mut values = Vec::with_capacity(LABELS.len());
        values.push(key.reporter.label());
        values.extend(source.labels());
        values.extend(destination.labels());
        values.extend(service.labels());
        values.extend([protocol, &code, &grpc, &flags, key.security.label()]);
        Handles {
            requests: self.requests.with_label_values(&values),
            duration: self.duration.with_label_values(&values),
            request_bytes: self.request_bytes.with_label_values(&values),
            response_bytes: self.response_bytes.with_label_values(&values),
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a histogram needs no exact byte"
)]
fn approximate(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
