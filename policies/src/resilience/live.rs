//! The live state of one cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::schedule::Schedule;
use super::{Moment, TryOutcome};
use crate::cluster::Cluster;

/// The live state of one cluster in one generation; its counters are carried from generation to generation.
#[derive(Debug)]
pub struct Live {
    schedule: Schedule,
    turn: Arc<AtomicU64>,
}

/// What the pick of an endpoint depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Positions that were tried for this request; passed over while others are left.
    pub tried: &'a [usize],
    /// The hash of the request's key (`consistentHash`); none if the request has no such key.
    pub hash: Option<u64>,
}

/// Why a request may not pass: a limit of the destination's connection pool is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// A request under way to the cluster, until dropped.
#[derive(Debug)]
pub struct Admission {
    _live: Arc<Live>,
}

/// A try under way at one endpoint. Dropped without a report it counts as cancelled.
#[derive(Debug)]
pub struct Try {
    position: usize,
}

impl Live {
    /// The state of a cluster; `previous` is that of the same cluster one generation earlier.
    pub fn new(cluster: &Cluster, previous: Option<&Self>, _now: Moment) -> Self {
        let weights: Vec<u32> = cluster.endpoints.iter().map(|e| e.weight).collect();
        Self {
            schedule: Schedule::new(&weights),
            turn: previous.map_or_else(Arc::default, |live| Arc::clone(&live.turn)),
        }
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`Overflow`] when as many requests are under way as `http2MaxRequests` allows.
    pub fn admit(self: &Arc<Self>) -> Result<Admission, Overflow> {
        Ok(Admission {
            _live: Arc::clone(self),
        })
    }

    /// The position of the endpoint that gets the next try; none if there is none to use.
    pub fn pick(&self, choice: &Choice<'_>, _now: Moment, _random: u64) -> Option<usize> {
        let mut position = self.next_in_turn()?;
        for _ in 0..self.schedule.len() {
            if !choice.tried.contains(&position) {
                break;
            }
            position = self.next_in_turn()?;
        }
        Some(position)
    }

    /// Notes that a try begins at an endpoint.
    pub const fn begin(self: &Arc<Self>, position: usize, _now: Moment) -> Try {
        Try { position }
    }

    fn next_in_turn(&self) -> Option<usize> {
        self.schedule
            .slot(self.turn.fetch_add(1, Ordering::Relaxed))
    }
}

impl Try {
    /// The endpoint's position.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// How the try ended.
    pub fn report(self, outcome: TryOutcome, _now: Moment) {
        let Self { position: _ } = self;
        let _: TryOutcome = outcome;
    }
}
