//! What may end an open connection: a new policy generation, or other trust.

use identity::material::MaterialReader;
use tokio::sync::watch;

use super::Carrier;

/// Wakes one connection. Made before the connection is judged for the first time, so that no change falls between.
#[derive(Debug)]
pub struct Changes {
    policies: watch::Receiver<u64>,
    trust: MaterialReader,
    judged_under: u64,
}

impl Changes {
    /// Begins to listen.
    pub fn follow(carrier: &Carrier) -> Self {
        Self {
            policies: carrier.store.subscribe(),
            trust: carrier.material.clone(),
            judged_under: carrier.material.trust_generation(),
        }
    }

    /// Waits until policies or roots have changed. A renewed certificate alone is no reason to wake.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                moved = self.policies.changed() => {
                    if moved.is_err() {
                        // The store lives as long as the process.
                        std::future::pending::<()>().await;
                    }
                    return;
                }
                () = self.trust.changed() => {
                    let today = self.trust.trust_generation();
                    if today != self.judged_under {
                        self.judged_under = today;
                        return;
                    }
                }
            }
        }
    }
}
