//! The answer to "may this pass?", with the rule that gave it.

use std::{fmt, sync::Arc};

use policies::source::Location;

/// What becomes of the request or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It does not: 403 with `RBAC: access denied`, gRPC status 7, or the connection is closed.
    Deny,
}

/// What a policy does when one of its rules matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `CUSTOM`: an external provider is asked.
    Custom,
    /// `AUDIT`: it is noted; nothing else changes.
    Audit,
    /// `DENY`.
    Deny,
    /// `ALLOW`.
    Allow,
}

impl Action {
    /// As written in `action:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Custom => "CUSTOM",
            Self::Audit => "AUDIT",
            Self::Deny => "DENY",
            Self::Allow => "ALLOW",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The rule that matched. None: allowed because no ALLOW policy selects the workload, or denied because
    /// none of their rules matched.
    pub by: Option<&'a RuleId>,
    /// The first AUDIT rule that matched.
    pub audit: Option<&'a RuleId>,
    /// What the policies say that are tried with `istio.io/dry-run`.
    pub dry_run: DryRun<'a>,
}

/// What the policies in dry run would do; Istio's two shadow engines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DryRun<'a> {
    /// The first DENY rule in dry run that matched.
    pub deny: Option<&'a RuleId>,
    /// What the ALLOW policies in dry run say.
    pub allow: DryRunAllow<'a>,
}

/// What the ALLOW policies in dry run say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DryRunAllow<'a> {
    /// No ALLOW policy is in dry run.
    #[default]
    Absent,
    /// The first of their rules that matched.
    Matched(&'a RuleId),
    /// None of their rules matched: alone they would deny by default.
    NoneMatched,
}

/// What a CUSTOM policy wants before anything else is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Custom<'a> {
    /// The first CUSTOM rule that matched.
    pub by: &'a RuleId,
    /// Who is to be asked.
    pub ask: Ask<'a>,
}

/// Who is to be asked about a request that a CUSTOM rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// The extension provider of this name, which the mesh has.
    Provider(&'a str),
    /// Nobody can be asked: the provider is unknown, or the workload's policies name more than one.
    /// The request is denied (Istio's `-deny-due-to-bad-CUSTOM-action`).
    Nobody,
}

impl<'a> Decision<'a> {
    /// Whether it passes.
    pub const fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allow)
    }

    /// The access log's response code details for a denial, in Istio's words.
    pub const fn denial_details(&self) -> DenialDetails<'a> {
        DenialDetails(self.by)
    }
}

/// `rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]`, or `…[none]`. For logs, never for clients.
#[derive(Debug, Clone, Copy)]
pub struct DenialDetails<'a>(Option<&'a RuleId>);

impl fmt::Display for DenialDetails<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(rule) => write!(f, "rbac_access_denied_matched_policy[{rule}]"),
            None => f.write_str("rbac_access_denied_matched_policy[none]"),
        }
    }
}

/// A rule of a policy. `Display` is Istio's `ns[my-app]-policy[x]-rule[0]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleId {
    /// The namespace of the policy.
    pub policy_namespace: Arc<str>,
    /// The name of the policy.
    pub policy_name: Arc<str>,
    /// Which of its `rules`, from 0.
    pub rule: u16,
    /// What the policy does.
    pub action: Action,
    /// Whether the policy is in dry run: never enforced.
    pub dry_run: bool,
    /// Where the rule stands.
    pub at: Location,
    /// Which rule of the whole [`PolicySet`](crate::PolicySet), from 0 and without gaps: for tables beside it.
    pub number: u32,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            policy_namespace,
            policy_name,
            rule,
            ..
        } = self;
        write!(
            f,
            "ns[{policy_namespace}]-policy[{policy_name}]-rule[{rule}]"
        )
    }
}
