//! Load shedding by queue delay: a few requests at a time, the others wait a little, and who would wait too long is
//! refused while that still helps somebody.

mod queue_delay;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue, StatusCode};
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub use queue_delay::QueueDelay;

use crate::clock;
use crate::config::OverloadConfig;
use crate::local_reply::LocalReply;
use crate::telemetry::ResponseFlags;

static OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// The door of a process that may be overloaded; the default lets everybody in at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shedder(Option<Arc<Inner>>);

struct Inner {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    delay: QueueDelay,
    shed: IntCounter,
    queued: IntGauge,
}

/// A place among the requests under way; given up when dropped.
#[derive(Debug, Default)]
pub struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for Place {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: Some(permit),
        }
    }
}

impl fmt::Debug for Shedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self
            .0
            .as_ref()
            .map(|inner| inner.places.available_permits());
        f.debug_tuple("Shedder").field(&places).finish()
    }
}

impl Shedder {
    /// A door as the process file wants it, counting as `portcullis_overload_*`.
    ///
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn new(
        config: Option<&OverloadConfig>,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let Some(config) = config else {
            return Ok(Self::default());
        };
        let shed = IntCounter::new(
            "portcullis_overload_shed_total",
            "Requests that were refused because they would have waited too long.",
        )?;
        let queued = IntGauge::new(
            "portcullis_overload_waiting",
            "Requests that wait for one of `overload.concurrency` places.",
        )?;
        registry.register(Box::new(shed.clone()))?;
        registry.register(Box::new(queued.clone()))?;
        Ok(Self(Some(Arc::new(Inner {
            places: Arc::new(Semaphore::new(config.places())),
            waiting: AtomicUsize::new(0),
            delay: QueueDelay::new(config.target, config.interval, clock::now()),
            shed,
            queued,
        }))))
    }

    /// A place for a request; waits for one as long as the queue's delay allows.
    ///
    /// # Errors
    /// 503, flag OM: it would have waited too long.
    pub async fn enter(&self) -> Result<Place, Box<LocalReply>> {
        let Some(inner) = &self.0 else {
            return Ok(Place::default());
        };
        let now = clock::now();
        if let Ok(permit) = Arc::clone(&inner.places).try_acquire_owned() {
            if inner.waiting.load(Ordering::Relaxed) == 0 {
                inner.delay.is_empty(now);
            }
            return Ok(permit.into());
        }
        let waiter = Waiter::new(inner);
        let longest = inner.delay.longest_wait(now);
        let place = timeout(longest, Arc::clone(&inner.places).acquire_owned()).await;
        drop(waiter);
        // The semaphore is never closed.
        if let Ok(Ok(permit)) = place {
            return Ok(permit.into());
        }
        inner.shed.inc();
        Err(Box::new(overloaded()))
    }
}

/// One who waits; also one who gives up.
struct Waiter<'a>(&'a Inner);

impl<'a> Waiter<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::Relaxed);
        inner.queued.inc();
        Self(inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.queued.dec();
        if self.0.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.delay.is_empty(clock::now());
        }
    }
}

/// 503: this process has more to do than it can.
fn overloaded() -> LocalReply {
    LocalReply {
        headers: vec![(OVERLOADED.clone(), HeaderValue::from_static("true"))],
        ..LocalReply::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            ResponseFlags::OVERLOAD_MANAGER,
            "overload",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIG: OverloadConfig = OverloadConfig {
        concurrency: 2,
        target: Duration::from_millis(5),
        interval: Duration::from_millis(100),
    };

    /// Timers count in milliseconds, rounded up.
    fn about(elapsed: Duration, expected: Duration) {
        let late = elapsed.checked_sub(expected);
        let late = late.unwrap_or_else(|| panic!("{elapsed:?} is less than {expected:?}"));
        assert!(late <= Duration::from_millis(2), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_burst_waits_and_a_standing_queue_is_shed() {
        let shedder = Shedder::new(Some(&CONFIG), &Registry::new()).unwrap();
        let held = [
            shedder.enter().await.unwrap(),
            shedder.enter().await.unwrap(),
        ];
        let begun = tokio::time::Instant::now();
        let waiting = tokio::spawn({
            let shedder = shedder.clone();
            async move { shedder.enter().await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(held);
        assert!(waiting.await.unwrap().is_ok(), "a burst waits");
        about(begun.elapsed(), Duration::from_millis(50));

        let _held = [
            shedder.enter().await.unwrap(),
            shedder.enter().await.unwrap(),
        ];
        let begun = tokio::time::Instant::now();
        let reply = shedder.enter().await.unwrap_err();
        assert_eq!(reply.status, 503);
        assert_eq!(reply.flags, ResponseFlags::OVERLOAD_MANAGER);
        about(begun.elapsed(), CONFIG.interval);
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_queue_stands_nobody_waits_long() {
        let shedder = Shedder::new(Some(&CONFIG), &Registry::new()).unwrap();
        let _held = [
            shedder.enter().await.unwrap(),
            shedder.enter().await.unwrap(),
        ];
        // Somebody always waits.
        for _ in 0..20 {
            let shedder = shedder.clone();
            tokio::spawn(async move { shedder.enter().await.map(drop) });
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
        let begun = tokio::time::Instant::now();
        assert!(shedder.enter().await.is_err());
        about(begun.elapsed(), CONFIG.target);
    }

    #[tokio::test]
    async fn without_the_key_everybody_is_let_in() {
        let shedder = Shedder::new(None, &Registry::new()).unwrap();
        let places: Vec<_> = (0..1000).map(|_| shedder.enter()).collect();
        for place in places {
            assert!(place.await.is_ok());
        }
    }
}
