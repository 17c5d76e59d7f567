//! A small file beside the store that remembers which store it was and how many changes were on disk.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::issue::hex;

/// What the mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    store_id: String,
    changes: u64,
}

impl Mark {
    pub(crate) fn new(store_id: &[u8], changes: u64) -> Self {
        Self {
            store_id: hex(store_id),
            changes,
        }
    }

    /// Where the mark of the store in `directory` lies.
    pub(crate) fn file(directory: &Path) -> PathBuf {
        directory.with_extension("mark")
    }

    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let text = match fs::read_to_string(Self::file(directory)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::Io(error.into())),
        };
        let mut words = text.split_whitespace();
        let mark = match (words.next(), words.next().and_then(|n| n.parse().ok())) {
            (Some(id), Some(changes)) => Some(Self {
                store_id: id.to_owned(),
                changes,
            }),
            _ => None,
        };
        mark.map(Some).ok_or_else(|| StoreError::Damaged {
            path: directory.display().to_string(),
            what: "its mark can't be read".to_owned(),
            mark: Self::file(directory).display().to_string(),
        })
    }

    pub(crate) fn write(&self, directory: &Path) -> Result<(), StoreError> {
        let target = Self::file(directory);
        let fresh = target.with_extension("mark.new");
        let write = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            writeln!(file, "{} {}", self.store_id, self.changes)?;
            file.sync_all()?;
            fs::rename(&fresh, &target)?;
            if let Some(parent) = target.parent() {
                fs::File::open(parent)?.sync_all()?;
            }
            Ok(())
        };
        write().map_err(|error| StoreError::Io(error.into()))
    }

    /// Compares with what was found in the store.
    pub(crate) fn check(&self, store_id: &[u8], changes: u64) -> Result<(), String> {
        if self.store_id != hex(store_id) {
            return Err("it is another store than the one its mark remembers".to_owned());
        }
        if changes < self.changes {
            return Err(format!(
                "it has {changes} changes where {} were on disk before",
                self.changes
            ));
        }
        Ok(())
    }
}
