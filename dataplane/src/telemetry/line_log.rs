//! Logs of JSON lines: written by a thread of their own from a bounded queue, so that nobody waits for a disk.

use std::fmt;
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

/// Lines that may wait for the writer; above it lines are dropped and counted.
pub(super) const QUEUE: usize = 16_384;
/// How long lines gather before the next write.
const BATCH: Duration = Duration::from_millis(2);

/// What a log is a log of.
pub trait Line: Send + 'static {
    /// What operators call the log: `access log`.
    const LOG: &'static str;
    /// The name of its writer's thread.
    const THREAD: &'static str;
    /// The counter of the lines that were dropped.
    const DROPPED: &'static str;

    /// Appends the line, with its line end.
    fn write_line(&self, out: &mut Vec<u8>);
}

/// Appends a value as one line of JSON; a value that cannot be written leaves nothing behind.
pub(crate) fn write_json(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
        return;
    }
    out.push(b'\n');
}

/// Where the lines go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere: no thread, no work.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

impl LogTarget {
    /// The target that a configuration key names: `-` is standard output.
    pub fn from_path(path: Option<PathBuf>) -> Self {
        match path {
            None => Self::Off,
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) => Self::File(path),
        }
    }
}

/// Why a log could not start.
#[derive(Debug, thiserror::Error)]
pub enum LineLogError {
    /// The file cannot be opened for appending.
    #[error("cannot open the {log} `{path}`")]
    Open {
        /// Which log.
        log: &'static str,
        /// The configured path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The writer thread cannot start.
    #[error("cannot start the writer of a log")]
    Thread(#[source] io::Error),
    /// The counter of dropped lines cannot be registered.
    #[error("cannot register the metrics of a log")]
    Metrics(#[from] prometheus::Error),
}

enum Message<R> {
    Record(Box<R>),
    Flush(SyncSender<()>),
}

/// The sending end of a log; cheap to clone.
pub struct LineLog<R>(Option<Arc<Shared<R>>>);

struct Shared<R> {
    queue: SyncSender<Message<R>>,
    dropped: IntCounter,
    reopen: Arc<AtomicBool>,
}

impl<R> Clone for LineLog<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> Default for LineLog<R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<R> fmt::Debug for LineLog<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineLog")
            .field("on", &self.0.is_some())
            .finish()
    }
}

impl<R: Line> LineLog<R> {
    /// Opens `target` and starts the writer; dropped lines are counted in `registry`.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot start.
    pub fn start(target: LogTarget, registry: &Registry) -> Result<Self, LineLogError> {
        let output = match target {
            LogTarget::Off => return Ok(Self(None)),
            LogTarget::Stdout => Output::Stdout,
            LogTarget::File(path) => Output::File {
                file: open(R::LOG, &path)?,
                path,
            },
        };
        let dropped = IntCounter::new(
            R::DROPPED,
            format!(
                "Lines of the {} dropped because its writer was behind.",
                R::LOG
            ),
        )?;
        registry.register(Box::new(dropped.clone()))?;
        let (queue, receiver) = mpsc::sync_channel(QUEUE);
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            output,
            reopen: Arc::clone(&reopen),
        };
        thread::Builder::new()
            .name(R::THREAD.to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(LineLogError::Thread)?;
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
    pub fn write(&self, record: impl Into<R>) {
        let Some(shared) = &self.0 else { return };
        match shared
            .queue
            .try_send(Message::Record(Box::new(record.into())))
        {
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

    /// How many lines were dropped because the writer was behind.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.dropped.get())
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
    fn run<R: Line>(mut self, queue: &Receiver<Message<R>>) {
        let mut lines = Vec::with_capacity(64 * 1024);
        while let Ok(first) = queue.recv() {
            let mut flushed = Vec::new();
            for message in std::iter::once(first).chain(queue.try_iter().take(QUEUE)) {
                match message {
                    Message::Record(record) => record.write_line(&mut lines),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            self.reopen_if_asked(R::LOG);
            if let Err(error) = self.output.write(&lines) {
                tracing::error!(%error, log = R::LOG, "a log cannot be written");
            }
            lines.clear();
            for done in flushed {
                done.try_send(()).ok();
            }
            // While this thread sleeps, sending costs no wake-up: lines gather into one write.
            thread::sleep(BATCH);
        }
    }

    fn reopen_if_asked(&mut self, log: &'static str) {
        if !self.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Output::File { file, path } = &mut self.output {
            match open(log, path) {
                Ok(new) => *file = new,
                Err(error) => tracing::error!(%error, "keeping the old file"),
            }
        }
    }
}

fn open(log: &'static str, path: &Path) -> Result<File, LineLogError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| LineLogError::Open {
            log,
            path: path.to_owned(),
            source,
        })
}
