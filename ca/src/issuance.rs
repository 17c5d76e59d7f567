//! One call from request to recorded certificate: attest, ask the registry, sign, record, answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use identity::key::PrivateKey;
use identity::svid::Svid;
use identity::wire::{
    EnrolRequest, IssueEdgeRequest, IssueEdgeResponse, IssueResponse, RenewRequest,
};
use identity::{PeerIdentity, SpiffeId, TrustDomain};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::attest::{self, Attested};
use crate::authority::Authority;
use crate::bundle::{BundlePublisher, to_wire};
use crate::csr::VerifiedCsr;
use crate::edge::{Edge, EdgeNames};
use crate::issue::{self, Leaf, unix};
use crate::limits::{CallerLimit, Rate, network};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::registry::{Entry, Registry};
use crate::store::record::Method;
use crate::store::{Issued, Store, StoreError};

/// The shortest life that may be asked for.
const MIN_TTL: Duration = Duration::from_secs(10);
/// The life of our own server certificate.
const OWN_TTL: Duration = Duration::from_hours(24);

/// How long workloads' certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// If neither caller nor entry says anything.
    pub default: Duration,
    /// At most.
    pub max: Duration,
}

/// How much may be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// By one network address, before anything is known of the caller.
    pub per_address: Rate,
    /// By one proved caller.
    pub per_caller: Rate,
    /// Calls that are worked on at once.
    pub concurrent: usize,
}

/// Who calls, as far as the connection tells.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Its address.
    pub address: Option<SocketAddr>,
    /// The SVID that the TLS layer verified.
    pub peer: Option<PeerIdentity>,
    /// The id of this request, for the log, the record and the answer.
    pub request: String,
}

/// The parts of the authority that answer calls.
#[derive(Debug)]
pub struct Issuance {
    trust_domain: TrustDomain,
    lifetimes: Lifetimes,
    authority: ArcSwap<Authority>,
    edge: Option<Edge>,
    registry: ArcSwap<Registry>,
    store: Arc<dyn Store>,
    bundle: BundlePublisher,
    metrics: Metrics,
    by_address: CallerLimit<IpAddr>,
    by_caller: CallerLimit<[u8; 32]>,
    at_once: Semaphore,
}

/// What [`Issuance`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// How much may be asked.
    pub limits: Limits,
    /// What signs workloads.
    pub authority: Authority,
    /// What signs the edge, if anything does.
    pub edge: Option<Edge>,
    /// Where records go.
    pub store: Arc<dyn Store>,
    /// The bundle in force.
    pub bundle: BundlePublisher,
    /// What is counted.
    pub metrics: Metrics,
}

