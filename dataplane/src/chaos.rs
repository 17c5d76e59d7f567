//! Chaos at the destination: errors and delays that every caller takes for real.
//!
//! The sidecar of the workload that is to fail injects them, after admission and before the application. Callers'
//! retries, timeouts and breakers, and the application's own, see what they would see of a broken service; a
//! VirtualService's `fault`, which acts at the caller, switches those off as Istio has it.
//!
//! A scenario always ends by itself, and a sidecar takes orders only where its process file says `chaos: true`.

mod fault;
mod pages;
mod running;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub use fault::{ErrorType, Fault, LONGEST_DELAY, NoShare, Share};
pub use pages::{ChaosOrder, ChaosPage, ServiceName, add};
use running::Running;
pub use running::{BadOrder, LONGEST_LIFE, MOST_SCENARIOS, Scenario, ScenarioShown, Strike};

use crate::{clock, random};

/// The scenarios of one workload; cheap to clone. The default allows none.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    /// `None`: chaos is not allowed here.
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    /// The workload's name: instances with one seed must differ.
    instance: String,
    running: ArcSwap<Running>,
    /// Held to change [`Self::running`].
    changing: Mutex<()>,
    holding: IntGauge,
    delays: IntCounter,
    errors: IntCounter,
}

impl Chaos {
    /// Allows chaos at the workload `instance`, and counts what it does.
    ///
    /// # Errors
    /// The registry has such metrics already.
    pub fn allowed(instance: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let holding = IntGauge::new(
            "portcullis_chaos_scenarios",
            "Chaos scenarios that hold at this workload.",
        )?;
        let injected = IntCounterVec::new(
            Opts::new(
                "portcullis_chaos_injected_total",
                "Requests that chaos delayed or failed, by type.",
            ),
            &["type"],
        )?;
        registry.register(Box::new(holding.clone()))?;
        registry.register(Box::new(injected.clone()))?;
        Ok(Self {
            inner: Some(Arc::new(Inner {
                instance: instance.to_owned(),
                running: ArcSwap::default(),
                changing: Mutex::default(),
                holding,
                delays: injected.with_label_values(&["latency"]),
                errors: injected.with_label_values(&["error"]),
            })),
        })
    }

    /// Whether orders are taken.
    pub const fn is_allowed(&self) -> bool {
        self.inner.is_some()
    }

    /// What is to happen to the request that has come now; it is counted as done.
    pub fn strike(&self) -> Strike {
        let Some(inner) = &self.inner else {
            return Strike::MISS;
        };
        let running = inner.running.load();
        if running.len() == 0 {
            return Strike::MISS;
        }
        let strike = running.strike(clock::now(), random::number);
        if strike.delay.is_some() {
            inner.delays.inc();
        }
        if strike.error.is_some() {
            inner.errors.inc();
        }
        strike
    }

    /// Puts these scenarios in force in the place of all others. Needs a Tokio runtime.
    ///
    /// # Errors
    /// The order is refused whole; what held goes on.
    pub fn order(&self, scenarios: Vec<Scenario>) -> Result<(), BadOrder> {
        let Some(inner) = &self.inner else {
            return Ok(());
        };
        let _changing = inner.changing.lock();
        let now = clock::now();
        let before = inner.running.load();
        let after = before.replaced(scenarios, &inner.instance, now)?;
        let first_end = after.next_end();
        let ends_otherwise = first_end != before.next_end();
        inner.publish(&before, after);
        if let Some(end) = first_end.filter(|_| ends_otherwise) {
            tokio::spawn(sweep(Arc::downgrade(inner), end.since(now)));
        }
        Ok(())
    }

    /// Ends every scenario.
    pub fn clear(&self) {
        if let Some(inner) = &self.inner {
            let _changing = inner.changing.lock();
            inner.publish(&inner.running.load(), Running::default());
        }
    }

    /// What holds now.
    pub fn shown(&self) -> Vec<ScenarioShown> {
        let running = self.inner.as_ref().map(|inner| inner.running.load());
        running.map_or_else(Vec::new, |running| running.shown(clock::now()))
    }
}

impl Inner {
    /// Puts scenarios in force and says what is new and what is over.
    fn publish(&self, before: &Running, after: Running) {
        for (id, fault) in after.faults().filter(|(id, fault)| !before.has(id, fault)) {
            tracing::warn!(scenario = id, kind = fault.kind(), %fault, "chaos begins");
        }
        for (id, fault) in before.faults().filter(|(id, fault)| !after.has(id, fault)) {
            tracing::info!(scenario = id, kind = fault.kind(), %fault, "chaos is over");
        }
        self.holding
            .set(i64::try_from(after.len()).unwrap_or(i64::MAX));
        self.running.store(Arc::new(after));
    }
}

/// Takes out what has ended, from then on until nothing is left. Strikes look at the time themselves.
async fn sweep(inner: std::sync::Weak<Inner>, mut after: Duration) {
    loop {
        tokio::time::sleep(after).await;
        let Some(inner) = inner.upgrade() else { return };
        let _changing = inner.changing.lock();
        let now = clock::now();
        let before = inner.running.load();
        // An order has come meanwhile, with a sweep of its own.
        let Some(left) = before.swept(now) else {
            return;
        };
        let next = left.next_end();
        inner.publish(&before, left);
        match next {
            Some(next) => after = next.since(now),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(id: &str, remaining_ms: u64) -> Scenario {
        Scenario {
            id: id.to_owned(),
            fault: Fault::Error {
                rate: Share::ALL,
                error_type: ErrorType::DEFAULT,
            },
            remaining_ms,
            seed: None,
        }
    }

    #[tokio::test]
    async fn a_scenario_ends_by_itself() {
        let chaos = Chaos::allowed("one", &Registry::new()).unwrap();
        assert_eq!(chaos.strike(), Strike::MISS);
        chaos
            .order(vec![error("a", 300), error("b", 600_000)])
            .unwrap();
        let inner = chaos.inner.clone().unwrap();
        assert_eq!(inner.holding.get(), 2);
        assert!(chaos.strike().error.is_some());
        until(|| inner.holding.get() == 1).await;
        // What ends later goes on, and what is ordered meanwhile ends too.
        assert!(chaos.strike().error.is_some());
        chaos.order(vec![error("b", 300)]).unwrap();
        until(|| inner.holding.get() == 0).await;
        assert_eq!(chaos.strike(), Strike::MISS);
        assert_eq!((inner.errors.get(), chaos.shown()), (2, vec![]));
    }

    async fn until(reached: impl Fn() -> bool) {
        let soon = async {
            while !reached() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), soon)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_bad_order_changes_nothing_and_clearing_ends_all() {
        let chaos = Chaos::allowed("one", &Registry::new()).unwrap();
        chaos.order(vec![error("a", 10_000)]).unwrap();
        chaos.order(vec![error("a", 0)]).unwrap_err();
        assert_eq!(chaos.shown().len(), 1);
        chaos.clear();
        assert_eq!(chaos.strike(), Strike::MISS);
    }

    #[tokio::test]
    async fn where_it_is_not_allowed_nothing_happens() {
        let chaos = Chaos::default();
        chaos.order(vec![error("a", 10_000)]).unwrap();
        assert_eq!(chaos.strike(), Strike::MISS);
    }
}
