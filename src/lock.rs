//! A file that one process holds and writes its pid into; the kernel lets go when the process ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// What trying to take a lock came to.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is ours now.
    Ours(Lock),
    /// Another process has it; its pid, if it could be read.
    Theirs(Option<i32>),
}

impl Lock {
    /// Takes the lock file at `path`, making it if needed, without waiting; writes this process's pid into it.
    pub(crate) fn take(path: &Path) -> io::Result<Taken> {
        match Self::hold(path)? {
            None => Ok(Taken::Theirs(pid_in(path))),
            Some(mut lock) => {
                lock.file.set_len(0)?;
                lock.file.rewind()?;
                writeln!(lock.file, "{}", std::process::id())?;
                Ok(Taken::Ours(lock))
            }
        }
    }

    /// Takes the lock file at `path` without changing what it says; `None` when another process has it.
    pub(crate) fn hold(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // Whoever had the lock may have removed the file before it let go; then ours is no file at all.
            let ours = file.metadata()?.ino();
            match std::fs::metadata(path) {
                Ok(now) if now.ino() == ours => return Ok(Some(Self { file })),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The pid of the process that holds the lock file at `path`; `None` when nobody does.
pub(crate) fn holder(path: &Path) -> io::Result<Option<i32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(pid_in(path)),
        Err(error) => Err(error.into()),
    }
}

fn pid_in(path: &Path) -> Option<i32> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(32)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Where a lock file of `name` stands in `dir`.
pub(crate) fn path_in(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_it_and_says_which() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path(), "up");
        assert_eq!(holder(&path).unwrap(), None);
        let Taken::Ours(lock) = Lock::take(&path).unwrap() else {
            panic!("not ours")
        };
        let us = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(Lock::take(&path).unwrap(), Taken::Theirs(Some(pid)) if pid == us));
        assert_eq!(holder(&path).unwrap(), Some(us));
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        assert!(matches!(Lock::take(&path).unwrap(), Taken::Ours(_)));
    }
}