impl Issuance {
    /// Puts the parts together; nobody may have anything until [`Issuance::put_entries`].
    pub fn new(parts: Parts) -> Self {
        let issuance = Self {
            trust_domain: parts.trust_domain,
            lifetimes: parts.lifetimes,
            authority: ArcSwap::from_pointee(with_edge_key(parts.authority, parts.edge.as_ref())),
            edge: parts.edge,
            registry: ArcSwap::default(),
            store: parts.store,
            bundle: parts.bundle,
            metrics: parts.metrics,
            by_address: CallerLimit::new(parts.limits.per_address),
            by_caller: CallerLimit::new(parts.limits.per_caller),
            at_once: Semaphore::new(parts.limits.concurrent),
        };
        issuance.show_authority();
        issuance
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What signs now.
    pub fn authority(&self) -> Arc<Authority> {
        self.authority.load_full()
    }

    /// The edge root, if there is one.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// The entries in force.
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// The bundle in force.
    pub fn bundle(&self) -> &BundlePublisher {
        &self.bundle
    }

    /// The records.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Puts a set of registration entries in force.
    pub fn put_entries(&self, registry: Registry) {
        self.metrics
            .entries
            .set(i64::try_from(registry.entries.len()).unwrap_or(i64::MAX));
        self.metrics
            .entries_rejected
            .set(i64::from(!registry.problems.is_empty()));
        self.registry.store(Arc::new(registry));
    }

    /// Signs with another intermediate from now on.
    pub fn put_authority(&self, authority: Authority) {
        self.authority
            .store(Arc::new(with_edge_key(authority, self.edge.as_ref())));
        self.show_authority();
    }

    /// Answers `Enrol`.
    pub async fn enrol(
        &self,
        request: &EnrolRequest,
        caller: &Caller,
        now: SystemTime,
    ) -> Result<IssueResponse, Refusal> {
        let _place = self.admit(caller)?;
        let attested = attest::enrolment(&*self.store, request, now)?;
        self.limit(crate::csr::sha256(&request.enrolment_key))?;
        let authority = self.authority.load_full();
        let csr = VerifiedCsr::verify(&request.csr, &authority.own_keys)?;
        let registry = self.registry.load_full();
        let entry = choose(&registry, &attested, &request.spiffe_id)?;
        self.issue(
            &authority,
            caller,
            Grant {
                attested,
                entry,
                csr,
                ttl: request.ttl_seconds,
            },
            now,
        )
        .await
    }

    /// Answers `Renew`.
    pub async fn renew(
        &self,
        request: &RenewRequest,
        caller: &Caller,
        now: SystemTime,
    ) -> Result<IssueResponse, Refusal> {
        let _place = self.admit(caller)?;
        let peer = caller.peer.as_ref().ok_or(Refusal::NoCertificate)?;
        self.limit(crate::csr::sha256(peer.id.as_str().as_bytes()))?;
        let attested = attest::renewal(&*self.store, peer, now)?;
        let authority = self.authority.load_full();
        let csr = VerifiedCsr::verify(&request.csr, &authority.own_keys)?;
        let registry = self.registry.load_full();
        let entry = registry
            .allows(&peer.id, &attested.evidence)
            .ok_or_else(|| Refusal::NoEntry {
                evidence: spell(&attested),
                nearest: registry.nearest(&attested.evidence),
            })?;
        self.issue(
            &authority,
            caller,
            Grant {
                attested,
                entry,
                csr,
                ttl: request.ttl_seconds,
            },
            now,
        )
        .await
    }

    /// Answers `IssueEdge`.
    pub async fn issue_edge(
        &self,
        request: &IssueEdgeRequest,
        caller: &Caller,
        now: SystemTime,
    ) -> Result<IssueEdgeResponse, Refusal> {
        let _place = self.admit(caller)?;
        let peer = caller.peer.as_ref().ok_or(Refusal::NoCertificate)?;
        self.limit(crate::csr::sha256(peer.id.as_str().as_bytes()))?;
        let edge = self.edge.as_ref().ok_or(Refusal::NoEdge)?;
        if !edge.callers.contains(&peer.id) {
            return Err(Refusal::NotEdgeCaller(peer.id.as_str().to_owned()));
        }
        let attested = attest::renewal(&*self.store, peer, now)?;
        let registry = self.registry.load_full();
        let entry = registry
            .allows(&peer.id, &attested.evidence)
            .ok_or_else(|| Refusal::NoEntry {
                evidence: spell(&attested),
                nearest: registry.nearest(&attested.evidence),
            })?;
        let names = EdgeNames::parse(&request.dns_names, &request.ip_addresses)?;
        let csr = VerifiedCsr::verify(&request.csr, &self.authority.load().own_keys)?;
        csr.names_within(&names.spelled())?;
        let begun = Instant::now();
        let leaf = edge.issue(csr.public_key(), &names, now)?;
        let record = Issued {
            method: Method::Edge.into(),
            names: names.spelled(),
            issuer: crate::csr::sha256(&edge.root).to_vec(),
            evidence: attested.evidence.into_iter().collect(),
            entry: entry.source.to_string(),
            ..record(&leaf, &peer.id, csr.key_hash(), caller, now)
        };
        self.store.record_issued(record, None).await?;
        self.count(Method::Edge, begun);
        Ok(IssueEdgeResponse {
            chain: vec![leaf.der.to_vec()],
            root: edge.root.to_vec(),
        })
    }

    /// Makes the server's own SVID, `spiffe://<trust domain>/portcullis/ca`, and presents the roots with it, so that a
    /// caller with a join token can find the bundle by its hash.
    pub async fn own_server(&self, now: SystemTime) -> anyhow::Result<Svid> {
        let authority = self.authority.load_full();
        let key = PrivateKey::generate()?;
        let csr = VerifiedCsr::verify(&key.csr()?, &authority.own_keys)?;
        let id = self.trust_domain.ca_id();
        let leaf = issue::workload(&authority.signer, csr.public_key(), &id, OWN_TTL, now)?;
        let caller = Caller::default();
        let record = Issued {
            method: Method::OwnServer.into(),
            issuer: authority.issuer.to_vec(),
            ..record(&leaf, &id, csr.key_hash(), &caller, now)
        };
        self.store.record_issued(record, None).await?;
        let mut chain = vec![leaf.der, authority.intermediate.clone()];
        chain.extend(self.bundle.current().roots.iter().cloned());
        Ok(Svid::new(chain, key)?)
    }

    async fn issue(
        &self,
        authority: &Authority,
        caller: &Caller,
        grant: Grant<'_>,
        now: SystemTime,
    ) -> Result<IssueResponse, Refusal> {
        let Grant {
            attested,
            entry,
            csr,
            ttl,
        } = grant;
        csr.names_only(&entry.id)?;
        let ttl = self.lifetime(entry, ttl)?;
        let begun = Instant::now();
        let leaf = issue::workload(&authority.signer, csr.public_key(), &entry.id, ttl, now)?;
        let record = Issued {
            method: attested.method.into(),
            evidence: attested.evidence.into_iter().collect(),
            issuer: authority.issuer.to_vec(),
            entry: entry.source.to_string(),
            ..record(&leaf, &entry.id, csr.key_hash(), caller, now)
        };
        // The certificate exists only in this function until its record is on disk.
        let token = attested
            .admission
            .as_ref()
            .map(|a| a.enrolment.token_name.clone());
        match self.store.record_issued(record, attested.admission).await {
            Ok(()) => {}
            Err(StoreError::TokenTaken) => {
                return Err(Refusal::TokenSpent {
                    name: token.unwrap_or_default(),
                });
            }
            Err(error) => return Err(error.into()),
        }
        self.count(attested.method, begun);
        tracing::info!(
            request = caller.request,
            spiffe_id = entry.id.as_str(),
            serial = leaf.serial,
            method = attested.method.as_str(),
            not_after = unix(leaf.validity.not_after),
            "certificate issued"
        );
        Ok(IssueResponse {
            chain: vec![leaf.der.to_vec(), authority.intermediate.to_vec()],
            bundle: Some(to_wire(&self.bundle.current())),
        })
    }

    fn lifetime(&self, entry: &Entry, asked_seconds: u32) -> Result<Duration, Refusal> {
        let allowed = entry
            .ttl
            .map_or(self.lifetimes.max, |ttl| ttl.min(self.lifetimes.max));
        if asked_seconds == 0 {
            return Ok(entry.ttl.unwrap_or(self.lifetimes.default).min(allowed));
        }
        let asked = Duration::from_secs(u64::from(asked_seconds));
        if asked < MIN_TTL {
            return Err(Refusal::Malformed("`ttl_seconds` is below 10"));
        }
        Ok(asked.min(allowed))
    }

    /// A place among the calls that are worked on, unless the address asks too often.
    fn admit(&self, caller: &Caller) -> Result<SemaphorePermit<'_>, Refusal> {
        let address = caller.address.map(|address| network(address.ip()));
        if let Some(address) = address
            && !self.by_address.admit(address, Instant::now())
        {
            return Err(Refusal::Limited("this address"));
        }
        self.at_once.try_acquire().map_err(|_| Refusal::Busy)
    }

