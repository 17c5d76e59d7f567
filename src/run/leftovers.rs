//! Takes back what a `portcullis run` left behind when it was killed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::directory::{MeshDir, remove_file};
use crate::lock::{self, Lock};

/// Removes the documents of every run whose process is gone; returns their names.
pub(crate) fn sweep(dir: &MeshDir) -> Vec<String> {
    let Ok(runs) = fs::read_dir(dir.runs()) else {
        return Vec::new();
    };
    let names = runs.filter_map(|run| run.ok()?.file_name().into_string().ok());
    names
        .filter(|name| is_stale(dir, name) && take_back(dir, name).is_ok())
        .collect()
}

fn is_stale(dir: &MeshDir, name: &str) -> bool {
    let path = lock::path_in(&dir.run(name), "run");
    path.exists() && matches!(lock::holder(&path), Ok(None))
}

/// Removes the documents and the directory of one run, unless it is alive after all.
fn take_back(dir: &MeshDir, name: &str) -> std::io::Result<()> {
    let home = dir.run(name);
    let Some(_held) = Lock::hold(&lock::path_in(&home, "run"))? else {
        return Err(std::io::ErrorKind::WouldBlock.into());
    };
    remove(dir, name, &home)
}

/// Removes a run's documents first, so that nobody is sent to it, then its directory.
pub(crate) fn remove(dir: &MeshDir, name: &str, home: &Path) -> std::io::Result<()> {
    remove_file(&entry_file(dir, name))?;
    fs::remove_dir_all(home)
}

/// The file with a run's registration entry.
pub(crate) fn entry_file(dir: &MeshDir, name: &str) -> PathBuf {
    dir.run_entries().join(format!("run-{name}.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Dir;
    use crate::directory::private_dir;
    use crate::lock::Taken;

    #[test]
    fn only_runs_without_a_process_are_swept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = MeshDir::resolve(&Dir {
            dir: Some(temp.path().to_owned()),
        })
        .unwrap();
        for path in [dir.run_entries(), dir.run("alive"), dir.run("dead")] {
            private_dir(&path).unwrap();
        }
        let lock = |name| Lock::take(&lock::path_in(&dir.run(name), "run")).unwrap();
        let Taken::Ours(_alive) = lock("alive") else {
            panic!()
        };
        let Taken::Ours(dead) = lock("dead") else {
            panic!()
        };
        drop(dead);
        fs::write(entry_file(&dir, "alive"), "").unwrap();
        fs::write(entry_file(&dir, "dead"), "").unwrap();
        assert_eq!(sweep(&dir), ["dead"]);
        assert!(entry_file(&dir, "alive").exists() && dir.run("alive").exists());
        assert!(!entry_file(&dir, "dead").exists());
        assert!(!dir.run("dead").exists());
    }
}
