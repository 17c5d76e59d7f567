//! Policy documents on disk: complete sets only, read again when their content changes.

mod edition;
mod page;
mod scan;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::source::SourceFile;

pub use edition::{Edition, EditionId};
pub use page::page;
pub use watch::{DocumentWatch, ReloadTrigger};

/// The longest single document file, in bytes.
pub const LONGEST_FILE: u64 = 4 * 1024 * 1024;
/// The most bytes in one set.
pub const LARGEST_SET: u64 = 64 * 1024 * 1024;
/// The most files in one set.
pub const MOST_FILES: usize = 50_000;
/// The deepest directory below a configured path.
const DEEPEST: usize = 16;
/// How often a set that keeps changing is read again before we give up.
const ATTEMPTS: usize = 20;

/// While a file of this name stands in a directory of documents, somebody is changing several of its files: the set is
/// not read before it is gone. One that is older than a second was forgotten and counts no more.
pub const HOLD: &str = ".portcullis-hold";

/// The files and directories that a process takes its documents from.
///
/// A directory counts with everything below it that ends in `.yaml` or `.yml`; names that begin with a dot are left
/// out, and symbolic links are followed (Kubernetes swaps a link to change a whole directory at once).
#[derive(Clone, Debug)]
pub struct DocumentSource {
    paths: Vec<PathBuf>,
}

/// Why no complete set could be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentsError {
    /// The system refused.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Not a text.
    #[error("`{}` is not UTF-8: byte {offset} is wrong; save the file as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The place of the first wrong byte.
        offset: usize,
    },
    /// A pipe, socket or device with a document's name.
    #[error("`{}` is neither a regular file nor a directory", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
    },
    /// More than a process should load.
    #[error("`{}` is too large: {what} (limit {limit})", path.display())]
    TooLarge {
        /// Where the limit was passed.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Somebody writes faster than we read.
    #[error(
        "the documents changed during each of {ATTEMPTS} attempts to read them; the next change is tried again"
    )]
    Unstable,
}

impl DocumentSource {
    /// Names the files and directories; nothing is read yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    /// Reads all files as one set, sorted by path. What changes while it is read is read again, so that two halves of
    /// different editions never meet.
    pub fn read_all(&self) -> Result<Vec<SourceFile>, DocumentsError> {
        Ok(self.read_stamped(&scan::Reading::default())?.edition.files)
    }

    /// The files that [`read_all`](Self::read_all) would read now, sorted.
    pub fn list(&self) -> Result<Vec<PathBuf>, DocumentsError> {
        let stamp = scan::stamp(&self.paths)?;
        Ok(stamp.into_iter().map(|file| file.path).collect())
    }

    /// The bytes of one file within the limits, text or not.
    pub fn read_bytes(path: &Path) -> Result<Vec<u8>, DocumentsError> {
        scan::read_bytes(path)
    }

    /// As [`Self::read_all`], with the id that every process gives to this content.
    pub fn read_edition(&self) -> Result<Edition, DocumentsError> {
        Ok(self.read_stamped(&scan::Reading::default())?.edition)
    }

    /// Reads the set; what surely has not changed since `before` is taken from there.
    fn read_stamped(&self, before: &scan::Reading) -> Result<scan::Reading, DocumentsError> {
        let mut last = DocumentsError::Unstable;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            if scan::is_held(&self.paths) {
                last = DocumentsError::Unstable;
                continue;
            }
            let stamp = scan::stamp(&self.paths)?;
            match scan::read(&self.paths, stamp, before) {
                Ok(reading)
                    if scan::stamp(&self.paths)? == reading.stamp
                        && !scan::is_held(&self.paths) =>
                {
                    return Ok(reading);
                }
                Ok(_) => last = DocumentsError::Unstable,
                // A file that went away between listing and reading: the set moved.
                Err(error @ DocumentsError::Io { .. }) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Follows the set from a thread of its own: the first message comes at once, the next ones when the *content*
    /// changed or a reload was asked for. A bad set is a message too, once per reason.
    pub fn watch(self) -> io::Result<DocumentWatch> {
        watch::start(self)
    }
}

#[cfg(test)]
mod tests;
