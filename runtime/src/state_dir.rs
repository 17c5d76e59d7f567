//! The one directory a process keeps: private, written atomically, locked by one process at a time.

mod lock;
mod write;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

pub use lock::StateLock;

/// The file that tells where a process listens.
pub const PORTS_FILE: &str = "ports.json";

/// The longest file that [`StateDir`] reads, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// An open state directory (0700).
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateDirError {
    /// The system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read or write it.
    #[error("`{}` is open to others (mode {mode:04o}, expected {expected:04o} or stricter); if you trust its content, run: chmod {expected:o} {}", path.display(), path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The laxest permission bits accepted.
        expected: u32,
    },
    /// Somebody else owns it.
    #[error("`{}` belongs to user {owner}, this process runs as user {own}; run: chown -R {own} {}", path.display(), path.display())]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// It is not of the kind expected.
    #[error("`{}` is not a {expected}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// `directory` or `regular file`.
        expected: &'static str,
    },
    /// Another process works on it.
    #[error("state directory `{}` is in use by process {}; stop it first, or choose another directory", path.display(), holder.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, where it could be read.
        holder: Option<u32>,
    },
    /// A name with a slash, or of another directory.
    #[error("`{0}` is not a plain file name")]
    Name(String),
    /// `ports.json` does not parse.
    #[error("`{}` does not parse: {source}", path.display())]
    Ports {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl StateDir {
    /// Opens the directory; makes it (0700) with its parents when it is missing, refuses it when others could enter.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let failed = io_error("open the state directory", path);
        match std::fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(io_error("create the state directory", path))?,
            Err(error) => return Err(failed(error)),
        }
        let found = std::fs::metadata(path).map_err(failed)?;
        if !found.is_dir() {
            return Err(StateDirError::WrongKind {
                path: path.to_owned(),
                expected: "directory",
            });
        }
        private(path, &found, 0o700)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it; the name must be plain.
    pub fn file(&self, name: &str) -> Result<PathBuf, StateDirError> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(only)), None) if only == name => Ok(self.path.join(name)),
            _ => Err(StateDirError::Name(name.to_owned())),
        }
    }

    /// Writes a file (0600) so that a reader, also after a crash, sees the old or the new content and nothing between:
    /// temporary file, fsync, rename, fsync of the directory.
    pub fn write_secret(&self, name: &str, bytes: &[u8]) -> Result<(), StateDirError> {
        let target = self.file(name)?;
        write::atomically(&self.path, &target, bytes)
            .map_err(|(action, error)| io_error(action, &target)(error))
    }

    /// Reads a file whole; `None` when there is none. Refuses one that others may read or write.
    pub fn read_secret(&self, name: &str) -> Result<Option<Vec<u8>>, StateDirError> {
        let path = self.file(name)?;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(nofollow_nonblock())
            .open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        // The mode of what was opened, not of what the name meant a moment ago.
        let found = file.metadata().map_err(io_error("read", &path))?;
        if !found.is_file() {
            return Err(StateDirError::WrongKind {
                path,
                expected: "regular file",
            });
        }
        private(&path, &found, 0o600)?;
        if found.len() > LONGEST {
            return Err(io_error("read", &path)(io::ErrorKind::FileTooLarge.into()));
        }
        let mut bytes = Vec::new();
        (&mut file)
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(io_error("read", &path))?;
        Ok(Some(bytes))
    }

    /// Removes a file; one that is not there is fine.
    pub fn remove(&self, name: &str) -> Result<(), StateDirError> {
        let path = self.file(name)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path)(error))
            }
            _ => sync_directory(&self.path).map_err(io_error("write", &self.path)),
        }
    }

    /// Takes the directory for this process until the lock is dropped (or the process dies).
    pub fn lock(&self) -> Result<StateLock, StateDirError> {
        StateLock::take(&self.path)
    }

    /// The process that holds the lock now, if any.
    pub fn lock_holder(&self) -> Option<u32> {
        lock::holder(&self.path)
    }

    /// Writes `ports.json`: the name of each listener and its address.
    pub fn publish_ports(&self, ports: &BTreeMap<String, SocketAddr>) -> Result<(), StateDirError> {
        let path = self.file(PORTS_FILE)?;
        let mut text = serde_json::to_vec_pretty(ports)
            .map_err(|source| StateDirError::Ports { path, source })?;
        text.push(b'\n');
        self.write_secret(PORTS_FILE, &text)
    }

    /// Reads what [`Self::publish_ports`] wrote last; empty when there is nothing.
    pub fn ports(&self) -> Result<BTreeMap<String, SocketAddr>, StateDirError> {
        let Some(text) = self.read_secret(PORTS_FILE)? else {
            return Ok(BTreeMap::new());
        };
        serde_json::from_slice(&text).map_err(|source| StateDirError::Ports {
            path: self.path.join(PORTS_FILE),
            source,
        })
    }
}

/// Flags against planted symbolic links and pipes.
fn nofollow_nonblock() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
        .bits()
        .cast_signed()
}

fn private(path: &Path, found: &std::fs::Metadata, expected: u32) -> Result<(), StateDirError> {
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StateDirError::TooOpen {
            path: path.to_owned(),
            mode,
            expected,
        });
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && own != 0 {
        return Err(StateDirError::ForeignOwner {
            path: path.to_owned(),
            owner: found.uid(),
            own,
        });
    }
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> StateDirError + Copy + 'a {
    move |source| StateDirError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