    fn limit(&self, caller: [u8; 32]) -> Result<(), Refusal> {
        if self.by_caller.admit(caller, Instant::now()) {
            Ok(())
        } else {
            Err(Refusal::Limited("this caller"))
        }
    }

    fn count(&self, method: Method, begun: Instant) {
        self.metrics
            .issued
            .with_label_values(&[method.as_str()])
            .inc();
        self.metrics.latency.observe(begun.elapsed().as_secs_f64());
    }

    fn show_authority(&self) {
        let authority = self.authority.load();
        let seconds = |time| Duration::from_secs(unix(time)).as_secs_f64();
        self.metrics
            .root_not_after
            .set(seconds(authority.root_validity.not_after));
        let end = authority.signer.validity().not_after;
        self.metrics.intermediate_not_after.set(seconds(end));
    }
}

/// The edge root's key is one of ours as well.
fn with_edge_key(mut authority: Authority, edge: Option<&Edge>) -> Authority {
    authority
        .own_keys
        .extend(edge.map(|edge| crate::csr::sha256(&edge.signer.public_key())));
    authority
}

/// What was decided before anything is signed.
struct Grant<'a> {
    attested: Attested,
    entry: &'a Entry,
    csr: VerifiedCsr,
    ttl: u32,
}

/// The identity a caller gets: the one it named, if it may have it, or the only one.
fn choose<'a>(
    registry: &'a Registry,
    attested: &Attested,
    wanted: &str,
) -> Result<&'a Entry, Refusal> {
    let entitled = registry.entitled(&attested.evidence);
    let listed = || {
        let names: Vec<_> = entitled.iter().map(|entry| entry.id.as_str()).collect();
        format!("`{}`", names.join("`, `"))
    };
    match entitled.as_slice() {
        [] => Err(Refusal::NoEntry {
            evidence: spell(attested),
            nearest: registry.nearest(&attested.evidence),
        }),
        [only] if wanted.is_empty() => Ok(only),
        several if wanted.is_empty() => {
            debug_assert!(several.len() > 1);
            Err(Refusal::Ambiguous { entitled: listed() })
        }
        entries => entries
            .iter()
            .copied()
            .find(|entry| entry.id.as_str() == wanted)
            .ok_or_else(|| Refusal::NotEntitled {
                wanted: wanted
                    .chars()
                    .take(256)
                    .flat_map(char::escape_default)
                    .collect(),
                entitled: listed(),
            }),
    }
}

fn spell(attested: &Attested) -> String {
    let selectors: Vec<_> = attested.evidence.iter().map(String::as_str).collect();
    format!("`{}`", selectors.join("`, `"))
}

/// The part of a record that every kind of certificate has.
fn record(
    leaf: &Leaf,
    id: &SpiffeId,
    key_hash: [u8; 32],
    caller: &Caller,
    now: SystemTime,
) -> Issued {
    Issued {
        at: unix(now),
        spiffe_id: id.as_str().to_owned(),
        serial: leaf.serial.clone(),
        not_before: unix(leaf.validity.not_before),
        not_after: unix(leaf.validity.not_after),
        fingerprint: leaf.fingerprint.to_vec(),
        public_key: key_hash.to_vec(),
        from: caller
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        request: caller.request.clone(),
        ..Issued::default()
    }
}

#[cfg(test)]
mod tests;
