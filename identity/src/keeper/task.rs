//! The keeper's loop: obtain, publish, wait, again.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};
use zeroize::Zeroizing;

use super::{IdentityConfig, KeeperState, KeeperStatus, follow::Event};
use crate::{
    bundle::TrustBundle,
    enrol::{CaClient, CaTrust, EnrolError, Enrolment, Issued},
    join_token::{JoinToken, JoinTokenError},
    key::PrivateKey,
    material::{MaterialReader, MaterialWriter},
    reason::reason,
    renewal::{Timetable, retry_without},
    state::{EnrolmentFiles, StateError},
    verify::VerifyError,
};

/// No sleep is longer: a laptop's sleep stops the monotonic clock, so the wall clock is looked at this often.
const GLANCE: Duration = Duration::from_secs(2);
/// Wall and monotonic clock apart by more than this between two glances: the machine slept, or the clock was set.
const CLOCK_JUMP: Duration = Duration::from_secs(10);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the new certificate does not verify")]
    Publish(#[from] VerifyError),
    #[error("no earlier enrolment in the state directory, and no join token is configured")]
    NoEvidence,
    #[error("cannot read the join token `{path}`")]
    TokenFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use the join token in `{path}`")]
    Token {
        path: String,
        #[source]
        source: JoinTokenError,
    },
}

impl Failure {
    /// Tells whether whoever answered could not prove to be our CA.
    fn is_distrust(&self) -> bool {
        matches!(self, Self::Enrol(EnrolError::Untrusted { .. }))
    }
}

/// What a certificate was issued under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The bundle we knew already.
    SameTrust,
    /// The bundle that a fresh join token named; it replaces the one we knew, whatever its sequence.
    NewTrust,
}

pub(super) struct Task {
    pub(super) config: IdentityConfig,
    pub(super) ca: String,
    pub(super) files: EnrolmentFiles,
    pub(super) enrolment_key: PrivateKey,
    pub(super) writer: MaterialWriter,
    pub(super) reader: MaterialReader,
    pub(super) status: watch::Sender<KeeperStatus>,
    pub(super) wish: Arc<Notify>,
    pub(super) events: mpsc::Receiver<Event>,
}

impl Task {
    pub(super) async fn run(mut self) {
        let mut timetable: Option<Timetable> = None;
        let mut failures = 0;
        loop {
            let outcome = match self.obtain().await {
                Ok((issued, origin)) => self.adopt(&issued, origin),
                Err(failure) => Err(failure),
            };
            let now = SystemTime::now();
            let due = match outcome {
                Ok(fresh) => {
                    failures = 0;
                    timetable.insert(fresh).renew_at()
                }
                Err(failure) => {
                    self.note_failure(&failure, now);
                    let wait = match &timetable {
                        Some(table) => table.retry_after(failures, now),
                        None => retry_without(failures, self.enrolment_key.public_spki()),
                    };
                    failures = failures.saturating_add(1);
                    now + wait
                }
            };
            self.wait_until(due, failures > 0).await;
        }
    }

