//! What is wanted: at most one error and one latency per service, each with an end. The time is an argument.

use std::time::Duration;

use dataplane::chaos::{Fault, Scenario, ServiceName};
use tokio::time::Instant;

/// How many scenarios the whole mesh may have.
const MOST: usize = 256;

/// One scenario of one service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// Unique as long as the board lives.
    pub(crate) id: String,
    /// Whose instances fail.
    pub(crate) service: ServiceName,
    /// How.
    pub(crate) fault: Fault,
    /// For how long it was asked for.
    pub(crate) lasts: Duration,
    /// When it is over.
    pub(crate) ends: Instant,
    /// For the same failures again.
    pub(crate) seed: Option<u64>,
}

impl Wanted {
    /// What an instance is told, now.
    pub(crate) fn order(&self, now: Instant) -> Scenario {
        Scenario {
            id: self.id.clone(),
            fault: self.fault,
            remaining_ms: u64::try_from(self.left(now).as_millis()).unwrap_or(u64::MAX),
            seed: self.seed,
        }
    }

    /// How long it holds still.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }
}

/// Everything that is wanted in one mesh.
#[derive(Debug, Default)]
pub(crate) struct Board {
    wanted: Vec<Wanted>,
    begun: u64,
}

impl Board {
    /// Begins a scenario; one of the same kind at the same service is over with that. `None`: there are too many.
    pub(crate) fn begin(
        &mut self,
        service: &ServiceName,
        fault: Fault,
        lasts: Duration,
        seed: Option<u64>,
        now: Instant,
    ) -> Option<Wanted> {
        self.sweep(now);
        self.wanted
            .retain(|known| !(known.service == *service && known.fault.is_like(&fault)));
        if self.wanted.len() >= MOST {
            return None;
        }
        self.begun += 1;
        let wanted = Wanted {
            id: format!("chaos-{}", self.begun),
            service: service.clone(),
            fault,
            lasts,
            ends: now + lasts,
            seed,
        };
        self.wanted.push(wanted.clone());
        Some(wanted)
    }

    /// Ends what holds at services that `concerns` knows; tells what that was.
    pub(crate) fn end(
        &mut self,
        concerns: impl Fn(&ServiceName) -> bool,
        now: Instant,
    ) -> Vec<Wanted> {
        self.sweep(now);
        let (ended, left) = std::mem::take(&mut self.wanted)
            .into_iter()
            .partition(|wanted| concerns(&wanted.service));
        self.wanted = left;
        ended
    }

    /// What holds, in the order in which it began.
    pub(crate) fn holding(&self, now: Instant) -> impl Iterator<Item = &Wanted> {
        self.wanted.iter().filter(move |wanted| wanted.ends > now)
    }

    /// Forgets what is over.
    fn sweep(&mut self, now: Instant) {
        self.wanted.retain(|wanted| wanted.ends > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::chaos::{ErrorType, Share};

    const ERROR: Fault = Fault::Error {
        rate: Share::ALL,
        error_type: ErrorType::DEFAULT,
    };
    const LATENCY: Fault = Fault::Latency {
        delay_ms: 5,
        probability: Share::ALL,
    };
    const MINUTE: Duration = Duration::from_mins(1);

    fn service(name: &str) -> ServiceName {
        ServiceName {
            name: name.to_owned(),
            namespace: "my-app".to_owned(),
        }
    }

    #[test]
    fn one_of_each_kind_per_service_until_its_end() {
        let now = Instant::now();
        let mut board = Board::default();
        let (a, b) = (service("a"), service("b"));
        board.begin(&a, ERROR, MINUTE, None, now).unwrap();
        board.begin(&a, LATENCY, MINUTE * 3, None, now).unwrap();
        board.begin(&b, ERROR, MINUTE * 3, None, now).unwrap();
        let again = board.begin(&a, ERROR, MINUTE * 2, None, now).unwrap();
        let ids = |board: &Board, now| {
            let ids: Vec<String> = board.holding(now).map(|one| one.id.clone()).collect();
            ids.join(" ")
        };
        assert_eq!(ids(&board, now), "chaos-2 chaos-3 chaos-4");
        assert_eq!(again.order(now + MINUTE).remaining_ms, 60_000);
        let later = now + MINUTE * 2;
        assert_eq!(ids(&board, later), "chaos-2 chaos-3");
        assert_eq!(board.end(|of| *of == a, later).len(), 1);
        assert_eq!(ids(&board, later), "chaos-3");
        assert_eq!(board.end(|_| true, later).len(), 1);
        assert!(board.end(|_| true, later).is_empty());
    }

    #[test]
    fn there_is_a_bound() {
        let now = Instant::now();
        let mut board = Board::default();
        for n in 0..MOST {
            let of = service(&n.to_string());
            board.begin(&of, ERROR, MINUTE, None, now).unwrap();
        }
        assert!(
            board
                .begin(&service("x"), ERROR, MINUTE, None, now)
                .is_none()
        );
        let later = now + MINUTE;
        assert!(
            board
                .begin(&service("x"), ERROR, MINUTE, None, later)
                .is_some()
        );
    }
}
