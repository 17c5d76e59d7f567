//! The registry of one process, with the numbers that every process shows.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{Counter, Gauge, Opts, Registry, TextEncoder};

use crate::process;

/// The metrics of one process. Cheap to clone; all clones are one registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    own: Arc<ProcessMetrics>,
}

/// A metric that could not be made or shown.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Two metrics of one name, or a bad name.
    #[error("cannot register a metric: {0}")]
    Register(#[source] prometheus::Error),
    /// The text form failed.
    #[error("cannot write the metrics: {0}")]
    Encode(#[source] prometheus::Error),
}

#[derive(Debug)]
struct ProcessMetrics {
    resident: Gauge,
    cpu: Counter,
    descriptors: Gauge,
}

impl Metrics {
    /// Makes the registry of `component` (`gateway`, `sidecar`, `ca`) with process metrics and
    /// `portcullis_build_info{component,version}`.
    pub fn new(component: &str, version: &str) -> Result<Self, MetricsError> {
        let metrics = Self {
            registry: Registry::new(),
            own: Arc::new(ProcessMetrics {
                resident: gauge("process_resident_memory_bytes", "Resident memory in bytes.")?,
                cpu: Counter::new(
                    "process_cpu_seconds_total",
                    "User and system processor time in seconds.",
                )
                .map_err(MetricsError::Register)?,
                descriptors: gauge("process_open_fds", "Open file descriptors.")?,
            }),
        };
        metrics.register(metrics.own.resident.clone())?;
        metrics.register(metrics.own.cpu.clone())?;
        metrics.register(metrics.own.descriptors.clone())?;
        let start = gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970.",
        )?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        start.set(now.as_secs_f64());
        metrics.register(start)?;
        let build = Gauge::with_opts(
            Opts::new(
                "portcullis_build_info",
                "What is running; the value is always 1.",
            )
            .const_label("component", component)
            .const_label("version", version),
        )
        .map_err(MetricsError::Register)?;
        build.set(1.0);
        metrics.register(build)?;
        Ok(metrics)
    }

    /// Adds a metric to what [`Self::encode`] shows.
    pub fn register(&self, metric: impl Collector + 'static) -> Result<(), MetricsError> {
        self.registry
            .register(Box::new(metric))
            .map_err(MetricsError::Register)
    }

    /// The registry itself.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The text form of Prometheus (version 0.0.4) of everything registered.
    pub fn encode(&self) -> Result<String, MetricsError> {
        self.own.refresh();
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(MetricsError::Encode)
    }
}

impl ProcessMetrics {
    fn refresh(&self) {
        if let Some(bytes) = process::resident_memory(std::process::id()) {
            self.resident.set(lossy(bytes));
        }
        if let Some(time) = process::cpu_time() {
            // A counter only grows: add what is new. Two scrapes at once may add nothing or a tick less, never double.
            let new = time.as_secs_f64() - self.cpu.get();
            if new > 0.0 {
                self.cpu.inc_by(new);
            }
        }
        if let Some(open) = process::open_descriptors() {
            self.descriptors
                .set(lossy(u64::try_from(open).unwrap_or(u64::MAX)));
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "metrics are floats; exact to 2^53"
)]
fn lossy(number: u64) -> f64 {
    number as f64
}

fn gauge(name: &str, help: &str) -> Result<Gauge, MetricsError> {
    Gauge::new(name, help).map_err(MetricsError::Register)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_process_and_the_build() {
        let metrics = Metrics::new("sidecar", "1.2.3").unwrap();
        let text = metrics.encode().unwrap();
        for line in [
            "portcullis_build_info{component=\"sidecar\",version=\"1.2.3\"} 1",
            "# TYPE process_cpu_seconds_total counter",
            "# TYPE process_resident_memory_bytes gauge",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn a_name_stands_once() {
        let metrics = Metrics::new("ca", "1").unwrap();
        let again = gauge("process_open_fds", "again").unwrap();
        assert!(matches!(
            metrics.register(again),
            Err(MetricsError::Register(_))
        ));
    }
}
