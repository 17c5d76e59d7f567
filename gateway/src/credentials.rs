//! Certificates that people provide: `<directory>/<credentialName>/tls.crt` and `tls.key`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// No certificate chain of use is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Why a credential cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum CredentialError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("`{}` does not hold {expected} in PEM form", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// The key is of a kind that cannot sign handshakes.
    #[error("the private key in `{}` is not supported: expected RSA, ECDSA or Ed25519", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The two files do not belong together.
    #[error("the private key in `{}` does not belong to the first certificate of tls.crt", path.display())]
    Mismatch {
        /// The key's file.
        path: PathBuf,
    },
    /// The name would leave the directory.
    #[error("`{0}` is not a credential name: expected letters, digits, `-`, `.` and `_`")]
    Name(String),
}

/// The directory that credentials are read from.
#[derive(Debug, Clone)]
pub(crate) struct CredentialDirectory {
    path: PathBuf,
}

/// What a change of files is told by: path, length and time of last change.
pub(crate) type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl CredentialDirectory {
    /// Reads from `path`, which need not exist yet.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the credential called `name`; `None` when nobody has provided it.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Arc<CertifiedKey>>, CredentialError> {
        check_name(name)?;
        let directory = self.path.join(name);
        let certificate = directory.join("tls.crt");
        let key = directory.join("tls.key");
        if !certificate.exists() && !key.exists() {
            return Ok(None);
        }
        let signer =
            PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|_| CredentialError::Content {
                path: key.clone(),
                expected: "a private key",
            })?;
        let certified = certified_key(chain(&certificate)?, &signer, &key)?;
        Ok(Some(Arc::new(certified)))
    }

    /// Changes whenever a credential file does.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut files = Vec::new();
        let Ok(directories) = fs::read_dir(&self.path) else {
            return files;
        };
        for directory in directories.flatten() {
            for name in ["tls.crt", "tls.key"] {
                let path = directory.path().join(name);
                if let Ok(metadata) = fs::metadata(&path) {
                    files.push((path, metadata.len(), metadata.modified().ok()));
                }
            }
        }
        files.sort();
        files
    }
}

/// Joins a chain and its key; `origin` is named when they do not fit.
pub(crate) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    origin: &Path,
) -> Result<CertifiedKey, CredentialError> {
    let signer = any_supported_type(key).map_err(|_| CredentialError::Key {
        path: origin.to_owned(),
    })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(_) => Err(CredentialError::Mismatch {
            path: origin.to_owned(),
        }),
    }
}

fn check_name(name: &str) -> Result<(), CredentialError> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if plain && !name.is_empty() && !name.starts_with('.') {
        Ok(())
    } else {
        Err(CredentialError::Name(name.to_owned()))
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
    let content = CredentialError::Content {
        path: path.to_owned(),
        expected: "certificates",
    };
    let pem = read(path)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(content),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialError> {
    let failed = |source| CredentialError::Read {
        path: path.to_owned(),
        source,
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}
