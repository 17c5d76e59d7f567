//! Listing and reading the files of a document set.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use policies::source::SourceFile;

use super::{DEEPEST, DocumentsError, Edition, HOLD, LARGEST_SET, LONGEST_FILE, MOST_FILES};

/// Renaming a few files takes milliseconds.
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// No file system in use has a coarser clock (FAT counts two seconds).
const GRAIN: Duration = Duration::from_secs(3);

/// What the file system says about a set, cheap to take and to compare.
pub(super) type Stamp = Vec<FileStamp>;

/// What the file system says about one file. The inode is that of the file itself: it is another one when a symbolic
/// link on the way is swapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    pub(super) path: PathBuf,
    inode: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Whether a change at `moment` or later would surely show in the stamp: clocks of file systems have a grain, and
    /// within one grain a file can change without a trace.
    fn is_older_than_grain(&self, moment: SystemTime) -> bool {
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let trusted = since.saturating_sub(GRAIN).as_secs();
        let trusted = i64::try_from(trusted).unwrap_or(i64::MAX);
        self.modified.0 < trusted && self.changed.0 < trusted
    }
}

/// A set as it was read at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) stamp: Stamp,
    /// By file of the stamp: whether an equal stamp later means an equal content.
    trusted: Vec<bool>,
    pub(super) edition: Edition,
}

impl Reading {
    /// Whether an equal stamp later means an equal set.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted.iter().all(|trusted| *trusted)
    }

    /// The text of a file that surely has not changed since.
    fn unchanged(&self, file: &FileStamp) -> Option<&SourceFile> {
        let known = |stamp: &FileStamp| stamp.path.cmp(&file.path);
        let position = self.stamp.binary_search_by(known).ok()?;
        let trusted = *self.trusted.get(position)? && self.stamp.get(position)? == file;
        self.edition.files.get(position).filter(|_| trusted)
    }
}

/// Lists the documents below `paths`, sorted, each once.
pub(super) fn stamp(paths: &[PathBuf]) -> Result<Stamp, DocumentsError> {
    let mut found = Vec::new();
    for path in paths {
        // A path that somebody configured must exist: a typing error would otherwise be an empty policy.
        let about = std::fs::metadata(path).map_err(failed(path))?;
        if about.is_dir() {
            walk(path, 0, &mut found)?;
        } else {
            found.push(stamp_file(path, &about)?);
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// Whether somebody is changing several files of the set at this moment.
pub(super) fn is_held(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| {
        let held_since = std::fs::metadata(path.join(HOLD)).and_then(|hold| hold.modified());
        held_since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age < LONGEST_HOLD))
    })
}

fn walk(directory: &Path, depth: usize, found: &mut Stamp) -> Result<(), DocumentsError> {
    if depth > DEEPEST {
        return Err(too_large(
            directory,
            "directories inside each other",
            DEEPEST,
        ));
    }
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let is_document = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        let about = match std::fs::metadata(&path) {
            Ok(about) => about,
            // An editor's temporary file that is gone again, or a dangling link to something else.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_document => continue,
            Err(error) => return Err(failed(&path)(error)),
        };
        if about.is_dir() {
            walk(&path, depth + 1, found)?;
        } else if is_document {
            found.push(stamp_file(&path, &about)?);
            if found.len() > MOST_FILES {
                return Err(too_large(directory, "number of files", MOST_FILES));
            }
        }
    }
    Ok(())
}

fn stamp_file(path: &Path, about: &Metadata) -> Result<FileStamp, DocumentsError> {
    if !about.is_file() {
        return Err(DocumentsError::WrongKind {
            path: path.to_owned(),
        });
    }
    Ok(FileStamp {
        path: path.to_owned(),
        inode: (about.dev(), about.ino()),
        len: about.len(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

/// Reads what `stamp` listed; texts of files that have not changed since `before` are shared with it.
pub(super) fn read(
    paths: &[PathBuf],
    stamp: Stamp,
    before: &Reading,
) -> Result<Reading, DocumentsError> {
    let now = SystemTime::now();
    let mut total: u64 = 0;
    let mut files = Vec::with_capacity(stamp.len());
    for file in &stamp {
        let read = match before.unchanged(file) {
            Some(known) => known.clone(),
            None => SourceFile {
                name: Arc::from(file.path.to_string_lossy()),
                text: Arc::from(read_text(&file.path)?),
            },
        };
        total = total.saturating_add(read.text.len().try_into().unwrap_or(u64::MAX));
        if total > LARGEST_SET {
            return Err(DocumentsError::TooLarge {
                path: file.path.clone(),
                what: "bytes in all documents together",
                limit: LARGEST_SET,
            });
        }
        files.push(read);
    }
    Ok(Reading {
        trusted: stamp
            .iter()
            .map(|file| file.is_older_than_grain(now))
            .collect(),
        stamp,
        edition: Edition::below(paths, files),
    })
}

fn read_text(path: &Path) -> Result<String, DocumentsError> {
    String::from_utf8(read_bytes(path)?).map_err(|error| DocumentsError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// Reads one regular file of bounded length.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, DocumentsError> {
    // Non-blocking, so that a pipe put in the file's place cannot hold the process.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(failed(path))?;
    if !file.metadata().map_err(failed(path))?.is_file() {
        return Err(DocumentsError::WrongKind {
            path: path.to_owned(),
        });
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed(path))?;
    if bytes.len().try_into().unwrap_or(u64::MAX) > LONGEST_FILE {
        return Err(DocumentsError::TooLarge {
            path: path.to_owned(),
            what: "bytes in one file",
            limit: LONGEST_FILE,
        });
    }
    Ok(bytes)
}

fn too_large(path: &Path, what: &'static str, limit: usize) -> DocumentsError {
    DocumentsError::TooLarge {
        path: path.to_owned(),
        what,
        limit: limit.try_into().unwrap_or(u64::MAX),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> DocumentsError + '_ {
    move |error| DocumentsError::Io {
        path: path.to_owned(),
        source: Arc::new(error),
    }
}
