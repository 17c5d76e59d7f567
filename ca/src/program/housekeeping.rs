//! What runs beside the calls: our own certificate, the entries, reloads, the mark, the forgetting.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use identity::material::MaterialWriter;
use identity::renewal::{Timetable, retry_without};
use runtime::documents::{DocumentSource, DocumentWatch, DocumentsError, Edition};
use runtime::health::{ConditionHandle, Readiness};
use runtime::lifecycle::Lifecycle;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::authority::shelf::{History, Shelf};
use crate::bundle;
use crate::config::Config;
use crate::entries;
use crate::issuance::Issuance;

/// How often the mark beside the store is brought up to date.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// How often what has expired is forgotten, and the intermediate looked after.
const SWEEP: Duration = Duration::from_hours(1);
/// How long certificates and tokens stay on record after their end.
const KEPT_AFTER_END: Duration = Duration::from_hours(24 * 30);

/// What must hold before workloads are sent here.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    certificate: ConditionHandle,
    entries: ConditionHandle,
    store: ConditionHandle,
}

impl Conditions {
    pub(super) fn new(readiness: &Readiness) -> Self {
        Self {
            certificate: readiness.condition("server-certificate"),
            entries: readiness.condition("entries"),
            store: readiness.condition("store"),
        }
    }
}

/// Everything that changes while the authority runs.
#[derive(Debug, Clone)]
pub(super) struct Housekeeping {
    config: Config,
    shelf: Shelf,
    issuance: Arc<Issuance>,
    conditions: Conditions,
}

/// Our own certificate and when it is renewed.
#[derive(Debug)]
pub(super) struct OwnCertificate {
    writer: MaterialWriter,
    renew_at: SystemTime,
}

impl Housekeeping {
    pub(super) fn new(
        config: &Config,
        shelf: Shelf,
        issuance: Arc<Issuance>,
        conditions: Conditions,
    ) -> Self {
        conditions.store.set_ready();
        Self {
            config: config.clone(),
            shelf,
            issuance,
            conditions,
        }
    }

    /// Makes our first server certificate; without it there is no start.
    pub(super) async fn first_certificate(
        &self,
        writer: MaterialWriter,
    ) -> anyhow::Result<OwnCertificate> {
        let mut own = OwnCertificate {
            writer,
            renew_at: SystemTime::now(),
        };
        self.renew(&mut own)
            .await
            .context("our own server certificate")?;
        Ok(own)
    }

    /// Reads the entries for the first time, so that the first caller finds them in force.
    pub(super) async fn first_entries(&self) -> anyhow::Result<Option<DocumentWatch>> {
        if self.config.entries.is_empty() {
            self.conditions.entries.set_ready();
            return Ok(None);
        }
        let mut watch = DocumentSource::new(self.config.entries.clone()).watch()?;
        if let Some(edition) = watch.next().await {
            self.read_entries(edition);
        }
        Ok(Some(watch))
    }

