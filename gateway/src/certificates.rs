//! Keeps the certificate of every TLS server at hand and up to date: from the directory, else from the CA.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::{PolicyStore, Snapshot};
use identity::keeper::IdentityKeeper;
use policies::host::HostPattern;
use policies::listener::{GatewayListeners, ListenerTls};
use runtime::health::ConditionHandle;
use runtime::published::Published;
use runtime::state_dir::StateDir;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use crate::credentials::{CredentialDirectory, Fingerprint};
use crate::edge::EdgeCredential;
use crate::tls::{TlsServers, TlsTerminator};

/// How often files and expiry are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The root of the CA's edge certificates, in the state directory, for `curl --cacert`.
pub(crate) const EDGE_ROOT_FILE: &str = "edge-root.pem";

/// What a credential is missing, by name.
pub(crate) type CredentialProblems = BTreeMap<Arc<str>, String>;

/// Where certificates come from, and where they go.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The listeners.
    pub(crate) policies: PolicyStore,
    /// What people provide.
    pub(crate) directory: Option<CredentialDirectory>,
    /// Who issues what they do not; a laptop only.
    pub(crate) edge: Option<IdentityKeeper>,
    /// Where the edge root is left.
    pub(crate) state: Arc<StateDir>,
    /// Performs the handshakes.
    pub(crate) terminator: Arc<TlsTerminator>,
    /// The process's cryptography.
    pub(crate) provider: Arc<CryptoProvider>,
    /// Becomes ready once every certificate that can be had is there; then it stays so, because a
    /// new server without certificate must not stop the others.
    pub(crate) ready: Option<ConditionHandle>,
    /// What is missing, for `/status`.
    pub(crate) problems: Arc<Published<CredentialProblems>>,
}

/// What the last look found.
#[derive(Debug, Default)]
struct Seen {
    generation: u64,
    reloads: u64,
    files: Fingerprint,
}

