//! The one directory a mesh lives in: where it is by default, and what stands where in it.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::Dir;
use crate::exit::{Context as _, Failure};
use crate::lock;

/// The name of everything that a mesh puts into its directory; nothing else is ever removed from it.
const OURS: [&str; 13] = [
    "ca",
    "registry",
    "gateway",
    "workloads",
    "runs",
    "policies",
    "entries",
    "generated",
    "logs",
    "mesh.json",
    "up.lock",
    "apply.lock",
    "mesh.json.new",
];

/// A socket address holds 108 bytes (unix(7)); the CA's admin socket must fit with its path.
const LONGEST_SOCKET_PATH: usize = 107;

/// A mesh's directory.
#[derive(Debug, Clone)]
pub(crate) struct MeshDir {
    root: PathBuf,
    /// As the person gave it, to repeat in what we suggest to type.
    given: bool,
}

impl MeshDir {
    /// The directory asked for, or the default one; nothing is made or looked at.
    pub(crate) fn resolve(arg: &Dir) -> Result<Self, Failure> {
        let given = arg.dir.is_some();
        let root = match &arg.dir {
            Some(dir) => dir.clone(),
            None => default_root()?,
        };
        let root = std::path::absolute(&root)
            .context(|| format!("cannot make `{}` absolute", root.display()))?;
        Ok(Self { root, given })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `--dir …` as it has to be typed to mean this directory; empty for the default.
    pub(crate) fn flag(&self) -> String {
        if self.given {
            let path = self.root.display().to_string();
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
            if path.chars().all(plain) {
                format!(" --dir {path}")
            } else {
                format!(" --dir '{}'", path.replace('\'', r"'\''"))
            }
        } else {
            String::new()
        }
    }

    /// Makes the directory, or checks that it is a private one that a mesh may use.
    pub(crate) fn open(&self) -> Result<(), Failure> {
        let shown = self.root.display();
        if self.admin_socket().as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(
                Failure::new(format!("the path of `{shown}` is too long for a socket"))
                    .hint("use a shorter --dir; the CA's socket path must stay below 108 bytes"),
            );
        }
        private_dir(&self.root).context(|| format!("cannot make `{shown}`"))?;
        let mode = fs::metadata(&self.root)
            .context(|| format!("cannot read `{shown}`"))?
            .permissions()
            .mode();
        let empty = self.foreign()?.is_empty();
        if !empty && !self.is_mesh() {
            return Err(
                Failure::new(format!("`{shown}` is not empty and holds no mesh"))
                    .hint("choose another --dir"),
            );
        }
        if mode & 0o077 != 0 {
            return Err(Failure::new(format!(
                "`{shown}` holds private keys and others may enter it (mode {:o})",
                mode & 0o777
            ))
            .hint(format!("chmod 700 {shown}")));
        }
        Ok(())
    }

    /// Whether a mesh was ever started here.
    pub(crate) fn is_mesh(&self) -> bool {
        self.lock().exists()
    }

    /// What stands in the directory that no mesh put there.
    fn foreign(&self) -> Result<Vec<String>, Failure> {
        let entries = fs::read_dir(&self.root)
            .context(|| format!("cannot read `{}`", self.root.display()))?;
        Ok(entries
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !OURS.contains(&name.as_str()))
            .collect())
    }

    /// Removes everything that a mesh put here, and the directory if that was all; names what is left.
    pub(crate) fn purge(&self) -> Result<Vec<String>, Failure> {
        for name in OURS {
            let path = self.root.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(_) => Ok(()),
            };
            removed.context(|| format!("cannot remove `{}`", path.display()))?;
        }
        let left = self.foreign()?;
        if left.is_empty() {
            fs::remove_dir(&self.root)
                .context(|| format!("cannot remove `{}`", self.root.display()))?;
        }
        Ok(left)
    }

    /// Held by the running `up`.
    pub(crate) fn lock(&self) -> PathBuf {
        lock::path_in(&self.root, "up")
    }

    /// What the running `up` says about its parts.
    pub(crate) fn record(&self) -> PathBuf {
        self.root.join("mesh.json")
    }

    /// The CA's files.
    pub(crate) fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// The CA's admin socket.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.ca().join("admin.sock")
    }

    /// The registry's files.
    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// The gateway's files.
    pub(crate) fn gateway(&self) -> PathBuf {
        self.root.join("gateway")
    }

    /// The files of one demo workload.
    pub(crate) fn workload(&self, name: &str) -> PathBuf {
        self.root.join("workloads").join(name)
    }

    /// The files of one program that `portcullis run` put into the mesh.
    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.runs().join(name)
    }

    /// All programs that `portcullis run` put into the mesh.
    pub(crate) fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The policy documents, which belong to the user.
    pub(crate) fn policies(&self) -> PathBuf {
        self.root.join("policies")
    }

    /// The registration entries, which belong to the user.
    pub(crate) fn entries(&self) -> PathBuf {
        self.root.join("entries")
    }

    /// Registration entries of programs under `portcullis run`.
    pub(crate) fn run_entries(&self) -> PathBuf {
        self.root.join("generated").join("entries")
    }

    /// What the processes write to their standard streams.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

fn default_root() -> Result<PathBuf, Failure> {
    // The XDG base directory specification: a relative path in the variable is invalid.
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("portcullis")),
        None => Err(
            Failure::usage("there is no home directory to keep the mesh in")
                .hint("give a directory with --dir"),
        ),
    }
}

/// Makes a directory that only its owner may enter, with its parents.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Puts `text` into the file at `path` as a whole or not at all, readable by the owner only.
///
/// Returns whether that changed anything; a file that says the same already is left alone.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|now| now == text.as_bytes()) {
        return Ok(false);
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(&new, path)?;
    Ok(true)
}

/// Removes a file if it is there.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(path: &Path) -> MeshDir {
        MeshDir::resolve(&Dir {
            dir: Some(path.to_owned()),
        })
        .unwrap()
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "years of work").unwrap();
        let error = dir(temp.path()).open().unwrap_err();
        assert!(error.to_string().contains("holds no mesh"), "{error}");
    }

    #[test]
    fn a_lax_directory_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = dir(temp.path()).open().unwrap_err();
        assert!(error.to_string().contains("mode 755"), "{error}");
    }

    #[test]
    fn purge_takes_only_what_is_ours() {
        let temp = tempfile::tempdir().unwrap();
        let mesh = dir(&temp.path().join("mesh"));
        mesh.open().unwrap();
        fs::write(mesh.lock(), "").unwrap();
        private_dir(&mesh.policies()).unwrap();
        assert_eq!(mesh.purge().unwrap(), Vec::<String>::new());
        assert!(!mesh.root().exists());

        mesh.open().unwrap();
        fs::write(mesh.lock(), "").unwrap();
        fs::write(mesh.root().join("notes.txt"), "mine").unwrap();
        assert_eq!(mesh.purge().unwrap(), ["notes.txt"]);
        assert!(mesh.root().join("notes.txt").exists());
    }

    #[test]
    fn a_socket_path_that_cannot_work_is_said_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let error = dir(&temp.path().join("x".repeat(120))).open().unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
