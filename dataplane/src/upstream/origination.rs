//! [`Origination`]: TLS to a server outside of the mesh, from files that people keep; read again when they change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use identity::origination::{Proof, origination_config};
use parking_lot::Mutex;
use policies::cluster::{ClientCredential, TlsSettings, Verification};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// No file of certificates of use is longer.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why TLS to a server outside of the mesh cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OriginationError {
    /// A file cannot be read.
    #[error("`{}` cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file is not what it is named as.
    #[error("`{}` does not hold {expected} in PEM form", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// Key and certificate do not belong together, or the key cannot sign.
    #[error("the private key in `{}` cannot be used: {cause}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// A credential on a proxy that has none.
    #[error(
        "the credential `{0}` cannot be had: this proxy has no directory of credentials (a gateway has, `credentials`)"
    )]
    NoCredentials(Arc<str>),
    /// The name would leave the directory.
    #[error("`{0}` is not a credential name: expected letters, digits, `-`, `.` and `_`")]
    Name(Arc<str>),
    /// The system has no authorities.
    #[error("the system has no certificate authorities; name a file with `caCertificates`")]
    NoSystemAuthorities,
    /// The verifier cannot be made of what the files hold.
    #[error("{0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// What a change of a file is told by: length and time of last change.
type Stamp = Option<(u64, Option<SystemTime>)>;

/// TLS to one server outside of the mesh, as a document asks for it.
#[derive(Debug)]
pub struct Origination {
    settings: Arc<TlsSettings>,
    credentials: Option<Arc<Path>>,
    config: ArcSwap<ClientConfig>,
    generation: AtomicU64,
    /// The files as they were when `config` was made, or tried to be made.
    seen: Mutex<Vec<(PathBuf, Stamp)>>,
}

impl Origination {
    /// Reads the files that `settings` name; `credentials` is the proxy's directory of credentials.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be: TLS is never left out and never weakened.
    pub fn load(
        settings: Arc<TlsSettings>,
        credentials: Option<Arc<Path>>,
    ) -> Result<Self, OriginationError> {
        let files = Files::of(&settings, credentials.as_deref())?;
        let seen = files.stamps();
        let config = files.config(&settings)?;
        Ok(Self {
            settings,
            credentials,
            config: ArcSwap::new(config),
            generation: AtomicU64::new(1),
            seen: Mutex::new(seen),
        })
    }

    /// What the document says.
    pub fn settings(&self) -> &Arc<TlsSettings> {
        &self.settings
    }

    /// Counts the contents of the files from 1.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Reads the files again if they changed. What cannot be used leaves the last good content in force.
    pub fn refresh(&self) {
        let mut seen = self.seen.lock();
        let files = match Files::of(&self.settings, self.credentials.as_deref()) {
            Ok(files) => files,
            Err(_unchanged) => return,
        };
        let stamps = files.stamps();
        if *seen == stamps {
            return;
        }
        match files.config(&self.settings) {
            Ok(config) => {
                self.config.store(config);
                self.generation.fetch_add(1, Ordering::AcqRel);
                tracing::info!(files = ?paths(&stamps), "TLS files changed and are in force");
            }
            Err(error) => tracing::warn!(%error, "changed TLS files are not put in force"),
        }
        *seen = stamps;
    }

    /// The configuration of a handshake that offers `alpn`.
    pub(super) fn client_config(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config.load());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

fn paths(stamps: &[(PathBuf, Stamp)]) -> Vec<&Path> {
    stamps.iter().map(|(path, _)| path.as_path()).collect()
}

/// Where each part is read from.
struct Files {
    authorities: Authorities,
    revoked: Option<PathBuf>,
    /// Chain and key.
    client: Option<(PathBuf, PathBuf)>,
}

enum Authorities {
    System,
    File(PathBuf),
    /// Of a credential: the system's if the file is not there.
    IfThere(PathBuf),
}

impl Files {
    fn of(settings: &TlsSettings, credentials: Option<&Path>) -> Result<Self, OriginationError> {
        let mut files = Self {
            authorities: match &settings.ca_certificates {
                Some(path) => Authorities::File(PathBuf::from(&**path)),
                None => Authorities::System,
            },
            revoked: settings.ca_crl.as_deref().map(PathBuf::from),
            client: None,
        };
        match &settings.client {
            ClientCredential::None => {}
            ClientCredential::Files { certificate, key } => {
                files.client = Some((PathBuf::from(&**certificate), PathBuf::from(&**key)));
            }
            ClientCredential::Named { name, presented } => {
                let directory = credential(name, credentials)?;
                files.client =
                    presented.then(|| (directory.join("tls.crt"), directory.join("tls.key")));
                files.authorities = Authorities::IfThere(directory.join("ca.crt"));
            }
        }
        Ok(files)
    }

