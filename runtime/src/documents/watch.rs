//! The thread that follows a document set: told by the kernel where it can, looking again and again in any case.

use std::io;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::scan::{self, Reading};
use super::{DocumentSource, DocumentsError, Edition};

/// How often the files are looked at when the kernel says nothing (network file systems never do, and events are lost).
/// A look asks for the attributes of each file, about a microsecond each. With [`QUIET`] and the compilation an edit is
/// in force within a second.
const POLL: Duration = Duration::from_millis(400);
/// A set must be left alone this long before it is read: editors and deployments write in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// A set that never comes to rest is read anyway after this time.
const PATIENCE: Duration = Duration::from_millis(500);
/// The watching thread calls little; the default of 2 MiB would be waste.
const STACK: usize = 256 * 1024;

/// What a look at the documents gave.
type Look = Result<Edition, DocumentsError>;

/// The receiving end: one message per edition of the document set.
#[derive(Debug)]
pub struct DocumentWatch {
    editions: mpsc::Receiver<Look>,
    trigger: ReloadTrigger,
}

/// Asks the watch to read and deliver the set again, changed or not. Clones ask the same watch.
#[derive(Clone, Debug)]
pub struct ReloadTrigger {
    wake: std_mpsc::Sender<Wake>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Touched,
    Reload,
}

impl DocumentWatch {
    /// Waits for the next edition. `None` means that the watching thread is gone.
    pub async fn next(&mut self) -> Option<Look> {
        self.editions.recv().await
    }

    /// Returns a trigger for signals and admin requests.
    pub fn trigger(&self) -> ReloadTrigger {
        self.trigger.clone()
    }
}

impl ReloadTrigger {
    /// Asks for the set; it arrives through [`DocumentWatch::next`].
    pub fn reload(&self) {
        // A closed channel means that nobody waits for documents any more.
        self.wake.send(Wake::Reload).ok();
    }
}

pub(super) fn start(source: DocumentSource) -> io::Result<DocumentWatch> {
    let (wake, woken) = std_mpsc::channel();
    let (editions, received) = mpsc::channel(1);
    let touched = wake.clone();
    thread::Builder::new()
        .name("documents".to_owned())
        .stack_size(STACK)
        .spawn(move || follow(&source, touched, &woken, &editions))?;
    Ok(DocumentWatch {
        editions: received,
        trigger: ReloadTrigger { wake },
    })
}

fn follow(
    source: &DocumentSource,
    touched: std_mpsc::Sender<Wake>,
    woken: &std_mpsc::Receiver<Wake>,
    editions: &mpsc::Sender<Look>,
) {
    let watcher = kernel_watch(source, touched);
    let mut seen = Seen::default();
    let mut wake = Wake::Reload;
    loop {
        if let Some(edition) = seen.look(source, wake)
            && editions.blocking_send(edition).is_err()
        {
            break;
        }
        wake = match woken.recv_timeout(POLL) {
            Ok(first) => settle(source, woken, first),
            Err(_) if editions.is_closed() => break,
            Err(_) if seen.is_current(source) => Wake::Touched,
            Err(_) => settle(source, woken, Wake::Touched),
        };
    }
    drop(watcher);
}

/// Waits until the files come to rest; a reload asked for meanwhile is not lost.
fn settle(source: &DocumentSource, woken: &std_mpsc::Receiver<Wake>, first: Wake) -> Wake {
    let begun = Instant::now();
    let mut wake = first;
    let mut before = scan::stamp(&source.paths).ok();
    while begun.elapsed() < PATIENCE {
        thread::sleep(QUIET);
        while let Ok(more) = woken.try_recv() {
            if more == Wake::Reload {
                wake = Wake::Reload;
            }
        }
        let now = scan::stamp(&source.paths).ok();
        if now == before {
            break;
        }
        before = now;
    }
    wake
}

/// What was delivered last.
#[derive(Default)]
struct Seen {
    reading: Option<Reading>,
    failure: Option<String>,
}

impl Seen {
    /// Whether the files are as they were, as far as their stamps tell.
    fn is_current(&self, source: &DocumentSource) -> bool {
        let now = scan::stamp(&source.paths);
        (self.reading.as_ref()).is_some_and(|reading| now.is_ok_and(|now| now == reading.stamp))
    }

    /// Returns an edition to deliver: when it differs from the last one, or when asked for.
    fn look(&mut self, source: &DocumentSource, wake: Wake) -> Option<Look> {
        let asked = wake == Wake::Reload;
        let trusted = self.reading.as_ref().is_some_and(Reading::is_trusted);
        if !asked && self.failure.is_none() && trusted && self.is_current(source) {
            return None;
        }
        // An operator who asks gets the files as they are, whatever their stamps say.
        let nothing = Reading::default();
        let before = self.reading.as_ref().filter(|_| !asked);
        match source.read_stamped(before.unwrap_or(&nothing)) {
            Ok(reading) => {
                let recovered = self.failure.take().is_some();
                let before = self.reading.as_ref().map(|before| before.edition.id);
                let changed = before != Some(reading.edition.id);
                // Texts are shared (`Arc<str>`), so keeping the set costs no copy.
                let edition = reading.edition.clone();
                self.reading = Some(reading);
                (asked || recovered || changed).then_some(Ok(edition))
            }
            Err(error) => {
                let reason = error.to_string();
                let known = self.failure.as_ref() == Some(&reason);
                self.failure = Some(reason);
                (asked || !known).then_some(Err(error))
            }
        }
    }
}

/// Asks the kernel for events. Without them (too many watches, a file system without) the poll must do.
fn kernel_watch(
    source: &DocumentSource,
    touched: std_mpsc::Sender<Wake>,
) -> Option<notify::RecommendedWatcher> {
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading raises access events; they must not wake us again.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            touched.send(Wake::Touched).ok();
        }
    });
    let mut watcher = made
        .inspect_err(|error| tracing::debug!(%error, "no file events, looking again and again"))
        .ok()?;
    for path in &source.paths {
        // The parent of a file, because editors replace the file by another of its name.
        let (target, mode) = match path.parent() {
            Some(parent) if !path.is_dir() => (parent, RecursiveMode::NonRecursive),
            _ => (path.as_path(), RecursiveMode::Recursive),
        };
        let target = if target.as_os_str().is_empty() {
            std::path::Path::new(".")
        } else {
            target
        };
        if let Err(error) = watcher.watch(target, mode) {
            tracing::debug!(path = %target.display(), %error, "no file events, looking again and again");
        }
    }
    Some(watcher)
}
