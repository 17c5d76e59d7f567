//! The exclusive lock of a state directory, with the holder's pid for people to read.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::{StateDirError, io_error};

const LOCK_FILE: &str = "lock";

/// A held lock; dropping it (or the death of the process) frees the directory.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    pub(super) fn take(directory: &Path) -> Result<Self, StateDirError> {
        let path = directory.join(LOCK_FILE);
        let failed = io_error("lock", &path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(super::nofollow_nonblock())
            .open(&path)
            .map_err(failed)?;
        let mut taken = file.try_lock();
        // `holder` looks with a lock of its own for an instant; that must not count as a process.
        for _ in 0..3 {
            if !matches!(taken, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            taken = file.try_lock();
        }
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateDirError::Locked {
                    path: directory.to_owned(),
                    holder: pid_in(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The pid of the process that holds the lock; `None` when it is free or unreadable.
pub(super) fn holder(directory: &Path) -> Option<u32> {
    let mut file = File::open(directory.join(LOCK_FILE)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => pid_in(&mut file),
        _ => None,
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
