//! Where authorities lie on disk, and what each profile allows to lie there.
//!
//! `root.pem` is the root's certificate; `root.key` its key, which may be taken away; `intermediate.pem` holds certificate
//! and key of the intermediate in one file, so that a crash can't leave a pair that does not fit.

use std::time::SystemTime;

use runtime::state_dir::StateDir;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::check::AuthorityError;
use super::sealed_key::{self, KeyForm, Passphrase, StoredKey};
use super::{Authority, Generation};
use crate::config::Profile;
use crate::issue::Signer;

/// The root's certificate.
pub const ROOT: &str = "root.pem";
/// The root's key.
pub const ROOT_KEY: &str = "root.key";
/// Certificate and key of the intermediate.
pub const INTERMEDIATE: &str = "intermediate.pem";
/// Certificate and key of the laptop's edge root.
pub const EDGE_ROOT: &str = "edge-root.pem";

/// The directory and how it may be used.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The state directory.
    pub dir: StateDir,
    /// What opens and seals keys.
    pub passphrase: Option<Passphrase>,
    /// What is allowed.
    pub profile: Profile,
    /// The trust domain of new authorities.
    pub trust_domain: String,
}

/// Whether the authority has issued before; then its root must not be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Nothing was ever issued.
    Fresh,
    /// The store has records.
    Issued,
}

impl Shelf {
    /// Loads the authority; on a laptop makes what is missing, and renews an intermediate whose last third has begun if
    /// the root key is here.
    pub fn authority(
        &self,
        history: History,
        now: SystemTime,
    ) -> Result<Authority, AuthorityError> {
        self.check_profile()?;
        let root = match self.certificate(ROOT)? {
            Some(root) => root,
            None => self.first_root(history, now)?,
        };
        let Some(generation) = self.generation(INTERMEDIATE)? else {
            return self.renewed(root, now)?.ok_or(AuthorityError::Missing {
                file: INTERMEDIATE.to_owned(),
                help: "make one with `portcullis-ca --config … renew-intermediate --root-dir DIR`",
            });
        };
        let authority = Authority::assemble(root.clone(), generation)?;
        let validity = authority.signer.validity();
        let life = validity
            .not_after
            .duration_since(validity.not_before)
            .unwrap_or_default();
        if now + life / 3 < validity.not_after {
            return Ok(authority);
        }
        match self.renewed(root, now)? {
            Some(renewed) => Ok(renewed),
            None if now >= validity.not_after => {
                Err(AuthorityError::Expired(self.dir.path().join(ROOT_KEY)))
            }
            None => Ok(authority),
        }
    }

    /// Loads or makes the edge root.
    pub fn edge(
        &self,
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, Signer), AuthorityError> {
        if let Some(generation) = self.generation(EDGE_ROOT)? {
            let (certificate, signer) = super::edge_signer(generation)?;
            // Nothing chains to it but our own leaves, so a new one is made before it gets in the way.
            if now + super::EDGE_ROOT_LIFE / 6 < signer.validity().not_after {
                return Ok((certificate, signer));
            }
        }
        let generation = super::new_edge_root(now)?;
        self.write_generation(EDGE_ROOT, &generation)?;
        tracing::info!("made the edge root");
        super::edge_signer(generation)
    }

    /// Makes a new intermediate below the root in `root_shelf`, making that root too if it is not there. What runs with
    /// the root key at hand, away from the daily authority.
    pub fn ceremony(
        &self,
        root_shelf: &Self,
        now: SystemTime,
    ) -> Result<Authority, AuthorityError> {
        let root = match root_shelf.certificate(ROOT)? {
            Some(root) => root,
            None => root_shelf.make_root(now)?,
        };
        match self.certificate(ROOT)? {
            Some(ours) if ours != root => {
                return Err(AuthorityError::Unfit {
                    file: ROOT.to_owned(),
                    reason: "it is another root than the one of the authority; workloads would not \
                             trust it yet: name it in `bundle.additionalRoots` first",
                });
            }
            Some(_) => {}
            None => self.write_certificate(ROOT, &root)?,
        }
        let key = root_shelf.key(ROOT_KEY)?.ok_or(AuthorityError::Missing {
            file: ROOT_KEY.to_owned(),
            help: "bring the directory that holds the root key",
        })?;
        self.intermediate_below(root, key.pair, now)
    }

