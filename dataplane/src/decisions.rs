//! Why: the number of every decision, the log of decisions, the last ones in memory, and how often each rule is used.
//!
//! A plain allowance costs the counting of its rules and one random number. What is remembered is held as facts and a
//! pointer to the policies; its explanation is made when somebody asks.

mod config;
mod entry;
mod facts;
mod memory;
mod metrics;
mod pages;
mod rule_use;
mod shown;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use authz::{Decision, DryRunAllow, Facts, RuleId, Verdict};
use prometheus::Registry;

pub use config::{DecisionsConfig, DecisionsConfigError};
pub use entry::DecisionShown;
pub use facts::{FactsError, OneOrMore, Protocol, RequestFacts};
pub use pages::{DecisionExplained, RuleUsed, add};
pub use rule_use::{Counts, RuleUse, RuleUses};
pub use shown::{
    DryRunShown, ExplanationShown, FieldShown, Place, ReasonShown, RuleExplainedShown, RuleShown,
    StepShown, VerdictShown,
};

use crate::policy_store::PolicyStore;
use crate::random;
use crate::snapshot::Snapshot;
use crate::telemetry::{LineLog, LineLogError};
use entry::{Cause, Entry};
use memory::Memory;
use metrics::{DecisionMetrics, RuleMetrics};

/// Remembers the decisions of one process. Cheap to clone. The default numbers denials and keeps nothing.
#[derive(Debug, Clone, Default)]
pub struct Decisions(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    memory: Memory,
    log: LineLog<Arc<Entry>>,
    metrics: DecisionMetrics,
    /// `namespace/name`.
    workload: Arc<str>,
    /// Of 2^64 plain allowances, so many are remembered.
    sampled: u64,
}

/// Why decisions cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum DecisionsError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LineLogError),
    /// The metrics.
    #[error("cannot register the metrics of decisions")]
    Metrics(#[from] prometheus::Error),
}

/// What was decided about a request or a TCP connection, and by what.
#[derive(Debug, Clone, Copy)]
pub enum Decided<'a> {
    /// The policies decided.
    Policies(Decision<'a>),
    /// A CUSTOM rule had a provider asked, and it said no, or did not answer; none when nobody could be asked.
    Custom {
        /// The rule.
        by: &'a RuleId,
        /// The provider.
        provider: Option<&'a str>,
    },
    /// A token was refused: the status, and the text that the client got.
    Token {
        /// 401 or 403.
        status: u16,
        /// Envoy's text, such as `Jwt is expired`.
        text: &'a str,
    },
}

/// The number of a decision: `x-portcullis-decision`, and what `portcullis explain` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecisionId(pub u64);

impl std::fmt::Display for DecisionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::str::FromStr for DecisionId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Decided<'_> {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Policies(decision) => decision.verdict,
            Self::Custom { .. } | Self::Token { .. } => Verdict::Deny,
        }
    }

    const fn policies(&self) -> Option<&Decision<'_>> {
        match self {
            Self::Policies(decision) => Some(decision),
            Self::Custom { .. } | Self::Token { .. } => None,
        }
    }
}

impl Decisions {
    /// Opens the log and registers the metrics, also those of the rules that `store` has in force.
    ///
    /// # Errors
    /// When the log cannot be opened or the metrics are registered already.
    pub fn new(
        config: &DecisionsConfig,
        store: &PolicyStore,
        registry: &Registry,
    ) -> Result<Self, DecisionsError> {
        let metrics = DecisionMetrics::new()?;
        metrics.register(registry)?;
        RuleMetrics::register(store.clone(), registry)?;
        let workload = &store.context().workload;
        Ok(Self(Some(Arc::new(Inner {
            memory: Memory::new(config.buffer),
            log: LineLog::start(config.target(), registry)?,
            metrics,
            workload: format!("{}/{}", workload.namespace, workload.name).into(),
            sampled: threshold(config.sample_allowed),
        }))))
    }

    /// Counts a CUSTOM rule that matched, before its provider is asked.
    pub fn asked(snapshot: &Snapshot, by: &RuleId) {
        snapshot.uses.asked(by);
    }