    /// Starts the tasks; they end with the drain.
    pub(super) fn spawn(
        self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        own: OwnCertificate,
        entries: Option<DocumentWatch>,
        life: &Lifecycle,
    ) {
        let (this, ending) = (self.clone(), life.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = this.keep_certificate(own) => {}
                () = ending.drain_begun() => {}
            }
            Ok(())
        });
        let (this, ending) = (self.clone(), life.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = this.follow(entries, &ending) => {}
                () = ending.drain_begun() => {}
            }
            Ok(())
        });
        let (this, ending) = (self, life.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = this.sweep() => {}
                () = ending.drain_begun() => {}
            }
            Ok(())
        });
    }

    async fn renew(&self, own: &mut OwnCertificate) -> anyhow::Result<()> {
        let now = SystemTime::now();
        let svid = Arc::new(self.issuance.own_server(now).await?);
        let (id, serial) = (svid.id().as_str().to_owned(), svid.serial().to_owned());
        let timetable = Timetable::new(now, svid.not_after(), &id, &serial);
        own.writer.publish(svid, self.issuance.bundle().current())?;
        own.renew_at = timetable.renew_at();
        self.conditions.certificate.set_ready();
        Ok(())
    }

    /// Renews our own certificate at half of its life, and at once when the bundle changes: it presents the roots.
    async fn keep_certificate(&self, mut own: OwnCertificate) {
        let mut bundle = self.issuance.bundle().subscribe();
        bundle.mark_unchanged();
        loop {
            let wait = own
                .renew_at
                .duration_since(SystemTime::now())
                .unwrap_or_default();
            tokio::select! {
                // Looked at every minute, because a sleeping laptop's clock stands still.
                () = sleep(wait.min(Duration::from_mins(1))) => {
                    if SystemTime::now() < own.renew_at {
                        continue;
                    }
                }
                _ = bundle.changed() => {}
            }
            let mut attempt = 0;
            while let Err(error) = self.renew(&mut own).await {
                tracing::error!(
                    error = format!("{error:#}"),
                    "our own certificate was not renewed"
                );
                self.conditions.certificate.set_not_ready(error.to_string());
                sleep(retry_without(attempt, b"ca")).await;
                attempt += 1;
            }
        }
    }

    /// Puts every edition of the entries in force, and reloads everything on SIGHUP or POST /reload.
    async fn follow(&self, mut entries: Option<DocumentWatch>, life: &Lifecycle) {
        let mut reloads = life.reloads();
        reloads.mark_unchanged();
        loop {
            tokio::select! {
                edition = next(&mut entries) => if let Some(edition) = edition {
                    self.read_entries(edition);
                } else {
                    tracing::error!("registration entries are no longer followed");
                    self.conditions.entries.set_not_ready("the files are no longer followed");
                    entries = None;
                },
                asked = reloads.changed() => {
                    if asked.is_err() {
                        return;
                    }
                    if let Some(watch) = &entries {
                        watch.trigger().reload();
                    }
                    self.reload().await;
                }
            }
        }
    }

    fn read_entries(&self, edition: Result<Edition, DocumentsError>) {
        let previous = self.issuance.registry();
        let registry = match edition {
            Ok(edition) => {
                let domain = self.issuance.trust_domain();
                let (registry, findings) = entries::next(&previous, &edition, domain);
                for finding in findings.iter().filter(|finding| finding.is_error()) {
                    tracing::error!("{finding}");
                }
                registry
            }
            Err(error) => crate::registry::Registry {
                generation: previous.generation,
                documents: previous.documents.clone(),
                entries: previous.entries.clone(),
                problems: vec![error.to_string()],
                refused: None,
            },
        };
        match registry.problems.first() {
            None => {
                let (generation, count) = (registry.generation, registry.entries.len());
                tracing::info!(generation, count, "registration entries in force");
                self.conditions.entries.set_ready();
            }
            Some(problem) => {
                tracing::error!(
                    problem,
                    generation = registry.generation,
                    "registration entries refused; the last good set stays in force"
                );
                if registry.generation == 0 {
                    self.conditions.entries.set_not_ready(problem.clone());
                }
            }
        }
        self.issuance.put_entries(registry);
    }

    async fn reload(&self) {
        if let Err(error) = self.reload_bundle().await {
            tracing::error!(error = format!("{error:#}"), "the bundle was not reloaded");
        }
        if let Err(error) = self.reload_authority() {
            let error = anyhow::Error::new(error);
            tracing::error!(
                error = format!("{error:#}"),
                "the authority was not reloaded"
            );
        }
    }

    async fn reload_bundle(&self) -> anyhow::Result<()> {
        let others = super::additional_roots(&self.config)?;
        let root = self.issuance.authority().root.clone();
        let domain = self.issuance.trust_domain();
        let composed = bundle::compose(&**self.issuance.store(), domain, &root, &others).await?;
        let (sequence, roots) = (composed.sequence, composed.roots.len());
        if self.issuance.bundle().publish(composed) {
            tracing::info!(sequence, roots, "new bundle in force");
        }
        Ok(())
    }

    fn reload_authority(&self) -> Result<(), crate::authority::AuthorityError> {
        let current = self.issuance.authority();
        let found = self.shelf.authority(History::Issued, SystemTime::now())?;
        if found.issuer == current.issuer {
            return Ok(());
        }
        if found.root != current.root {
            tracing::error!("`root.pem` is another root than the one in force; it needs a restart");
            return Ok(());
        }
        self.issuance.put_authority(found);
        tracing::info!("new intermediate in force");
        Ok(())
    }

    /// Notes, forgets, and looks after the intermediate.
    async fn sweep(&self) {
        let mut checkpoint = interval(CHECKPOINT);
        checkpoint.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_sweep = Instant::now();
        loop {
            tokio::select! {
                _ = checkpoint.tick() => self.checkpoint(),
                () = sleep_until(next_sweep) => {
                    next_sweep = Instant::now() + SWEEP;
                    self.look_after_intermediate();
                    let before = SystemTime::now() - KEPT_AFTER_END;
                    match self.issuance.store().forget_expired(before).await {
                        Ok(0) => {}
                        Ok(count) => tracing::info!(count, "expired records forgotten"),
                        Err(error) => tracing::error!(%error, "expired records were not forgotten"),
                    }
                }
            }
        }
    }

    fn checkpoint(&self) {
        match self.issuance.store().checkpoint() {
            Ok(()) => self.conditions.store.set_ready(),
            Err(error) => {
                tracing::error!(%error, "the store's mark could not be written");
                self.conditions.store.set_not_ready(error.to_string());
            }
        }
    }

    fn look_after_intermediate(&self) {
        if let Err(error) = self.reload_authority() {
            let error = anyhow::Error::new(error);
            tracing::error!(
                error = format!("{error:#}"),
                "the intermediate was not renewed"
            );
        }
        let validity = self.issuance.authority().signer.validity();
        let left = validity
            .not_after
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let life = validity
            .not_after
            .duration_since(validity.not_before)
            .unwrap_or_default();
        if left < life / 4 {
            tracing::error!(
                days_left = left.as_secs() / 86_400,
                "the intermediate ends soon and the root key is not here; bring it and run \
                 `portcullis-ca --config … renew-intermediate --root-dir DIR`"
            );
        }
    }
}

async fn next(entries: &mut Option<DocumentWatch>) -> Option<Result<Edition, DocumentsError>> {
    match entries {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
