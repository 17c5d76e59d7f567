//! The Admin service on a Unix socket (0600): tokens, entries, identities, status.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use identity::wire;
use identity::wire::admin_server::{Admin, AdminServer};
use runtime::lifecycle::Lifecycle;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Code, Request, Response, Status};

use crate::bundle::to_wire;
use crate::config::Profile;
use crate::issuance::Issuance;
use crate::issue::unix;
use crate::token::{self, TokenError};

/// Binds the socket so that only our own user can connect; takes the place of one that nobody answers on.
pub async fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("`{}` exists and is no socket", path.display()),
            ));
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("somebody answers on `{}` already", path.display()),
            ));
        }
        std::fs::remove_file(path)?;
    }
    // Between bind and chmod the mode is the umask's; `allowed` looks at the peer's user in any case.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves operators until the drain begins.
pub async fn serve(
    listener: UnixListener,
    issuance: Arc<Issuance>,
    profile: Profile,
    life: Lifecycle,
) -> anyhow::Result<()> {
    let admin = AdminServer::with_interceptor(Operators { issuance, profile }, allowed);
    Server::builder()
        .add_service(admin)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            life.drain_begun().await;
        })
        .await?;
    Ok(())
}

/// Our own user and root, as the kernel says.
fn allowed(request: Request<()>) -> Result<Request<()>, Status> {
    let credentials = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred);
    let own = rustix::process::geteuid().as_raw();
    match credentials {
        Some(peer) if peer.uid() == own || peer.uid() == 0 => Ok(request),
        _ => Err(Status::permission_denied(
            "only the authority's own user may administer it",
        )),
    }
}

#[derive(Debug)]
struct Operators {
    issuance: Arc<Issuance>,
    profile: Profile,
}

#[tonic::async_trait]
impl Admin for Operators {
    async fn create_join_token(
        &self,
        request: Request<wire::CreateJoinTokenRequest>,
    ) -> Result<Response<wire::CreateJoinTokenResponse>, Status> {
        let request = request.into_inner();
        let hash = self.issuance.bundle().current().hash();
        let store = &**self.issuance.store();
        let ttl = u64::from(request.ttl_seconds);
        let made = token::create(store, &request.name, ttl, hash, SystemTime::now()).await;
        let made = made.map_err(|error| {
            let code = match error {
                TokenError::Name(_) | TokenError::Life(_) => Code::InvalidArgument,
                _ => Code::Unavailable,
            };
            let text = anyhow::Chain::new(&error)
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            Status::new(code, text.join(": "))
        })?;
        tracing::info!(
            name = request.name,
            expires = made.expires,
            "join token made"
        );
        Ok(Response::new(wire::CreateJoinTokenResponse {
            token: made.token.expose().to_string(),
            expires_at_unix: seconds(made.expires),
        }))
    }

    async fn list_entries(
        &self,
        _: Request<wire::ListEntriesRequest>,
    ) -> Result<Response<wire::ListEntriesResponse>, Status> {
        let registry = self.issuance.registry();
        let entries = registry.entries.iter().map(|entry| wire::Entry {
            spiffe_id: entry.id.as_str().to_owned(),
            selectors: entry.selectors.iter().cloned().collect(),
            x509_svid_ttl_seconds: entry
                .ttl
                .map_or(0, |ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)),
            source: entry.source.to_string(),
        });
        Ok(Response::new(wire::ListEntriesResponse {
            entries: entries.collect(),
            generation: registry.generation,
            problems: registry.problems.clone(),
        }))
    }

    async fn list_identities(
        &self,
        _: Request<wire::ListIdentitiesRequest>,
    ) -> Result<Response<wire::ListIdentitiesResponse>, Status> {
        let found = self.issuance.store().identities();
        let found = found.map_err(|error| Status::unavailable(error.to_string()))?;
        let identities = found.into_iter().map(|identity| wire::Identity {
            spiffe_id: identity.spiffe_id,
            serial: identity.serial,
            not_before_unix: seconds(identity.not_before),
            not_after_unix: seconds(identity.not_after),
            issued_total: identity.issued_total,
        });
        Ok(Response::new(wire::ListIdentitiesResponse {
            identities: identities.collect(),
        }))
    }

    async fn get_status(
        &self,
        _: Request<wire::GetStatusRequest>,
    ) -> Result<Response<wire::GetStatusResponse>, Status> {
        let authority = self.issuance.authority();
        let totals = self.issuance.store().totals();
        Ok(Response::new(wire::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            profile: self.profile.as_str().to_owned(),
            trust_domain: self.issuance.trust_domain().as_str().to_owned(),
            root_not_after_unix: seconds(unix(authority.root_validity.not_after)),
            intermediate_not_after_unix: seconds(unix(authority.signer.validity().not_after)),
            entries_generation: self.issuance.registry().generation,
            issued_total: totals.issued,
            refused_total: totals.refused,
            bundle: Some(to_wire(&self.issuance.bundle().current())),
            edge_root: self
                .issuance
                .edge()
                .map(|edge| edge.root.to_vec())
                .unwrap_or_default(),
        }))
    }
}

fn seconds(unix: u64) -> i64 {
    i64::try_from(unix).unwrap_or(i64::MAX)
}