impl Certificates {
    /// Follows the listeners, the files and the clock, for ever.
    pub(crate) async fn run(mut self, reloads: tokio::sync::watch::Receiver<u64>) {
        if let Some(keeper) = &self.edge {
            // The CA is asked with our identity; before there is one, asking only costs time.
            let mut material = keeper.material();
            while material.current().is_none() {
                material.changed().await;
            }
        }
        let mut moved = self.policies.subscribe();
        let mut seen: Option<Seen> = None;
        let mut provided: HashMap<Arc<str>, Arc<CertifiedKey>> = HashMap::new();
        let mut edge: HashMap<Arc<str>, EdgeCredential> = HashMap::new();
        loop {
            let snapshot = self.policies.ready().await;
            let now = self.look(&snapshot, *reloads.borrow());
            let changed = seen.as_ref().is_none_or(|seen| !seen.equals(&now));
            if changed || self.is_edge_due(&edge) {
                self.refresh(&snapshot, &mut provided, &mut edge).await;
                seen = Some(now);
            }
            tokio::select! {
                _ = moved.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn look(&self, snapshot: &Snapshot, reloads: u64) -> Seen {
        let files = self
            .directory
            .as_ref()
            .map(CredentialDirectory::fingerprint);
        Seen {
            generation: snapshot.generation,
            reloads,
            files: files.unwrap_or_default(),
        }
    }

    fn is_edge_due(&self, edge: &HashMap<Arc<str>, EdgeCredential>) -> bool {
        let (now, instant) = (SystemTime::now(), Instant::now());
        self.edge.is_some()
            && edge
                .values()
                .any(|credential| credential.is_due(now, instant))
    }

    /// Finds every certificate anew and puts them in force. What cannot be read keeps its last good
    /// certificate.
    async fn refresh(
        &mut self,
        snapshot: &Snapshot,
        provided: &mut HashMap<Arc<str>, Arc<CertifiedKey>>,
        edge: &mut HashMap<Arc<str>, EdgeCredential>,
    ) {
        let none = GatewayListeners::default();
        let listeners = snapshot.listeners.as_ref().unwrap_or(&none);
        let mut problems = CredentialProblems::new();
        let mut certificates = HashMap::new();
        let mut standing_in = HashMap::new();
        for (name, hosts) in wanted(listeners) {
            match self
                .directory
                .as_ref()
                .map(|directory| directory.read(&name))
            {
                Some(Ok(Some(certificate))) => {
                    certificates.insert(name, certificate);
                    continue;
                }
                Some(Err(error)) => {
                    problems.insert(Arc::clone(&name), error.to_string());
                    if let Some(last_good) = provided.get(&name) {
                        certificates.insert(name, Arc::clone(last_good));
                        continue;
                    }
                }
                Some(Ok(None)) | None => {}
            }
            let Some(keeper) = self.edge.clone() else {
                problems
                    .entry(name)
                    .or_insert_with(|| "no such credential".to_owned());
                continue;
            };
            let mut credential = EdgeCredential::new(hosts.into_iter()).carry(edge.remove(&name));
            self.issue_if_due(&keeper, &name, &mut credential).await;
            if let Some(key) = credential.key() {
                certificates.insert(Arc::clone(&name), Arc::clone(key));
            }
            if let Some(problem) = &credential.problem {
                problems.insert(Arc::clone(&name), problem.clone());
            }
            standing_in.insert(name, credential);
        }
        *edge = standing_in;
        self.publish(listeners, &certificates, problems);
        *provided = certificates;
    }

    async fn issue_if_due(
        &self,
        keeper: &IdentityKeeper,
        name: &str,
        credential: &mut EdgeCredential,
    ) {
        if !credential.is_due(SystemTime::now(), Instant::now()) {
            return;
        }
        match credential.renew(keeper).await {
            Ok(()) => info!(credential = name, "edge certificate issued"),
            Err(error) => warn!(credential = name, %error, "no edge certificate"),
        }
        if let Some(root) = credential.root() {
            let pem = pem(root);
            if let Err(error) = self.state.write_secret(EDGE_ROOT_FILE, pem.as_bytes()) {
                warn!(%error, "the edge root cannot be kept for clients");
            }
        }
    }

    fn publish(
        &mut self,
        listeners: &GatewayListeners,
        certificates: &HashMap<Arc<str>, Arc<CertifiedKey>>,
        problems: CredentialProblems,
    ) {
        match TlsServers::new(listeners, certificates, &self.provider) {
            Ok(servers) => self.terminator.publish(servers),
            Err(error) => warn!(%error, "the TLS servers stay as they were"),
        }
        let known = self.problems.load();
        for (name, problem) in &problems {
            if known.get(name) != Some(problem) {
                warn!(credential = %name, problem, "credential not usable");
            }
        }
        drop(known);
        // A certificate that the CA has yet to issue is worth waiting for; one that nobody has
        // provided is not: the other servers work without it.
        let awaited = problems
            .keys()
            .find(|name| !certificates.contains_key(*name));
        match (awaited.filter(|_| self.edge.is_some()), &self.ready) {
            (Some(name), Some(ready)) => {
                ready.set_not_ready(format!("no certificate for `{name}` yet"));
            }
            (None, Some(ready)) => {
                ready.set_ready();
                self.ready = None;
            }
            (_, None) => {}
        }
        self.problems.store(Arc::new(problems));
    }
}

impl Seen {
    fn equals(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.reloads == other.reloads
            && self.files == other.files
    }
}

/// Every credential that a TLS server names, with the hosts it serves.
fn wanted(listeners: &GatewayListeners) -> BTreeMap<Arc<str>, Vec<HostPattern>> {
    let mut wanted: BTreeMap<Arc<str>, Vec<HostPattern>> = BTreeMap::new();
    for server in listeners.ports.iter().flat_map(|port| &port.servers) {
        if let Some(tls) = server.tls.as_ref().and_then(ListenerTls::terms) {
            let hosts = wanted.entry(Arc::clone(&tls.credential_name)).or_default();
            hosts.extend(server.hosts.iter().cloned());
        }
    }
    wanted
}

fn pem(certificate: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
