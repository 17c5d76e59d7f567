//! The trust bundle as it is given out, and pushed when it changes.

use std::sync::Arc;
use std::time::Duration;

use identity::TrustDomain;
use identity::bundle::{BundleError, TrustBundle};
use identity::wire;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::store::{Store, StoreError};

/// How often a consumer that can't be pushed to should ask (SPIFFE Trust Domain and Bundle §4.1.2).
pub const REFRESH_HINT: Duration = Duration::from_mins(5);

/// Roots in a bundle. The server presents leaf, intermediate and all roots, and peers look at 16 certificates at most.
pub const MAX_ROOTS: usize = 14;

/// Why a bundle could not be put in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleChangeError {
    /// One of the roots is unfit.
    #[error("the bundle can't be used")]
    Bundle(#[from] BundleError),
    /// Too many roots.
    #[error("the bundle has {0} roots; {MAX_ROOTS} at most")]
    TooMany(usize),
    /// The sequence number could not be made durable.
    #[error("the bundle's sequence number could not be recorded")]
    Store(#[from] StoreError),
}

/// Our root first, then the `others`, without repeats, under the sequence number that the store gives it.
pub async fn compose(
    store: &dyn Store,
    trust_domain: &TrustDomain,
    own: &CertificateDer<'static>,
    others: &[CertificateDer<'static>],
) -> Result<Arc<TrustBundle>, BundleChangeError> {
    let mut roots = vec![own.clone()];
    for other in others {
        if !roots.contains(other) {
            roots.push(other.clone());
        }
    }
    if roots.len() > MAX_ROOTS {
        return Err(BundleChangeError::TooMany(roots.len()));
    }
    let mut bundle = TrustBundle::new(trust_domain.clone(), 0, roots)?;
    bundle.sequence = store.bundle_sequence(bundle.hash()).await?;
    Ok(Arc::new(bundle))
}

/// The bundle in force.
#[derive(Debug)]
pub struct BundlePublisher(watch::Sender<Arc<TrustBundle>>);

impl BundlePublisher {
    /// Starts with `bundle`.
    pub fn new(bundle: Arc<TrustBundle>) -> Self {
        Self(watch::Sender::new(bundle))
    }

    /// Puts `bundle` in force and pushes it, if it is another one.
    pub fn publish(&self, bundle: Arc<TrustBundle>) -> bool {
        self.0.send_if_modified(|current| {
            let changed = current.sequence != bundle.sequence;
            if changed {
                *current = bundle;
            }
            changed
        })
    }

    /// The bundle in force.
    pub fn current(&self) -> Arc<TrustBundle> {
        Arc::clone(&self.0.borrow())
    }

    /// Follows it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.0.subscribe()
    }
}

/// The form on the wire.
pub fn to_wire(bundle: &TrustBundle) -> wire::Bundle {
    wire::Bundle {
        trust_domain: bundle.trust_domain.as_str().to_owned(),
        sequence: bundle.sequence,
        roots: bundle.roots.iter().map(|root| root.to_vec()).collect(),
        refresh_hint_seconds: u32::try_from(REFRESH_HINT.as_secs()).unwrap_or(u32::MAX),
    }
}
