//! Files of a set written as one: the processes see all of the change or nothing of it, and it can be taken back.

use std::fs;
use std::path::{Path, PathBuf};

use runtime::documents::HOLD;

use super::plan::Plan;
use crate::directory::{MeshDir, private_dir, remove_file, write_whole};
use crate::exit::{Context as _, Failure};
use crate::mesh_set::{Readers, shown};

/// A change that stands on the disk.
#[derive(Debug)]
pub(super) struct Written {
    files: Vec<FileWritten>,
}

#[derive(Debug)]
struct FileWritten {
    path: PathBuf,
    before: Option<String>,
    after: Option<String>,
}

/// Keeps the processes from reading a set while some of its files are new and others are not.
struct Hold {
    paths: Vec<PathBuf>,
}

impl Hold {
    fn take(roots: &[PathBuf]) -> Result<Self, Failure> {
        let mut hold = Self { paths: Vec::new() };
        for root in roots {
            let path = root.join(HOLD);
            fs::write(&path, "").context(|| format!("cannot write `{}`", path.display()))?;
            hold.paths.push(path);
        }
        Ok(hold)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for path in &self.paths {
            // One that stays counts for a second only.
            remove_file(path).ok();
        }
    }
}

impl Written {
    /// Writes every file of a plan. What was changed by somebody else since it was read is left alone, and so is
    /// everything then.
    pub(super) fn write(dir: &MeshDir, plan: &Plan) -> Result<Self, Failure> {
        let mut written = Self { files: Vec::new() };
        let roots: Vec<PathBuf> = plan.sets.iter().map(|set| set.readers.own(dir)).collect();
        let _hold = Hold::take(&roots)?;
        let outcome = written.write_all(dir, plan);
        if outcome.is_err() {
            written.restore();
        }
        outcome.map(|()| written)
    }

    fn write_all(&mut self, dir: &MeshDir, plan: &Plan) -> Result<(), Failure> {
        for set in &plan.sets {
            for (path, after) in &set.files {
                let before = set.text_before(path).map(ToString::to_string);
                if read(path)? != before {
                    return Err(Failure::new(format!(
                        "`{}` was changed by somebody else at this moment",
                        shown(dir, path)
                    ))
                    .hint("nothing was changed; try again"));
                }
                self.files.push(FileWritten {
                    path: path.clone(),
                    before,
                    after: after.clone(),
                });
                put(path, after.as_deref())?;
            }
        }
        Ok(())
    }

    /// Puts everything back as it was; names the files that somebody else has changed since.
    pub(super) fn roll_back(&self, dir: &MeshDir) -> Result<Vec<String>, Failure> {
        let roots = Readers::ALL.map(|readers| readers.own(dir));
        let _hold = Hold::take(&roots)?;
        let left = self.restore();
        Ok(left
            .iter()
            .map(|path| shown(dir, path).to_string())
            .collect())
    }

    fn restore(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for file in &self.files {
            let untouched =
                read(&file.path).is_ok_and(|now| now == file.after || now == file.before);
            if !untouched || put(&file.path, file.before.as_deref()).is_err() {
                left.push(file.path.clone());
            }
        }
        left
    }
}

fn put(path: &Path, text: Option<&str>) -> Result<(), Failure> {
    let write = || match text {
        Some(text) => {
            if let Some(parent) = path.parent() {
                private_dir(parent)?;
            }
            write_whole(path, text).map(drop)
        }
        None => remove_file(path),
    };
    write().context(|| format!("cannot write `{}`", path.display()))
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!(
            "cannot read `{}`: {error}",
            path.display()
        ))),
    }
}