    fn stamps(&self) -> Vec<(PathBuf, Stamp)> {
        let authorities = match &self.authorities {
            Authorities::System => None,
            Authorities::File(path) | Authorities::IfThere(path) => Some(path),
        };
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        let all = authorities.into_iter().chain(&self.revoked).chain(client);
        all.map(|path| {
            let metadata = fs::metadata(path).ok();
            let stamp = metadata.map(|metadata| (metadata.len(), metadata.modified().ok()));
            (path.clone(), stamp)
        })
        .collect()
    }

    fn config(&self, settings: &TlsSettings) -> Result<Arc<ClientConfig>, OriginationError> {
        let certificate = self.client.as_ref().map(certified).transpose()?;
        let proof = match settings.verification {
            Verification::Skipped => Proof::Nothing,
            Verification::Full => Proof::Certificate {
                authorities: self.authorities()?,
                revoked: match &self.revoked {
                    Some(path) => revoked(path)?,
                    None => Vec::new(),
                },
                names: Arc::clone(&settings.subject_alt_names),
            },
        };
        Ok(origination_config(&proof, certificate)?)
    }

    fn authorities(&self) -> Result<Arc<RootCertStore>, OriginationError> {
        let path = match &self.authorities {
            Authorities::File(path) => path,
            Authorities::IfThere(path) if path.exists() => path,
            Authorities::System | Authorities::IfThere(_) => return system(),
        };
        let mut store = RootCertStore::empty();
        for certificate in certificates(path)? {
            store
                .add(certificate)
                .map_err(|_| OriginationError::Content {
                    path: path.clone(),
                    expected: "certificates of authorities",
                })?;
        }
        Ok(Arc::new(store))
    }
}

/// The system's authorities, read once.
fn system() -> Result<Arc<RootCertStore>, OriginationError> {
    static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_good, _bad) = store.add_parsable_certificates(found.certs);
        Arc::new(store)
    });
    if SYSTEM.is_empty() {
        return Err(OriginationError::NoSystemAuthorities);
    }
    Ok(Arc::clone(&SYSTEM))
}

fn credential(name: &Arc<str>, credentials: Option<&Path>) -> Result<PathBuf, OriginationError> {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if !plain || name.is_empty() || name.starts_with('.') {
        return Err(OriginationError::Name(Arc::clone(name)));
    }
    let directory = credentials.ok_or_else(|| OriginationError::NoCredentials(Arc::clone(name)))?;
    Ok(directory.join(&**name))
}

fn certified((chain, key): &(PathBuf, PathBuf)) -> Result<Arc<CertifiedKey>, OriginationError> {
    let private =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| OriginationError::Content {
            path: key.clone(),
            expected: "a private key",
        })?;
    let failed = |cause| OriginationError::Key {
        path: key.clone(),
        cause,
    };
    let signer = any_supported_type(&private).map_err(failed)?;
    let certified = CertifiedKey::new(certificates(chain)?, signer);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(cause) => Err(failed(cause)),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OriginationError> {
    let pem = read(path)?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(OriginationError::Content {
            path: path.to_owned(),
            expected: "certificates",
        }),
    }
}

fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, OriginationError> {
    let pem = read(path)?;
    match CertificateRevocationListDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        _ => Err(OriginationError::Content {
            path: path.to_owned(),
            expected: "lists of revoked certificates",
        }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OriginationError> {
    let failed = |cause| OriginationError::Read {
        path: path.to_owned(),
        cause,
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    fs::read(path).map_err(failed)
}
