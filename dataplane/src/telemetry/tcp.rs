//! Istio's standard TCP metrics: connections opened and closed, and the bytes they carried.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::flags::ResponseFlags;
use super::metrics::{MetricsError, Reporter, RequestMetrics, Security};
use super::parties::{DestinationService, Interned, Party, PartyId, ServiceId};
use super::series::Series;

/// Every label of Istio's standard TCP metrics, in the order in which values are given.
const LABELS: [&str; 23] = [
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
    "response_flags",
    "connection_security_policy",
];

/// Who is connected with whom; the numbers are those of [`RequestMetrics::party`] and [`RequestMetrics::service`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpConnection {
    /// Which end reports.
    pub reporter: Reporter,
    /// Who opened it.
    pub source: PartyId,
    /// Who accepted it.
    pub destination: PartyId,
    /// The service that was asked for.
    pub service: ServiceId,
    /// How it is protected.
    pub security: Security,
    /// What a proxy did to it; nothing while it is open.
    pub flags: ResponseFlags,
}

impl TcpConnection {
    /// Where everything above the bound is counted.
    const fn coarse(&self) -> Self {
        Self {
            source: PartyId(0),
            destination: PartyId(0),
            service: ServiceId(0),
            flags: ResponseFlags::NONE,
            ..*self
        }
    }
}

#[derive(Debug)]
struct Handles {
    opened: IntCounter,
    closed: IntCounter,
    received: IntCounter,
    sent: IntCounter,
}

/// Istio's standard TCP metrics of one process.
#[derive(Debug)]
pub struct TcpMetrics {
    opened: IntCounterVec,
    closed: IntCounterVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    parties: Arc<Interned<Party>>,
    services: Arc<Interned<DestinationService>>,
    series: Series<TcpConnection, Handles>,
}

impl TcpMetrics {
    /// Registers the metrics with `registry`; parties and services have the numbers of `requests`.
    ///
    /// # Errors
    /// When the names are registered already.
    pub fn new(
        registry: &Registry,
        requests: &RequestMetrics,
        max_series: usize,
    ) -> Result<Self, MetricsError> {
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, MetricsError> {
            let metric = IntCounterVec::new(Opts::new(name, help), &LABELS)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let overflow = IntCounter::new(
            "portcullis_tcp_metrics_overflow_total",
            "Observations of TCP connections counted as unknown because too many label sets are in use.",
        )?;
        registry.register(Box::new(overflow.clone()))?;
        let (parties, services) = requests.names();
        Ok(Self {
            opened: counter(
                "istio_tcp_connections_opened_total",
                "TCP connections opened.",
            )?,
            closed: counter(
                "istio_tcp_connections_closed_total",
                "TCP connections closed.",
            )?,
            received: counter(
                "istio_tcp_received_bytes_total",
                "Bytes that clients sent over TCP connections.",
            )?,
            sent: counter(
                "istio_tcp_sent_bytes_total",
                "Bytes that servers sent over TCP connections.",
            )?,
            parties,
            services,
            series: Series::new(max_series, overflow),
        })
    }

    /// Counts a connection as opened.
    pub fn opened(&self, connection: TcpConnection) {
        self.with(connection, |handles| handles.opened.inc());
    }

    /// Adds bytes to a connection, from its client (`received`) and from its server (`sent`).
    pub fn carried(&self, connection: TcpConnection, received: u64, sent: u64) {
        if received == 0 && sent == 0 {
            return;
        }
        self.with(connection, |handles| {
            handles.received.inc_by(received);
            handles.sent.inc_by(sent);
        });
    }

    /// Counts a connection as closed.
    pub fn closed(&self, connection: TcpConnection) {
        self.with(connection, |handles| handles.closed.inc());
    }

    fn with(&self, connection: TcpConnection, with: impl FnOnce(&Handles)) {
        let coarse = || connection.coarse();
        self.series
            .with(connection, coarse, |key| self.handles_of(key), with);
    }

    fn handles_of(&self, key: &TcpConnection) -> Handles {
        let source = self.parties.value(key.source.0).unwrap_or_default();
        let destination = self.parties.value(key.destination.0).unwrap_or_default();
        let service = self.services.value(key.service.0).unwrap_or_default();
        let flags = key.flags.to_string();
        let mut values = Vec::with_capacity(LABELS.len());
        values.push(key.reporter.label());
        values.extend(source.labels());
        values.extend(destination.labels());
        values.extend(service.labels());
        values.extend(["tcp", &flags, key.security.label()]);
        Handles {
            opened: self.opened.with_label_values(&values),
            closed: self.closed.with_label_values(&values),
            received: self.received.with_label_values(&values),
            sent: self.sent.with_label_values(&values),
        }
    }
}

#[cfg(test)]
mod tests;
