//! The answer to "may this pass?", with the rule that gave it.

use std::fmt;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `ALLOW`.
    Allow,
    /// `DENY`.
    Deny,
}

impl Action {
    /// As written in `action:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
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
    pub by: Option<RuleRef<'a>>,
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
pub struct DenialDetails<'a>(Option<RuleRef<'a>>);

impl fmt::Display for DenialDetails<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(rule) => write!(f, "rbac_access_denied_matched_policy[{rule}]"),
            None => f.write_str("rbac_access_denied_matched_policy[none]"),
        }
    }
}

/// A rule of a policy. `Display` is Istio's `ns[my-app]-policy[x]-rule[0]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleRef<'a> {
    /// The namespace of the policy.
    pub policy_namespace: &'a str,
    /// The name of the policy.
    pub policy_name: &'a str,
    /// Which of its `rules`, from 0.
    pub rule: u16,
    /// What the policy does.
    pub action: Action,
    /// Where the rule stands.
    pub at: &'a Location,
}

impl fmt::Display for RuleRef<'_> {
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
