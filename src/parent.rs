//! Children of `portcullis` that end when it ends, however it ends.

use rustix::process::{Pid, getppid};

/// Ties this process to the parent `pid`: the kernel ends it when the parent's thread that started it is gone.
///
/// The parent may have died before the kernel was told; then its pid is no longer ours, and this
/// process ends here.
pub(crate) fn die_with(pid: i32) {
    let tied = runtime::process::die_with_parent();
    if tied.is_err() || getppid().map(Pid::as_raw_pid) != Some(pid) {
        #[expect(
            clippy::exit,
            reason = "an orphan has nobody to report to and nothing to undo"
        )]
        std::process::exit(1);
    }
}

/// Whether whoever started this process wants it to outlive the terminal (nohup(1)).
pub(crate) fn outlives_the_terminal() -> bool {
    // A line of the mask of ignored signals in hexadecimal (proc(5)); SIGHUP is its lowest bit.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// The arguments that make a child of this process call [`die_with`].
pub(crate) fn tie() -> [String; 2] {
    ["--parent".to_owned(), std::process::id().to_string()]
}