    /// Counts the decision's rules and remembers the decision where it is to be remembered: every denial, every one that a
    /// dry run or the audit mode changes or that an AUDIT rule wants noted, and a sample of the allowances. `enforced` is
    /// false where the audit mode let a denial pass.
    pub fn record(
        &self,
        snapshot: &Snapshot,
        facts: &Facts<'_>,
        decided: Decided<'_>,
        enforced: bool,
    ) -> Option<DecisionId> {
        let verdict = decided.verdict();
        let mut remembered = verdict == Verdict::Deny;
        match &decided {
            Decided::Policies(decision) => {
                snapshot.uses.decided(decision, enforced);
                remembered |=
                    decision.audit.is_some() || decision.verdict_after_dry_run() != verdict;
            }
            Decided::Custom { by, .. } => snapshot.uses.custom_denied(by, enforced),
            Decided::Token { .. } => {}
        }
        let Some(inner) = self.0.as_deref() else {
            return remembered.then(|| DecisionId(random::number()));
        };
        if remembered {
            inner.count(&decided, enforced);
        } else if inner.sampled == 0 || random::number() > inner.sampled {
            return None;
        }
        Some(inner.remember(snapshot, facts, decided, enforced))
    }

    /// Waits until the log is written, at most `limit`. Blocks: for the end of the process.
    pub fn flush(&self, limit: Duration) {
        if let Some(inner) = &self.0 {
            inner.log.flush(limit);
        }
    }

    /// Opens the log's file anew at every SIGUSR1.
    ///
    /// # Errors
    /// When the signal cannot be listened to.
    pub fn reopen_on_sigusr1(&self) -> std::io::Result<()> {
        self.0
            .as_ref()
            .map_or(Ok(()), |inner| inner.log.reopen_on_sigusr1())
    }
}

impl Inner {
    fn count(&self, decided: &Decided<'_>, enforced: bool) {
        if decided.verdict() == Verdict::Deny {
            self.metrics.denied(decided, enforced);
        } else if let Some(decision) = decided.policies()
            && decision.dry_run.deny.is_none()
            && decision.verdict_after_dry_run() == Verdict::Deny
        {
            self.metrics.dry_run_default_denial();
        }
    }

    fn remember(
        &self,
        snapshot: &Snapshot,
        facts: &Facts<'_>,
        decided: Decided<'_>,
        enforced: bool,
    ) -> DecisionId {
        let id = DecisionId(random::number());
        if self.memory.capacity() == 0 && !self.log.is_on() {
            return id;
        }
        let generation = self.memory.generation(snapshot);
        let entry = Arc::new(Entry {
            id,
            at: SystemTime::now(),
            workload: Arc::clone(&self.workload),
            verdict: decided.verdict().into(),
            enforced,
            audit: decided
                .policies()
                .and_then(|decision| decision.audit)
                .cloned(),
            dry_run: decided.policies().and_then(dry_run),
            cause: match decided {
                Decided::Policies(decision) => Cause::Policies(decision.by.cloned()),
                Decided::Custom { by, provider } => Cause::Custom {
                    by: by.clone(),
                    provider: provider.map(Into::into),
                },
                Decided::Token { status, text } => Cause::Token {
                    status,
                    text: text.into(),
                },
            },
            facts: facts::HeldFacts::hold(facts, &generation.named),
            number: generation.number,
            generation: Arc::downgrade(&generation),
        });
        if self.log.is_on() {
            self.log.write(Arc::clone(&entry));
        }
        self.memory.push(entry);
        id
    }
}

/// What the policies in dry run say, if any of them matched or would deny by default.
fn dry_run(decision: &Decision<'_>) -> Option<DryRunShown> {
    let allow = match decision.dry_run.allow {
        DryRunAllow::Matched(rule) => Some(rule),
        DryRunAllow::Absent | DryRunAllow::NoneMatched => None,
    };
    let rule = decision.dry_run.deny.or(allow);
    let verdict = decision.verdict_after_dry_run();
    (rule.is_some() || verdict != decision.verdict).then(|| DryRunShown {
        verdict: verdict.into(),
        rule: rule.map(RuleShown::from),
    })
}

/// How many of 2^64 numbers are at most the share.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a sample needs no exact share, and the cast saturates"
)]
fn threshold(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests;
