//! The thread that follows a document set: told by the kernel where it can, looking once a second in any case.

use std::io;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher as _};
use policies::source::SourceFile;
use tokio::sync::mpsc;

use super::scan::{self, Stamp};
use super::{DocumentSource, DocumentsError};

/// How often the files are looked at when the kernel says nothing (network file systems never do).
const POLL: Duration = Duration::from_secs(1);
/// A set must be left alone this long before it is read: editors and deployments write in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// A set that never comes to rest is read anyway after this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// The watching thread calls little; the default of 2 MiB would be waste.
const STACK: usize = 256 * 1024;

/// What a look at the documents gave.
type Edition = Result<Vec<SourceFile>, DocumentsError>;

/// The receiving end: one message per edition of the document set.
#[derive(Debug)]
pub struct DocumentWatch {
    editions: mpsc::Receiver<Edition>,
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
    pub async fn next(&mut self) -> Option<Edition> {
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
    editions: &mpsc::Sender<Edition>,
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
            Err(_) => Wake::Touched,
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
    stamp: Option<Stamp>,
    content: Option<Vec<SourceFile>>,
    failure: Option<String>,
}

impl Seen {
    /// Returns an edition to deliver: when it differs from the last one, or when asked for.
    fn look(&mut self, source: &DocumentSource, wake: Wake) -> Option<Edition> {
        let asked = wake == Wake::Reload;
        let unmoved = || self.stamp.is_some() && scan::stamp(&source.paths).ok() == self.stamp;
        if !asked && self.failure.is_none() && unmoved() {
            return None;
        }
        match source.read_stamped() {
            Ok((stamp, files)) => {
                self.stamp = Some(stamp);
                let recovered = self.failure.take().is_some();
                let changed = !self.content.as_ref().is_some_and(|old| same(old, &files));
                if !(asked || recovered || changed) {
                    return None;
                }
                // Texts are shared (`Arc<str>`), so keeping the set to compare costs no copy.
                self.content = Some(files.clone());
                Some(Ok(files))
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

fn same(old: &[SourceFile], new: &[SourceFile]) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(a, b)| a.name == b.name && a.text == b.text)
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
        .inspect_err(|error| tracing::debug!(%error, "no file events, looking once a second"))
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
            tracing::debug!(path = %target.display(), %error, "no file events, looking once a second");
        }
    }
    Some(watcher)
}
