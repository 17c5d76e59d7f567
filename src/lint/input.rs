//! The documents that lint reads, and writes back after fixing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::diagnostic::codes::YAML_BUDGET;
use policies::diagnostic::{Diagnostic, DocPath};
use policies::source::{Location, SourceFile};
use runtime::documents::{DocumentSource, DocumentsError, LONGEST_FILE};

use crate::exit::{Context as _, Failure};
use crate::terminal;

/// What findings call standard input.
const STDIN: &str = "<stdin>";

/// The documents of a command line.
#[derive(Debug)]
pub(super) struct Input {
    /// Every text, sorted by name.
    pub(super) files: Vec<SourceFile>,
    /// Findings about what is no text.
    pub(super) unreadable: Vec<Diagnostic>,
    /// The texts as they stand on disk, by the same position.
    original: Vec<SourceFile>,
}

impl Input {
    /// Reads everything; a path that does not exist or cannot be read is a wrong command line.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let here = [PathBuf::from(".")];
        let paths = if paths.is_empty() { &here[..] } else { paths };
        let (streams, others): (Vec<_>, Vec<_>) = paths
            .iter()
            .cloned()
            .partition(|path| path == Path::new("-"));
        let listed = DocumentSource::new(others)
            .list()
            .map_err(|error| usage(&error))?;
        let mut files = Vec::new();
        let mut unreadable = Vec::new();
        let mut take = |name: Arc<str>, bytes| match SourceFile::from_bytes(name, bytes) {
            Ok(file) => files.push(file),
            Err(finding) => unreadable.push(*finding),
        };
        let mut too_large = Vec::new();
        for path in listed {
            let name: Arc<str> = Arc::from(path.to_string_lossy());
            match DocumentSource::read_bytes(&path) {
                Ok(bytes) => take(name, bytes),
                Err(DocumentsError::TooLarge { .. }) => too_large.push(name),
                Err(error) => return Err(usage(&error)),
            }
        }
        if !streams.is_empty() {
            match standard_input()? {
                Some(bytes) => take(STDIN.into(), bytes),
                None => too_large.push(STDIN.into()),
            }
        }
        unreadable.extend(too_large.into_iter().map(|name| {
            let message = format!("the file is longer than {} MiB", LONGEST_FILE >> 20);
            let at = Location::new(name, 1, 1);
            Diagnostic::error(YAML_BUDGET, at, DocPath::root(), message)
                .with_help("split it into several files")
        }));
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            original: files.clone(),
            files,
            unreadable,
        })
    }

    /// Whether one of the texts came from standard input.
    pub(super) fn has_standard_input(&self) -> bool {
        self.files.iter().any(|file| &*file.name == STDIN)
    }

    /// Writes texts that changed into their files, and the one of standard input to standard output.
    pub(super) fn write(&self, files: &[SourceFile]) -> Result<(), Failure> {
        for (file, original) in files.iter().zip(&self.original) {
            if &*file.name == STDIN {
                terminal::print(&file.text);
            } else if file.text != original.text {
                replace(Path::new(&*file.name), original, &file.text)
                    .context(|| format!("cannot write `{}`", file.name))?;
            }
        }
        Ok(())
    }
}

fn usage(error: &DocumentsError) -> Failure {
    Failure::usage(error.to_string())
}

/// `None` if it is longer than any file may be.
fn standard_input() -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .take(LONGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= LONGEST_FILE);
    Ok(fits.then_some(bytes))
}

/// Puts a new text in a file's place: whole or not at all, with the same mode, and not over somebody's edit.
fn replace(path: &Path, original: &SourceFile, text: &str) -> io::Result<()> {
    // A link stays a link.
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The dot hides it from processes that watch the directory.
    let new = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_new(&new, &path, text).and_then(|()| {
        if fs::read(&path)? == original.text.as_bytes() {
            fs::rename(&new, &path)
        } else {
            Err(io::Error::other("it was changed meanwhile; lint again"))
        }
    });
    if written.is_err() {
        // The first error is the one to report.
        fs::remove_file(&new).ok();
    }
    written
}

fn write_new(new: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(new)?;
    file.set_permissions(fs::metadata(old)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
