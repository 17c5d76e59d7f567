//! Replacing a file so that no crash leaves half of it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells temporary files of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes `bytes` as `target` (0600) inside `directory`; on failure says what was being done.
pub(super) fn atomically(
    directory: &Path,
    target: &Path,
    bytes: &[u8],
) -> Result<(), (&'static str, io::Error)> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".new.{}.{number}", std::process::id()));
    let written = write_synced(&temporary, bytes)
        .map_err(|error| ("write", error))
        .and_then(|()| std::fs::rename(&temporary, target).map_err(|error| ("replace", error)));
    if let Err(failure) = written {
        // The temporary file may not exist; what matters is the first failure.
        std::fs::remove_file(&temporary).ok();
        return Err(failure);
    }
    super::sync_directory(directory).map_err(|error| ("make durable", error))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A left-over of a crashed process with our pid must not stop us for ever.
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
