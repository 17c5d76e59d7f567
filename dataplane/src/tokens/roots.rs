//! Whom `https` key servers must be certified by: the system's authorities, and those of `jwks.caFile`.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::OnceCell;

use super::error::TokensError;

/// The trust for `https`; the system's part is read when it is needed first.
#[derive(Debug)]
pub(super) struct Roots {
    own: RootCertStore,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            own: RootCertStore::empty(),
            config: OnceCell::new(),
        }
    }
}

impl Roots {
    /// Reads `jwks.caFile`.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, TokensError> {
        let mut roots = Self::default();
        if let Some(path) = ca_file {
            let error = |cause: String| TokensError::CaFile {
                path: path.to_owned(),
                cause,
            };
            let text = std::fs::read(path).map_err(|cause| error(cause.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|cause| error(cause.to_string()))?;
                roots
                    .own
                    .add(certificate)
                    .map_err(|cause| error(cause.to_string()))?;
            }
            if roots.own.is_empty() {
                return Err(error("it has none".to_owned()));
            }
        }
        Ok(roots)
    }

    /// The TLS configuration of a client of key servers.
    pub(super) async fn client(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let made = self.config.get_or_try_init(async || {
            let system = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            let mut roots = self.own.clone();
            if let Ok(system) = system {
                let (_good, _bad) = roots.add_parsable_certificates(system.certs);
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(Arc::new(config))
        });
        made.await.map(Arc::clone)
    }
}
