//! Logs that never fill the disk: each keeps what it holds now and what it held before.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A log above this is moved aside.
const LARGEST: u64 = 16 << 20;

/// Moves a log that has grown too large aside.
///
/// The child holds the file open, so its text is copied and the file cut; the child appends, so it
/// goes on at the new end. What is written between the two is lost.
pub(crate) fn bound(log: &Path) -> io::Result<()> {
    bound_at(log, LARGEST)
}

fn bound_at(log: &Path, largest: u64) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(found) if found.len() > largest => {
            fs::copy(log, older(log))?;
            OpenOptions::new().write(true).open(log)?.set_len(0)
        }
        _ => Ok(()),
    }
}

fn older(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// The last lines of a log, to show when its writer has died.
pub(crate) fn tail(log: &Path, lines: usize) -> Vec<String> {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8 << 10)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    all.iter()
        .skip(all.len().saturating_sub(lines))
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::part::append_to;
    use std::io::Write as _;

    #[test]
    fn a_large_log_is_moved_aside_under_its_writer() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let mut writer = append_to(&log).unwrap();
        writeln!(writer, "first").unwrap();
        bound_at(&log, 3).unwrap();
        writeln!(writer, "next").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "next\n");
        assert_eq!(fs::read_to_string(older(&log)).unwrap(), "first\n");
        bound(&log).unwrap();
        assert_eq!(tail(&log, 5), ["next"]);
    }
}
