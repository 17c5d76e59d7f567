//! The access log: one JSON line per request, written by a thread of its own from a bounded queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::{IntCounter, Registry};
use tokio::signal::unix::{SignalKind, signal};

mod record;

pub use record::{AccessRecord, DryRunNote};

/// Lines that may wait for the writer; above it lines are dropped and counted.
const QUEUE: usize = 16_384;
/// How long lines gather before the next write.
const BATCH: Duration = Duration::from_millis(2);

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessTarget {
    /// Nowhere: no thread, no work.
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

impl AccessTarget {
    /// The target that the configuration key `accessLog.path` names: `-` is standard output.
    pub fn from_path(path: Option<PathBuf>) -> Self {
        match path {
            None => Self::Off,
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) => Self::File(path),
        }
    }
}

/// Why the access log could not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// The file cannot be opened for appending.
    #[error("cannot open the access log `{path}`")]
    Open {
        /// The configured path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The writer thread cannot start.
    #[error("cannot start the access log's writer")]
    Thread(#[source] io::Error),
    /// The counter of dropped lines cannot be registered.
    #[error("cannot register the access log's metrics")]
    Metrics(#[from] prometheus::Error),
}

enum Message {
    Record(Box<AccessRecord>),
    Flush(SyncSender<()>),
}

/// The sending end of the access log; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    dropped: IntCounter,
    reopen: Arc<AtomicBool>,
}

impl AccessLog {
    /// Opens `target` and starts the writer; dropped lines are counted in `registry`.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot start.
    pub fn start(target: AccessTarget, registry: &Registry) -> Result<Self, AccessLogError> {
        let output = match target {
            AccessTarget::Off => return Ok(Self(None)),
            AccessTarget::Stdout => Output::Stdout,
            AccessTarget::File(path) => Output::File {
                file: open(&path)?,
                path,
            },
        };
        let dropped = IntCounter::new(
            "portcullis_access_log_dropped_total",
            "Access log lines dropped because the writer was behind.",
        )?;
        registry.register(Box::new(dropped.clone()))?;
        let (queue, receiver) = mpsc::sync_channel(QUEUE);
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            output,
            reopen: Arc::clone(&reopen),
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(AccessLogError::Thread)?;
        Ok(Self(Some(Arc::new(Shared {
            queue,
            dropped,
            reopen,
        }))))
    }

    /// A log that writes nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Whether lines are written at all; when not, building a record is wasted work.
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Queues one line; never waits. A full queue drops the line and counts it.
    pub fn write(&self, record: AccessRecord) {
        let Some(shared) = &self.0 else { return };
        match shared.queue.try_send(Message::Record(Box::new(record))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => shared.dropped.inc(),
        }
    }

    /// Opens the file anew before the next line (after log rotation; SIGUSR1).
    pub fn reopen(&self) {
        if let Some(shared) = &self.0 {
            shared.reopen.store(true, Ordering::Release);
        }
    }

    /// Reopens the file at every SIGUSR1; runs until the process ends.
    pub fn reopen_on_sigusr1(&self) -> io::Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        let mut signal = signal(SignalKind::user_defined1())?;
        let log = self.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                log.reopen();
            }
        });
        Ok(())
    }

    /// Waits until everything queued so far is written, at most `limit`. Blocks: for shutdown and tests.
    pub fn flush(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let (done, written) = mpsc::sync_channel(1);
        let deadline = Instant::now() + limit;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = shared.queue.try_send(message) {
            if Instant::now() >= deadline {
                return;
            }
            message = back;
            thread::sleep(BATCH);
        }
        // Written, too late, or the writer is gone: the caller goes on either way.
        written
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .ok();
    }
}

enum Output {
    Stdout,
    File { file: File, path: PathBuf },
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File { file, .. } => file.write_all(bytes),
        }
    }
}

struct Writer {
    output: Output,
    reopen: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Message>) {
        let mut lines = Vec::with_capacity(64 * 1024);
        while let Ok(first) = queue.recv() {
            let mut flushed = Vec::new();
            for message in std::iter::once(first).chain(queue.try_iter().take(QUEUE)) {
                match message {
                    Message::Record(record) => record.write_line(&mut lines),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            self.reopen_if_asked();
            if let Err(error) = self.output.write(&lines) {
                tracing::error!(%error, "the access log cannot be written");
            }
            lines.clear();
            for done in flushed {
                done.try_send(()).ok();
            }
            // While this thread sleeps, sending costs no wake-up: lines gather into one write.
            thread::sleep(BATCH);
        }
    }

    fn reopen_if_asked(&mut self) {
        if !self.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Output::File { file, path } = &mut self.output {
            match open(path) {
                Ok(new) => *file = new,
                Err(error) => tracing::error!(%error, "keeping the old access log file"),
            }
        }
    }
}

fn open(path: &Path) -> Result<File, AccessLogError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| AccessLogError::Open {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests;
