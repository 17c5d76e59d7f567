//! Listing and reading the files of a document set.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::source::SourceFile;

use super::{DEEPEST, DocumentsError, LARGEST_SET, LONGEST_FILE, MOST_FILES};

/// What the file system says about a set, cheap to take and to compare.
pub(super) type Stamp = Vec<FileStamp>;

/// What the file system says about one file. `real` moves when a symbolic link on the way is swapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    pub(super) path: PathBuf,
    real: PathBuf,
    inode: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
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
        real: std::fs::canonicalize(path).map_err(failed(path))?,
        inode: (about.dev(), about.ino()),
        len: about.len(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

/// Reads what `stamp` listed.
pub(super) fn read(stamp: &Stamp) -> Result<Vec<SourceFile>, DocumentsError> {
    let mut total: u64 = 0;
    let mut files = Vec::with_capacity(stamp.len());
    for file in stamp {
        let text = read_text(&file.path)?;
        total = total.saturating_add(text.len().try_into().unwrap_or(u64::MAX));
        if total > LARGEST_SET {
            return Err(DocumentsError::TooLarge {
                path: file.path.clone(),
                what: "bytes in all documents together",
                limit: LARGEST_SET,
            });
        }
        files.push(SourceFile {
            name: Arc::from(file.path.to_string_lossy()),
            text: Arc::from(text),
        });
    }
    Ok(files)
}

fn read_text(path: &Path) -> Result<String, DocumentsError> {
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
    String::from_utf8(bytes).map_err(|error| DocumentsError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
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
