//! How often each rule was used: counters that outlive the generation in which they were begun.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use authz::{Action, Decision, DryRunAllow, PolicySet, RuleId};

/// What one rule did since the process started. Read and counted without a lock.
#[derive(Debug, Default)]
pub struct RuleUse {
    hits: AtomicU64,
    denials: AtomicU64,
    dry_run_denials: AtomicU64,
    /// Seconds since 1970; 0 is never.
    last: AtomicU64,
}

/// A moment's counts of a [`RuleUse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// How often it matched where it was looked at.
    pub hits: u64,
    /// How often it denied.
    pub denials: u64,
    /// How often it would have denied, were it not for a dry run or the audit mode.
    pub dry_run_denials: u64,
    /// When it last matched, in seconds since 1970.
    pub last_use: u64,
}

impl RuleUse {
    /// The counts now; none if the rule was never used.
    pub fn counts(&self) -> Option<Counts> {
        let last = self.last.load(Ordering::Relaxed);
        (last != 0).then(|| Counts {
            hits: self.hits.load(Ordering::Relaxed),
            denials: self.denials.load(Ordering::Relaxed),
            dry_run_denials: self.dry_run_denials.load(Ordering::Relaxed),
            last_use: last,
        })
    }

    fn hit(&self, now: u64) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        // Written once a second at most: threads do not fight for it.
        if self.last.load(Ordering::Relaxed) != now {
            self.last.store(now, Ordering::Relaxed);
        }
    }

    fn denied(&self, enforced: bool) {
        let counter = if enforced {
            &self.denials
        } else {
            &self.dry_run_denials
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a rule is called in every generation that has it.
type Key = (Arc<str>, Arc<str>, u16, Action);

fn key(rule: &RuleId) -> Key {
    let RuleId {
        policy_namespace,
        policy_name,
        ..
    } = rule;
    (
        Arc::clone(policy_namespace),
        Arc::clone(policy_name),
        rule.rule,
        rule.action,
    )
}

/// The use of every rule of one generation, found by [`RuleId::number`].
#[derive(Debug, Default)]
pub struct RuleUses(Box<[Arc<RuleUse>]>);

impl RuleUses {
    /// Counters for the rules of `set`: those of the previous generation for rules that it had, by policy, number of the
    /// rule in it and action.
    pub fn carry(set: &PolicySet, previous: Option<(&PolicySet, &Self)>) -> Self {
        let known: HashMap<Key, &Arc<RuleUse>> = previous
            .map(|(set, uses)| set.rule_ids().map(key).zip(&uses.0).collect())
            .unwrap_or_default();
        let carried = set.rule_ids().map(|rule| {
            known
                .get(&key(rule))
                .map_or_else(Arc::default, |u| Arc::clone(u))
        });
        Self(carried.collect())
    }

    /// The use of a rule of this generation.
    pub fn of(&self, rule: &RuleId) -> Option<&RuleUse> {
        let position = usize::try_from(rule.number).ok()?;
        self.0.get(position).map(|counter| &**counter)
    }

    /// Counts the rules of a decision. Neither locks nor allocates.
    pub(super) fn decided(&self, decision: &Decision<'_>, enforced: bool) {
        let Decision {
            by, audit, dry_run, ..
        } = decision;
        let dry_run_allow = match dry_run.allow {
            DryRunAllow::Matched(rule) => Some(rule),
            DryRunAllow::Absent | DryRunAllow::NoneMatched => None,
        };
        if by.is_none() && audit.is_none() && dry_run.deny.is_none() && dry_run_allow.is_none() {
            return;
        }
        let now = now();
        for rule in [*audit, dry_run_allow].into_iter().flatten() {
            self.hit(rule, now);
        }
        if let Some(used) = by.and_then(|rule| self.of(rule)) {
            used.hit(now);
            if !decision.is_allowed() {
                used.denied(enforced);
            }
        }
        if let Some(used) = dry_run.deny.and_then(|rule| self.of(rule)) {
            used.hit(now);
            used.denied(false);
        }
    }

    /// Counts a CUSTOM rule that has a provider asked.
    pub(super) fn asked(&self, rule: &RuleId) {
        self.hit(rule, now());
    }

    /// Counts a CUSTOM rule whose provider denied, or for which nobody could be asked.
    pub(super) fn custom_denied(&self, rule: &RuleId, enforced: bool) {
        if let Some(used) = self.of(rule) {
            used.denied(enforced);
        }
    }

    fn hit(&self, rule: &RuleId, now: u64) {
        if let Some(used) = self.of(rule) {
            used.hit(now);
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}
