//! Decisions and rules in numbers: only rules that were used have a series.

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{Decided, RuleUse};
use crate::policy_store::PolicyStore;
use crate::snapshot::Snapshot;

const RULE: [&str; 4] = ["namespace", "policy", "rule", "action"];

/// What is counted of decisions that no rule has made.
#[derive(Debug, Clone)]
pub(super) struct DecisionMetrics {
    /// By what denied, and whether that was enforced.
    denials: IntCounterVec,
    dry_run_default: IntCounter,
}

impl DecisionMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            denials: IntCounterVec::new(
                Opts::new(
                    "portcullis_authz_denials_total",
                    "Denials by what denied: rule, default, custom or token; enforced is false in the audit mode.",
                ),
                &["by", "enforced"],
            )?,
            dry_run_default: IntCounter::new(
                "portcullis_authz_dry_run_default_denials_total",
                "Allowances that the ALLOW policies in dry run would have turned into default denials.",
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.denials.clone()))?;
        registry.register(Box::new(self.dry_run_default.clone()))
    }

    pub(super) fn denied(&self, decided: &Decided<'_>, enforced: bool) {
        let by = match decided {
            Decided::Policies(decision) if decision.by.is_some() => "rule",
            Decided::Policies(_) => "default",
            Decided::Custom { .. } => "custom",
            Decided::Token { .. } => "token",
        };
        let enforced = if enforced { "true" } else { "false" };
        self.denials.with_label_values(&[by, enforced]).inc();
    }

    pub(super) fn dry_run_default_denial(&self) {
        self.dry_run_default.inc();
    }
}

/// Reads the use of the rules in force whenever the metrics are asked for.
pub(super) struct RuleMetrics {
    store: PolicyStore,
    /// Held while the families are filled and read, so that two readers do not mix.
    filling: Mutex<()>,
    hits: IntCounterVec,
    denials: IntCounterVec,
    dry_run_denials: IntCounterVec,
    last_use: IntGaugeVec,
}

impl RuleMetrics {
    pub(super) fn register(
        store: PolicyStore,
        registry: &Registry,
    ) -> Result<(), prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), &RULE);
        registry.register(Box::new(Self {
            store,
            filling: Mutex::new(()),
            hits: counter(
                "portcullis_authz_rule_hits_total",
                "How often a rule in force matched where it was looked at.",
            )?,
            denials: counter(
                "portcullis_authz_rule_denials_total",
                "How often a rule in force denied.",
            )?,
            dry_run_denials: counter(
                "portcullis_authz_rule_dry_run_denials_total",
                "How often a rule in force would have denied, were it not for a dry run or the audit mode.",
            )?,
            last_use: IntGaugeVec::new(
                Opts::new(
                    "portcullis_authz_rule_last_use_seconds",
                    "When a rule in force last matched, in seconds since 1970.",
                ),
                &RULE,
            )?,
        }))
    }

    fn families(&self) -> [&dyn Collector; 4] {
        [
            &self.hits,
            &self.denials,
            &self.dry_run_denials,
            &self.last_use,
        ]
    }

    fn fill(&self, snapshot: &Snapshot) {
        for counter in [&self.hits, &self.denials, &self.dry_run_denials] {
            counter.reset();
        }
        self.last_use.reset();
        for rule in snapshot.authz.rule_ids() {
            let Some(counts) = snapshot.uses.of(rule).and_then(RuleUse::counts) else {
                continue;
            };
            let number = rule.rule.to_string();
            let labels = [
                &*rule.policy_namespace,
                &*rule.policy_name,
                &number,
                rule.action.as_str(),
            ];
            let add = |family: &IntCounterVec, count| {
                family.with_label_values(&labels).inc_by(count);
            };
            add(&self.hits, counts.hits);
            add(&self.denials, counts.denials);
            add(&self.dry_run_denials, counts.dry_run_denials);
            self.last_use
                .with_label_values(&labels)
                .set(i64::try_from(counts.last_use).unwrap_or(i64::MAX));
        }
    }
}

impl Collector for RuleMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let families = self.families().into_iter();
        families.flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(snapshot) = self.store.snapshot() else {
            return Vec::new();
        };
        let _filling = self.filling.lock();
        self.fill(&snapshot);
        self.families()
            .into_iter()
            .flat_map(Collector::collect)
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}
