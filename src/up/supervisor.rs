//! One child kept alive: started, watched until it is ready, started again when it dies, stopped when told.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::part::Part;
use crate::admin_port;
use crate::ports::Ports;

/// What the mesh asks of a supervisor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// Stop the child and start it again, with what it reads at its start.
    Restart,
    /// Let the child finish what it does, then end.
    Stop,
    /// End the child at once.
    Kill,
}

/// What a supervisor tells the mesh.
#[derive(Debug)]
pub(crate) enum News {
    /// The child runs.
    Started(u32),
    /// The child is ready, and listens there.
    Ready(Ports),
    /// The child ended by itself, or could not be started.
    Died {
        /// In words.
        how: String,
        /// When it is started again.
        again_in: Duration,
    },
}

/// Which part the news is about.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its index in the mesh.
    pub(crate) part: usize,
    /// The news.
    pub(crate) news: News,
}

/// How long a child may drain; longer than the drain in its own configuration.
const GRACE: Duration = Duration::from_secs(8);
const READY_POLL: Duration = Duration::from_millis(20);

/// Watches over one part until it is told to stop it.
#[derive(Debug)]
pub(crate) struct Supervisor {
    /// Its index in the mesh.
    pub(crate) index: usize,
    /// What it watches over.
    pub(crate) part: Arc<Part>,
    /// What to start.
    pub(crate) executable: PathBuf,
    /// What the mesh asks for.
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    /// What the mesh is told.
    pub(crate) events: mpsc::UnboundedSender<Event>,
}

enum End {
    Stopped,
    Restarted,
    Died(String),
}

impl Supervisor {
    /// Keeps the child alive until it is told to stop.
    pub(crate) async fn run(mut self) {
        let mut delay = Delay::default();
        loop {
            let started = Instant::now();
            let end = match self.part.start(&self.executable) {
                Ok(child) => self.watch(child).await,
                Err(error) => End::Died(format!("cannot be started: {error}")),
            };
            match end {
                End::Stopped => return,
                End::Restarted => {}
                End::Died(how) => {
                    let again_in = delay.after(started.elapsed());
                    self.tell(News::Died { how, again_in });
                    tokio::select! {
                        () = sleep(again_in) => {}
                        order = self.orders.recv() => if !matches!(order, Some(Order::Restart)) {
                            return;
                        },
                    }
                }
            }
        }
    }

    async fn watch(&mut self, mut child: Child) -> End {
        let Some(pid) = child.id() else {
            return End::Died("ended at once".to_owned());
        };
        self.tell(News::Started(pid));
        let part = Arc::clone(&self.part);
        let ready = until_ready(&part);
        tokio::pin!(ready);
        let mut waiting = true;
        loop {
            tokio::select! {
                status = child.wait() => return End::Died(in_words(status)),
                ports = &mut ready, if waiting => {
                    waiting = false;
                    self.tell(News::Ready(ports));
                }
                order = self.orders.recv() => {
                    let (signal, end) = match order {
                        Some(Order::Restart) => (Signal::TERM, End::Restarted),
                        Some(Order::Stop) => (Signal::TERM, End::Stopped),
                        Some(Order::Kill) | None => (Signal::KILL, End::Stopped),
                    };
                    return self.stop(&mut child, signal, end).await;
                }
            }
        }
    }

    /// Ends the child, by force when it takes too long or a second order says so.
    async fn stop(&mut self, child: &mut Child, mut signal: Signal, mut end: End) -> End {
        loop {
            send(child, signal);
            tokio::select! {
                _ended = child.wait() => return end,
                () = sleep(GRACE) => signal = Signal::KILL,
                order = self.orders.recv() => match order {
                    Some(Order::Restart) => {}
                    Some(Order::Stop) => end = End::Stopped,
                    Some(Order::Kill) | None => {
                        signal = Signal::KILL;
                        end = End::Stopped;
                    }
                },
            }
        }
    }

    fn tell(&self, news: News) {
        // A mesh that listens no more is stopping; its next order says so.
        drop(self.events.send(Event {
            part: self.index,
            news,
        }));
    }
}

/// Waits until the part says that it is ready.
async fn until_ready(part: &Part) -> Ports {
    loop {
        if let Some((address, path)) = part.readiness() {
            let answer = admin_port::get(address, path).await;
            // Read after it was ready: a gateway publishes its admin port before its listeners.
            if answer.is_ok_and(|(status, _body)| status.is_success())
                && let Some(ports) = part.ports()
            {
                return ports;
            }
        }
        sleep(READY_POLL).await;
    }
}

/// Sends a signal to a child that has not been waited for, so that its pid is still its own.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself a moment ago, which is what we want.
        kill_process(pid, signal).ok();
    }
}

fn in_words(status: std::io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("is lost: {error}"),
    }
}

/// How long to wait before the next start: double each time, short again after a good while.
#[derive(Debug, Default)]
struct Delay {
    deaths: u32,
}

impl Delay {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(10);
    const GOOD_WHILE: Duration = Duration::from_secs(30);

    fn after(&mut self, lived: Duration) -> Duration {
        if lived >= Self::GOOD_WHILE {
            self.deaths = 0;
        }
        let delay = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.deaths));
        self.deaths = self.deaths.saturating_add(1);
        delay.min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_has_an_end_and_is_forgiven() {
        let mut delay = Delay::default();
        let millis: Vec<u128> = (0..9)
            .map(|_| delay.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            millis,
            [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]
        );
        for _ in 0..40 {
            assert_eq!(delay.after(Duration::ZERO), Delay::LONGEST);
        }
        assert_eq!(delay.after(Duration::from_secs(31)), Delay::FIRST);
    }
}