    /// Gets a certificate by the first way that works: the current SVID, the enrolment key, the join token.
    async fn obtain(&self) -> Result<(Issued, Origin), Failure> {
        let mut refusal: Option<Failure> = None;
        let current = self.reader.current();
        if let Some(material) = &current
            && self.reader.remaining(SystemTime::now()).is_some()
        {
            let trust = CaTrust::Bundle(Arc::clone(&material.bundle));
            match self.renew(trust, material.svid.id()).await {
                Ok(issued) => return Ok((issued, Origin::SameTrust)),
                Err(error) if error.wants_other_evidence() => {
                    tracing::warn!(
                        error = reason(&error),
                        "renewal by the current certificate failed, enrolling again"
                    );
                    refusal = Some(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let known = match current {
            Some(material) if !material.bundle.roots.is_empty() => {
                Some(Arc::clone(&material.bundle))
            }
            Some(_) => None,
            None => self.kept_bundle(),
        };
        if let Some(bundle) = &known {
            match self.enrol(CaTrust::Bundle(Arc::clone(bundle)), None).await {
                Ok(issued) => return Ok((issued, Origin::SameTrust)),
                Err(error) if error.wants_other_evidence() => refusal = Some(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        let token = match self.join_token() {
            Ok(Some(token)) => token,
            Ok(None) => return Err(refusal.unwrap_or(Failure::NoEvidence)),
            // A token file that is gone since the first enrolment is no news beside the refusal.
            Err(failure) => return Err(refusal.unwrap_or(failure)),
        };
        let (trust, origin) = match (known, refusal) {
            // The CA proved itself and refused: it may want a token, it need not prove itself anew.
            (Some(bundle), Some(refusal)) if !refusal.is_distrust() => {
                (CaTrust::Bundle(bundle), Origin::SameTrust)
            }
            (Some(_), Some(refusal)) if self.files.is_spent(&token)? => return Err(refusal),
            (Some(_) | None, _) => {
                let pinned = CaTrust::Pinned {
                    trust_domain: self.config.trust_domain.clone(),
                    bundle_hash: *token.bundle_hash(),
                };
                (pinned, Origin::NewTrust)
            }
        };
        let issued = self.enrol(trust, Some(&token)).await?;
        self.files.mark_spent(&token)?;
        Ok((issued, origin))
    }

    async fn renew(&self, trust: CaTrust, id: &crate::id::SpiffeId) -> Result<Issued, EnrolError> {
        let mut client = CaClient::connect(&self.ca, trust, Some(&self.reader)).await?;
        client.renew(id, self.config.ttl).await
    }

    async fn enrol(
        &self,
        trust: CaTrust,
        join_token: Option<&JoinToken>,
    ) -> Result<Issued, EnrolError> {
        let mut client = CaClient::connect(&self.ca, trust, None).await?;
        client
            .enrol(Enrolment {
                enrolment_key: &self.enrolment_key,
                join_token,
                spiffe_id: self.config.spiffe_id.as_ref(),
                ttl: self.config.ttl,
            })
            .await
    }

    /// A damaged file is as good as none: the join token may still help.
    fn kept_bundle(&self) -> Option<Arc<TrustBundle>> {
        match self.files.bundle(&self.config.trust_domain) {
            Ok(bundle) => bundle.map(Arc::new),
            Err(error) => {
                tracing::warn!(
                    error = reason(&error),
                    "the kept trust bundle is not usable"
                );
                None
            }
        }
    }

    fn join_token(&self) -> Result<Option<JoinToken>, Failure> {
        let Some(path) = &self.config.join_token else {
            return Ok(None);
        };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|source| Failure::TokenFile {
                path: shown.clone(),
                source,
            })?;
        JoinToken::parse(&text)
            .map(Some)
            .map_err(|source| Failure::Token {
                path: shown,
                source,
            })
    }

    /// Publishes a new certificate and keeps its bundle for the next start.
    fn adopt(&mut self, issued: &Issued, origin: Origin) -> Result<Timetable, Failure> {
        // The stream may have told of a newer bundle while the certificate was under way.
        let bundle = match self.reader.current() {
            Some(material)
                if origin == Origin::SameTrust
                    && material.bundle.sequence > issued.bundle.sequence =>
            {
                Arc::clone(&material.bundle)
            }
            Some(_) | None => Arc::clone(&issued.bundle),
        };
        let generation = self
            .writer
            .publish(Arc::clone(&issued.svid), Arc::clone(&bundle))?;
        self.keep(&bundle);
        let svid = &issued.svid;
        let table = Timetable::new(
            SystemTime::now(),
            svid.not_after(),
            svid.id().as_str(),
            svid.serial(),
        );
        tracing::info!(
            spiffe_id = %svid.id(),
            serial = svid.serial(),
            generation,
            lifetime_seconds = svid.not_after().duration_since(SystemTime::now()).unwrap_or_default().as_secs(),
            "certificate received"
        );
        self.status.send_modify(|status| {
            status.renewals += u64::from(status.serial.is_some());
            status.state = KeeperState::Valid;
            status.spiffe_id = Some(svid.id().to_string());
            status.serial = Some(svid.serial().to_owned());
            status.not_before = Some(svid.not_before());
            status.not_after = Some(svid.not_after());
            status.last_error = None;
            status.ca_reachable = true;
            status.bundle_sequence = bundle.sequence;
        });
        Ok(table)
    }

    fn keep(&self, bundle: &TrustBundle) {
        if let Err(error) = self.files.keep_bundle(bundle) {
            tracing::error!(
                error = reason(&error),
                "cannot keep the trust bundle: a restart will need a new join token"
            );
        }
    }

    fn note_failure(&self, failure: &Failure, now: SystemTime) {
        let reason = reason(failure);
        let reached = match failure {
            Failure::Enrol(error) => error.reached_ca(),
            Failure::Publish(_) => true,
            Failure::State(_)
            | Failure::NoEvidence
            | Failure::TokenFile { .. }
            | Failure::Token { .. } => false,
        };
        let left = self.reader.remaining(now);
        tracing::warn!(
            error = reason,
            valid_for_seconds = left.map(|left| left.as_secs()),
            "no new certificate, will retry"
        );
        self.status.send_modify(|status| {
            status.state = match left {
                Some(_) => KeeperState::Failing,
                None => KeeperState::Waiting,
            };
            status.last_error = Some(reason);
            status.ca_reachable = reached;
        });
    }

    /// Waits until the wall clock says so, or something makes waiting wrong: a wish, a clock that jumped, a bundle that
    /// disowns our certificate, a CA that is back after a failure.
    async fn wait_until(&mut self, due: SystemTime, failing: bool) {
        let mut glance = Glance::now();
        loop {
            self.judge_expiry(glance.wall);
            let Ok(left) = due.duration_since(glance.wall) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(left.min(GLANCE)) => {}
                () = self.wish.notified() => return,
                Some(event) = self.events.recv() => {
                    if self.on_event(event, failing) == Then::Renew {
                        return;
                    }
                }
            }
            let next = Glance::now();
            if glance.jumped(&next) {
                tracing::info!("the clock jumped, renewing at once");
                return;
            }
            glance = next;
        }
    }

    fn judge_expiry(&self, now: SystemTime) {
        let usable = self.reader.remaining(now).is_some();
        self.status.send_if_modified(|status| {
            let expired = !usable && status.state != KeeperState::Waiting;
            if expired {
                tracing::error!("the certificate has expired and could not be renewed");
                status.state = KeeperState::Waiting;
            }
            expired
        });
    }

    fn on_event(&mut self, event: Event, failing: bool) -> Then {
        match event {
            Event::Lost(reason) => {
                tracing::warn!(reason, "the CA's bundle stream is down");
                self.reachable(false);
                Then::Wait
            }
            Event::Bundle(bundle) => {
                self.reachable(true);
                let then = self.take_bundle(bundle);
                if failing { Then::Renew } else { then }
            }
        }
    }

    fn reachable(&self, reachable: bool) {
        self.status.send_if_modified(|status| {
            let changed = status.ca_reachable != reachable;
            status.ca_reachable = reachable;
            changed
        });
    }

    fn take_bundle(&mut self, bundle: TrustBundle) -> Then {
        let Some(material) = self.reader.current() else {
            return Then::Wait;
        };
        let newest = self.status.borrow().bundle_sequence;
        if bundle.sequence < newest
            || (bundle.sequence == newest && bundle.roots != material.bundle.roots)
        {
            tracing::warn!(
                sequence = bundle.sequence,
                newest,
                "the CA sent an older trust bundle, ignored"
            );
            return Then::Wait;
        }
        let sequence = bundle.sequence;
        self.status.send_if_modified(|status| {
            let changed = status.bundle_sequence != sequence;
            status.bundle_sequence = sequence;
            changed
        });
        if bundle.roots == material.bundle.roots {
            return Then::Wait;
        }
        let bundle = Arc::new(bundle);
        self.keep(&bundle);
        tracing::info!(
            sequence,
            roots = bundle.roots.len(),
            "the trust bundle changed"
        );
        match self
            .writer
            .publish(Arc::clone(&material.svid), Arc::clone(&bundle))
        {
            Ok(_generation) => Then::Wait,
            Err(error) => {
                tracing::warn!(
                    error = reason(&error),
                    "the new trust bundle disowns our certificate"
                );
                self.writer.publish_bundle(bundle);
                Then::Renew
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Wait,
    Renew,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Glance {
    wall: SystemTime,
    steady: Instant,
}

impl Glance {
    fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// Tells whether the wall clock moved otherwise than the steady one, forwards or backwards.
    fn jumped(&self, next: &Self) -> bool {
        let steady = next.steady.saturating_duration_since(self.steady);
        match next.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(steady) > CLOCK_JUMP,
            Err(backwards) => backwards.duration() + steady > CLOCK_JUMP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_laptop_is_a_jump_and_a_slow_loop_is_none() {
        let start = Glance::now();
        let after = |wall: u64, steady: u64| Glance {
            wall: start.wall + Duration::from_secs(wall),
            steady: start.steady + Duration::from_secs(steady),
        };
        assert!(!start.jumped(&after(2, 2)));
        assert!(!start.jumped(&after(300, 300)));
        assert!(start.jumped(&after(3600, 2)));
        let back = Glance {
            wall: start.wall - Duration::from_mins(1),
            steady: start.steady,
        };
        assert!(start.jumped(&back));
    }
}
