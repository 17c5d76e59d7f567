//! What the access log says about an admission.

use authz::{Decision, DryRun, DryRunAllow, RuleId};

use crate::decisions::DecisionId;
use crate::telemetry::{AccessRecord, DryRunNote, TcpRecord};

/// The rules that had a say, and the number of the decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Note<'s> {
    /// The rule that decided.
    pub by: Option<&'s RuleId>,
    /// The first AUDIT rule that matched.
    pub audit: Option<&'s RuleId>,
    /// What the policies in dry run would have done.
    pub dry_run: DryRun<'s>,
    /// The number, where the decision is remembered.
    pub decision: Option<DecisionId>,
    /// The policies denied, and the audit mode let it pass.
    pub let_pass: bool,
}

impl<'s> Note<'s> {
    pub(super) const fn of(decision: &Decision<'s>) -> Self {
        Self {
            by: decision.by,
            audit: decision.audit,
            dry_run: decision.dry_run,
            decision: None,
            let_pass: false,
        }
    }

    /// What is noted after an `earlier` step: a denial that was let pass there stays the one that is named.
    pub(super) fn after(self, earlier: Self) -> Self {
        if earlier.let_pass {
            Self {
                audit: self.audit,
                dry_run: self.dry_run,
                ..earlier
            }
        } else {
            self
        }
    }

    /// Fills the record's fields.
    pub fn write(&self, record: &mut AccessRecord) {
        record.policy = self.by.map(|rule| rule.to_string().into());
        record.decision_id = self.decision.map(|id| id.to_string().into());
        record.audit_policy = self.audit.map(|rule| rule.to_string().into());
        record.let_pass = self.let_pass;
        record.dry_run = self.dry_run_note();
    }

    /// Fills the fields of a TCP connection's record.
    pub fn write_tcp(&self, record: &mut TcpRecord) {
        record.policy = self.by.map(|rule| rule.to_string().into());
        record.decision_id = self.decision.map(|id| id.to_string().into());
        record.audit_policy = self.audit.map(|rule| rule.to_string().into());
        record.let_pass = self.let_pass;
        record.dry_run = self.dry_run_note();
    }

    fn dry_run_note(&self) -> Option<Box<DryRunNote>> {
        if self.dry_run == DryRun::default() {
            return None;
        }
        Some(Box::new(DryRunNote {
            deny: self.dry_run.deny.map(RuleId::to_string),
            allow: match self.dry_run.allow {
                DryRunAllow::Absent => None,
                DryRunAllow::Matched(_) => Some("allowed"),
                DryRunAllow::NoneMatched => Some("denied"),
            },
            allow_policy: match self.dry_run.allow {
                DryRunAllow::Matched(rule) => Some(rule.to_string()),
                DryRunAllow::Absent | DryRunAllow::NoneMatched => None,
            },
        }))
    }
}
