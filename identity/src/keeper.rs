//! The keeper: a background task that has a certificate before it is needed and renews it for ever.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
};

pub use crate::state::StateError;
use crate::{
    ca_address::{CaAddress, CaAddressError},
    enrol::{CaClient, CaTrust, EdgeCertificate, EnrolError},
    id::{SpiffeId, TrustDomain},
    key::PrivateKey,
    material::{self, MaterialReader},
    state::EnrolmentFiles,
};

mod follow;
mod task;

/// How a workload gets its identity.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// The trust domain that the CA signs for.
    pub trust_domain: TrustDomain,
    /// The CA, `https://host:port`.
    pub ca: String,
    /// File with a join token, for the first enrolment. It may appear later than the process.
    pub join_token: Option<PathBuf>,
    /// Where `enrolment.key` (0600) and `bundle.pem` are kept. The SVID's own key never touches the disk.
    pub state_dir: PathBuf,
    /// Which of the entitled identities; none when there is one.
    pub spiffe_id: Option<SpiffeId>,
    /// Wished lifetime of certificates; none leaves it to the CA.
    pub ttl: Option<Duration>,
}

/// Why the keeper cannot start, or cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The configured address is not one.
    #[error(transparent)]
    Address(#[from] CaAddressError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The configured identity is of another trust domain, or reserved.
    #[error("`{id}` cannot be the identity of a workload of trust domain `{trust_domain}`")]
    ForeignId {
        /// The configured identity.
        id: SpiffeId,
        /// The configured trust domain.
        trust_domain: TrustDomain,
    },
    /// Called outside a tokio runtime.
    #[error("the identity keeper needs a tokio runtime")]
    NoRuntime,
    /// There is no certificate yet to ask with.
    #[error("this workload has no certificate yet")]
    NoIdentity,
    /// The CA did not help.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

/// Where the keeper stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeeperState {
    /// No usable certificate: none yet, or it has expired.
    Waiting,
    /// A valid certificate, renewed on time.
    Valid,
    /// A certificate that is still valid, but the last attempt to renew it failed.
    Failing,
}

/// What the keeper knows, for readiness, `/status` and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperStatus {
    /// Where the keeper stands.
    pub state: KeeperState,
    /// The identity held.
    pub spiffe_id: Option<String>,
    /// Serial of the current certificate, lower-case hexadecimal.
    pub serial: Option<String>,
    /// Start of its validity.
    pub not_before: Option<SystemTime>,
    /// End of its validity.
    pub not_after: Option<SystemTime>,
    /// Certificates received after the first.
    pub renewals: u64,
    /// Why the last attempt failed; none after a success.
    pub last_error: Option<String>,
    /// Whether the CA answered the last time we spoke to it.
    pub ca_reachable: bool,
    /// Sequence of the bundle in force; 0 before the first.
    pub bundle_sequence: u64,
}

impl KeeperStatus {
    fn waiting() -> Self {
        Self {
            state: KeeperState::Waiting,
            spiffe_id: None,
            serial: None,
            not_before: None,
            not_after: None,
            renewals: 0,
            last_error: None,
            ca_reachable: false,
            bundle_sequence: 0,
        }
    }
}

/// The handle of the background task, which ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct IdentityKeeper {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ca: String,
    reader: MaterialReader,
    status: watch::Receiver<KeeperStatus>,
    wish: Arc<Notify>,
    tasks: [AbortHandle; 2],
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts the keeper on the current tokio runtime. Fails only for what waiting cannot cure: a wrong configuration or a
/// state directory that cannot be used. A CA that is down is waited for.
pub fn spawn(config: IdentityConfig) -> Result<IdentityKeeper, IdentityError> {
    let runtime = Handle::try_current().map_err(|_| IdentityError::NoRuntime)?;
    let address: CaAddress = config.ca.parse()?;
    if let Some(id) = &config.spiffe_id
        && (id.trust_domain() != config.trust_domain.as_str() || id.is_reserved())
    {
        return Err(IdentityError::ForeignId {
            id: id.clone(),
            trust_domain: config.trust_domain,
        });
    }
    let files = EnrolmentFiles::open(&config.state_dir)?;
    let enrolment_key: PrivateKey = files.enrolment_key()?;
    let (writer, reader) = material::channel();
    let (status_sender, status) = watch::channel(KeeperStatus::waiting());
    let wish = Arc::new(Notify::new());
    let ca = address.to_string();
    let (follower, events) = follow::start(&runtime, ca.clone(), reader.clone());
    let keeping = runtime.spawn(
        task::Task {
            config,
            ca: ca.clone(),
            files,
            enrolment_key,
            writer,
            reader: reader.clone(),
            status: status_sender,
            wish: Arc::clone(&wish),
            events,
        }
        .run(),
    );
    Ok(IdentityKeeper {
        inner: Arc::new(Inner {
            ca,
            reader,
            status,
            wish,
            tasks: [keeping.abort_handle(), follower],
        }),
    })
}

impl IdentityKeeper {
    /// The TLS material, as it is renewed.
    pub fn material(&self) -> MaterialReader {
        self.inner.reader.clone()
    }

    /// The keeper's status, as it changes.
    pub fn status(&self) -> watch::Receiver<KeeperStatus> {
        self.inner.status.clone()
    }

    /// Asks for a new certificate at once; the outcome shows in the status.
    pub fn renew_now(&self) {
        self.inner.wish.notify_one();
    }

    /// Gets an edge certificate for these names from the CA, as the current identity (laptop profile).
    pub async fn issue_edge(
        &self,
        dns: Vec<String>,
        ips: Vec<IpAddr>,
    ) -> Result<EdgeCertificate, IdentityError> {
        let reader = &self.inner.reader;
        let material = reader.current().ok_or(IdentityError::NoIdentity)?;
        let trust = CaTrust::Bundle(Arc::clone(&material.bundle));
        let mut client = CaClient::connect(&self.inner.ca, trust, Some(reader)).await?;
        Ok(client.issue_edge(&dns, &ips).await?)
    }
}

#[cfg(test)]
mod tests;
