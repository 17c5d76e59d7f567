//! What the kernel knows about a process: its parent's death, its memory, its time.

use std::io;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Lets the kernel kill this process when its parent dies, even by SIGKILL.
///
/// Fails when the parent is gone already. The kernel watches the parent's *thread* that made this process: a supervisor
/// must start its children from a thread that lives as long as itself.
pub fn die_with_parent() -> io::Result<()> {
    let before = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the call took effect; then nobody would tell us.
    if before.is_none() || getppid() != before {
        return Err(io::Error::other("the parent process is gone already"));
    }
    Ok(())
}

/// Gives up core dumps: keys are in memory, and a crash must not leave an image of it on a disk.
pub fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Lowering one's own limit is always allowed.
    setrlimit(Resource::Core, none).ok();
}

/// The resident memory of a process in bytes, or `None` when there is no such process.
pub fn resident_memory(pid: u32) -> Option<u64> {
    memory_of(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The memory of a process in bytes, of which pages that several processes share count in equal parts (`Pss`, proc(5)), so
/// that numbers of several processes may be added up; `None` when there is no such process, or it is somebody else's.
pub fn proportional_memory(pid: u32) -> Option<u64> {
    field_of(
        &std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?,
        "Pss:",
    )
}

fn memory_of(status: &str) -> Option<u64> {
    field_of(status, "VmRSS:")
}

fn field_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The processor time (user and system) that this process has used.
pub fn cpu_time() -> Option<Duration> {
    cpu_of(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn cpu_of(stat: &str) -> Option<Duration> {
    // The second field is the command in parentheses and may contain anything; user and system time are the
    // 14th and 15th field (proc(5)), counted in USER_HZ, which Linux fixes at 100 for user space.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(
        user.checked_add(system)?.checked_mul(10)?,
    ))
}

/// The number of descriptors that this process has open.
pub fn open_descriptors() -> Option<usize> {
    // One of them is the directory itself.
    Some(
        std::fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_numbers() {
        let own = std::process::id();
        assert!(resident_memory(own).unwrap() > 100_000);
        assert!(proportional_memory(own).unwrap() > 100_000);
        assert!(open_descriptors().unwrap() >= 3);
        assert!(cpu_time().is_some());
        assert_eq!(resident_memory(u32::MAX), None);
    }

    #[test]
    fn a_command_with_parentheses_does_not_confuse() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
        assert_eq!(memory_of("Name: x\nVmRSS:\t   10 kB\n"), Some(10_240));
    }
}
