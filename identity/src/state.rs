//! The files of a workload's enrolment: its key, the bundle it trusts the CA by, and which join token was used.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    bundle::{BundleError, TrustBundle, sha256},
    id::TrustDomain,
    join_token::JoinToken,
    key::{KeyError, PrivateKey},
    profile::hex,
};

const KEY_FILE: &str = "enrolment.key";
const BUNDLE_FILE: &str = "bundle.pem";
/// SHA-256 (hexadecimal) of the join token that was used last.
const SPENT_FILE: &str = "join-token.spent";
/// Larger files are not ours.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file system said no.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others may read or change what must be ours alone.
    #[error("`{}` has mode {mode:04o}, expected {expected} or stricter: run chmod {expected} on it", path.display())]
    Lax {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The widest mode accepted.
        expected: &'static str,
    },
    /// Not a regular file, or too large.
    #[error("`{}` is not a regular file of at most 1 MiB", path.display())]
    NotAFile {
        /// Which file.
        path: PathBuf,
    },
    /// The enrolment key is damaged.
    #[error("`{}` does not hold an enrolment key: restore it, or remove it and enrol with a new join token", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: KeyError,
    },
    /// The kept bundle is damaged.
    #[error("`{}` does not hold a trust bundle: remove it and enrol with a new join token", path.display())]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: BundleError,
    },
}

/// The directory with these files.
#[derive(Debug, Clone)]
pub(crate) struct EnrolmentFiles {
    directory: PathBuf,
}

impl EnrolmentFiles {
    /// Makes the directory (0700) if it is missing; refuses one that others may write to.
    pub(crate) fn open(directory: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io_error("create", directory))?;
        let metadata = fs::metadata(directory).map_err(io_error("look at", directory))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(StateError::Lax {
                path: directory.to_owned(),
                mode,
                expected: "0700",
            });
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Reads the enrolment key; makes it on the first start.
    pub(crate) fn enrolment_key(&self) -> Result<PrivateKey, StateError> {
        let path = self.directory.join(KEY_FILE);
        let key_error = |source| StateError::Key {
            path: path.clone(),
            source,
        };
        if let Some(pem) = read(&path, Secrecy::Secret)? {
            return PrivateKey::from_pem(&pem).map_err(key_error);
        }
        let key = PrivateKey::generate().map_err(key_error)?;
        self.write(KEY_FILE, key.to_pem().as_bytes(), Secrecy::Secret)?;
        Ok(key)
    }

    /// The bundle kept from an earlier enrolment; none if there was none, or if it trusts nobody.
    pub(crate) fn bundle(
        &self,
        trust_domain: &TrustDomain,
    ) -> Result<Option<TrustBundle>, StateError> {
        let path = self.directory.join(BUNDLE_FILE);
        let Some(pem) = read(&path, Secrecy::Public)? else {
            return Ok(None);
        };
        let bundle = TrustBundle::from_pem(trust_domain.clone(), 0, &pem)
            .map_err(|source| StateError::Bundle { path, source })?;
        Ok((!bundle.roots.is_empty()).then_some(bundle))
    }

    /// Keeps the bundle for the next start.
    pub(crate) fn keep_bundle(&self, bundle: &TrustBundle) -> Result<(), StateError> {
        self.write(BUNDLE_FILE, bundle.to_pem().as_bytes(), Secrecy::Public)
    }

    /// Tells whether this token led to an enrolment before. Such a token may not decide again whom to trust: the bundle
    /// has been kept since, and the roots that the token names may have been retired for a reason.
    pub(crate) fn is_spent(&self, token: &JoinToken) -> Result<bool, StateError> {
        let spent = read(&self.directory.join(SPENT_FILE), Secrecy::Public)?;
        Ok(spent.is_some_and(|mark| mark.trim() == mark_of(token)))
    }

    /// Remembers that this token led to an enrolment.
    pub(crate) fn mark_spent(&self, token: &JoinToken) -> Result<(), StateError> {
        self.write(SPENT_FILE, mark_of(token).as_bytes(), Secrecy::Public)
    }

    /// Writes beside the file and renames, so that a crash leaves the old one or the new one.
    fn write(&self, name: &str, contents: &[u8], secrecy: Secrecy) -> Result<(), StateError> {
        let path = self.directory.join(name);
        let scratch = self.directory.join(format!(".{name}.new"));
        match fs::remove_file(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &scratch)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let mode = match secrecy {
            Secrecy::Secret => 0o600,
            Secrecy::Public => 0o644,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&scratch)
            .map_err(io_error("create", &scratch))?;
        file.write_all(contents)
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", &scratch))?;
        fs::rename(&scratch, &path).map_err(io_error("replace", &path))?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(io_error("make durable", &self.directory))
    }
}

fn mark_of(token: &JoinToken) -> String {
    hex(&sha256(token.expose().as_bytes()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Secret,
    Public,
}

/// Reads a text; none if there is no such file. A secret must be readable by its owner only.
fn read(path: &Path, secrecy: Secrecy) -> Result<Option<Zeroizing<String>>, StateError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("look at", path)(error)),
    };
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(StateError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if secrecy == Secrecy::Secret && mode & 0o077 != 0 {
        return Err(StateError::Lax {
            path: path.to_owned(),
            mode,
            expected: "0600",
        });
    }
    let text = fs::read_to_string(path).map_err(io_error("read", path))?;
    Ok(Some(Zeroizing::new(text)))
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let files = EnrolmentFiles::open(&state).unwrap();
        let first = files.enrolment_key().unwrap();
        let again = files.enrolment_key().unwrap();
        assert_eq!(first.public_spki(), again.public_spki());
        let path = state.join(KEY_FILE);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&path)), (0o700, 0o600));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = files.enrolment_key().unwrap_err().to_string();
        assert!(
            error.contains("mode 0640, expected 0600"),
            "unexpected: {error}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "junk").unwrap();
        assert!(matches!(files.enrolment_key(), Err(StateError::Key { .. })));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            EnrolmentFiles::open(directory.path()),
            Err(StateError::Lax { .. })
        ));
    }

    #[test]
    fn no_bundle_and_an_empty_bundle_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let files = EnrolmentFiles::open(directory.path()).unwrap();
        let td = TrustDomain::parse("td").unwrap();
        assert_eq!(files.bundle(&td).unwrap(), None);
        let empty = TrustBundle::new(td.clone(), 3, Vec::new()).unwrap();
        files.keep_bundle(&empty).unwrap();
        assert_eq!(files.bundle(&td).unwrap(), None);
    }
}
