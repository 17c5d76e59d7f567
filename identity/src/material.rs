//! TLS material as one published generation: certificate, key and bundle change together or not at all.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;

use crate::{
    bundle::TrustBundle,
    peer::PeerIdentity,
    svid::Svid,
    verify::{Purpose, Verifier, VerifyError, unix_time},
};

/// One generation of what this process authenticates with and trusts.
#[derive(Debug)]
pub struct TlsMaterial {
    /// Counts publications from 1.
    pub generation: u64,
    /// Who we are.
    pub svid: Arc<Svid>,
    /// Whom we trust.
    pub bundle: Arc<TrustBundle>,
    trust_generation: u64,
    verifier: Arc<Verifier>,
}

impl TlsMaterial {
    /// Verifies a presented chain (leaf first) against this generation's bundle.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<PeerIdentity, VerifyError> {
        self.verifier.verify(chain, purpose, now)
    }
}

/// Makes an empty place for material, and its two ends.
pub fn channel() -> (MaterialWriter, MaterialReader) {
    let current = Arc::new(ArcSwapOption::empty());
    let (changes, subscription) = watch::channel(0);
    let reader = MaterialReader {
        current: Arc::clone(&current),
        changes: subscription,
    };
    (MaterialWriter { current, changes }, reader)
}

/// The end that publishes. There is one.
#[derive(Debug)]
pub struct MaterialWriter {
    current: Arc<ArcSwapOption<TlsMaterial>>,
    changes: watch::Sender<u64>,
}

impl MaterialWriter {
    /// Publishes a certificate and a bundle, after verifying the one against the other as a peer would. Returns the
    /// new generation; on error the old one stays.
    pub fn publish(
        &mut self,
        svid: Arc<Svid>,
        bundle: Arc<TrustBundle>,
    ) -> Result<u64, VerifyError> {
        let verifier = self.verifier_for(&bundle);
        let now = SystemTime::now();
        // A CA whose clock is ahead by a breath may date the certificate into our future; it is published all the same,
        // and peers judge it by their own clocks.
        let at = unix_time(now.max(svid.not_before()));
        for purpose in [Purpose::Client, Purpose::Server] {
            verifier.verify(svid.chain(), purpose, at)?;
        }
        Ok(self.put(svid, bundle, verifier))
    }

    /// Publishes a bundle beside the current certificate, even when it no longer vouches for that certificate:
    /// distrust must not wait for the next renewal. Returns none while there is no certificate yet.
    pub fn publish_bundle(&mut self, bundle: Arc<TrustBundle>) -> Option<u64> {
        let svid = Arc::clone(&self.current.load_full()?.svid);
        let verifier = self.verifier_for(&bundle);
        Some(self.put(svid, bundle, verifier))
    }

    fn verifier_for(&self, bundle: &TrustBundle) -> Arc<Verifier> {
        match self.current.load_full() {
            Some(material) if material.bundle.roots == bundle.roots => {
                Arc::clone(&material.verifier)
            }
            Some(_) | None => Arc::new(Verifier::new(bundle)),
        }
    }

    fn put(&mut self, svid: Arc<Svid>, bundle: Arc<TrustBundle>, verifier: Arc<Verifier>) -> u64 {
        let (generation, trust_generation) = self.current.load_full().map_or((1, 1), |previous| {
            let same_trust = previous.bundle.trust_domain == bundle.trust_domain
                && previous.bundle.roots == bundle.roots;
            (
                previous.generation + 1,
                previous.trust_generation + u64::from(!same_trust),
            )
        });
        self.current.store(Some(Arc::new(TlsMaterial {
            generation,
            svid,
            bundle,
            trust_generation,
            verifier,
        })));
        // After the store: whoever wakes finds the new generation.
        self.changes.send_replace(generation);
        generation
    }
}

/// The end that reads; cheap to clone.
#[derive(Debug, Clone)]
pub struct MaterialReader {
    current: Arc<ArcSwapOption<TlsMaterial>>,
    changes: watch::Receiver<u64>,
}

impl MaterialReader {
    /// The newest generation; none before the first.
    pub fn current(&self) -> Option<Arc<TlsMaterial>> {
        self.current.load_full()
    }

    /// Waits for a generation that this reader has not waited for yet. Pends for ever once the writer is gone.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The newest generation's number; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.current
            .load()
            .as_ref()
            .map_or(0, |material| material.generation)
    }

    /// Moves only when the roots change; 0 before the first generation.
    pub fn trust_generation(&self) -> u64 {
        self.current
            .load()
            .as_ref()
            .map_or(0, |material| material.trust_generation)
    }

    /// How long the current certificate is still valid at `now`; none without a valid one.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.current
            .load()
            .as_ref()
            .and_then(|material| material.svid.not_after().duration_since(now).ok())
            .filter(|left| !left.is_zero())
    }
}