    /// What the profile forbids is looked for before anything is read from it.
    fn check_profile(&self) -> Result<(), AuthorityError> {
        if self.profile != Profile::Production {
            return Ok(());
        }
        let forbidden = |text: String| Err(AuthorityError::Forbidden(text));
        let root_key = self.dir.path().join(ROOT_KEY);
        if root_key.exists() {
            return forbidden(format!(
                "the root key lies in `{}`; take it offline (it is needed only to renew the \
                 intermediate) and destroy this copy",
                root_key.display()
            ));
        }
        if self.passphrase.is_none() {
            return forbidden(
                "the intermediate's key must be sealed; name a file with its passphrase in \
                 `keys.passphraseFile` (for example a systemd credential). Keys in a KMS or HSM are \
                 not supported yet"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn first_root(
        &self,
        history: History,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let missing = |help| AuthorityError::Missing {
            file: ROOT.to_owned(),
            help,
        };
        if history == History::Issued || self.dir.path().join(INTERMEDIATE).exists() {
            return Err(missing(
                "this authority has issued certificates already; a new root would cut off every \
                 workload: restore the file from a backup",
            ));
        }
        if self.profile == Profile::Production {
            return Err(missing(
                "profile `production` makes no root here: run `portcullis-ca --config … \
                 renew-intermediate --root-dir DIR` once, with DIR on storage that you take offline",
            ));
        }
        let root = self.make_root(now)?;
        tracing::info!(dir = %self.dir.path().display(), "made the root authority");
        Ok(root)
    }

    fn make_root(&self, now: SystemTime) -> Result<CertificateDer<'static>, AuthorityError> {
        let generation = super::new_root(&self.trust_domain, now)?;
        let key =
            sealed_key::write(&generation.key, self.passphrase.as_ref()).map_err(|source| {
                AuthorityError::Key {
                    file: ROOT_KEY.to_owned(),
                    source,
                }
            })?;
        self.write(ROOT_KEY, key.as_bytes())?;
        self.write_certificate(ROOT, &generation.certificate)?;
        Ok(generation.certificate)
    }

    /// A new intermediate, if the root key is here.
    fn renewed(
        &self,
        root: CertificateDer<'static>,
        now: SystemTime,
    ) -> Result<Option<Authority>, AuthorityError> {
        match self.key(ROOT_KEY)? {
            Some(key) => self.intermediate_below(root, key.pair, now).map(Some),
            None => Ok(None),
        }
    }

    fn intermediate_below(
        &self,
        root: CertificateDer<'static>,
        key: rcgen::KeyPair,
        now: SystemTime,
    ) -> Result<Authority, AuthorityError> {
        let signer = super::root_signer(Generation {
            certificate: root.clone(),
            key,
        })?;
        let generation = super::new_intermediate(&self.trust_domain, &signer, now)?;
        self.write_generation(INTERMEDIATE, &generation)?;
        tracing::info!(dir = %self.dir.path().display(), "made a new intermediate");
        Authority::assemble(root, generation)
    }

    fn generation(&self, file: &str) -> Result<Option<Generation>, AuthorityError> {
        let Some(text) = self.read(file)? else {
            return Ok(None);
        };
        let certificate = certificate_in(file, &text)?;
        let key = self.open_key(file, &text)?;
        Ok(Some(Generation {
            certificate,
            key: key.pair,
        }))
    }

    fn key(&self, file: &str) -> Result<Option<StoredKey>, AuthorityError> {
        self.read(file)?
            .map(|text| self.open_key(file, &text))
            .transpose()
    }

    fn open_key(&self, file: &str, text: &[u8]) -> Result<StoredKey, AuthorityError> {
        let key = sealed_key::read(text, self.passphrase.as_ref()).map_err(|source| {
            AuthorityError::Key {
                file: file.to_owned(),
                source,
            }
        })?;
        if self.profile == Profile::Production && key.form == KeyForm::Plain {
            return Err(AuthorityError::Forbidden(format!(
                "the key in `{}` is not sealed; make a new intermediate with `portcullis-ca --config … \
                 renew-intermediate --root-dir DIR`",
                self.dir.path().join(file).display()
            )));
        }
        Ok(key)
    }

    fn certificate(&self, file: &str) -> Result<Option<CertificateDer<'static>>, AuthorityError> {
        self.read(file)?
            .map(|text| certificate_in(file, &text))
            .transpose()
    }

    fn write_certificate(
        &self,
        file: &str,
        certificate: &CertificateDer<'_>,
    ) -> Result<(), AuthorityError> {
        self.write(
            file,
            pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec())).as_bytes(),
        )
    }

    fn write_generation(&self, file: &str, generation: &Generation) -> Result<(), AuthorityError> {
        let certificate = pem::Pem::new("CERTIFICATE", generation.certificate.to_vec());
        let key =
            sealed_key::write(&generation.key, self.passphrase.as_ref()).map_err(|source| {
                AuthorityError::Key {
                    file: file.to_owned(),
                    source,
                }
            })?;
        let text = Zeroizing::new(format!("{}{}", pem::encode(&certificate), *key));
        self.write(file, text.as_bytes())
    }

    fn read(&self, file: &str) -> Result<Option<Zeroizing<Vec<u8>>>, AuthorityError> {
        let read = self
            .dir
            .read_secret(file)
            .map(|found| found.map(Zeroizing::new));
        read.map_err(|source| AuthorityError::File {
            file: file.to_owned(),
            source: source.into(),
        })
    }

    fn write(&self, file: &str, content: &[u8]) -> Result<(), AuthorityError> {
        let wrote = self.dir.write_secret(file, content);
        wrote.map_err(|source| AuthorityError::File {
            file: file.to_owned(),
            source: source.into(),
        })
    }
}

fn certificate_in(file: &str, text: &[u8]) -> Result<CertificateDer<'static>, AuthorityError> {
    let none = || AuthorityError::NoCertificate(file.to_owned());
    let blocks = pem::parse_many(text).map_err(|_| none())?;
    let block = blocks
        .into_iter()
        .find(|block| block.tag() == "CERTIFICATE")
        .ok_or_else(none)?;
    Ok(CertificateDer::from(block.into_contents()))
}

#[cfg(test)]
mod tests;
