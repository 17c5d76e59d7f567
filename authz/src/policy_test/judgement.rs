//! What was decided about a request of a test, by whom and why.

use std::{fmt, time::SystemTime};

use http::{HeaderMap, Method, StatusCode, header};
use policies::document::{
    Meta,
    policy_test::{DecidedBy, Outcome, TestRequest},
};

use super::Subject;
use crate::{claims::Claims, decision::RuleId, jwt::TokenError, mtls::MtlsMode, path::PathError};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement<'a> {
    /// What becomes of it.
    pub outcome: Outcome,
    /// Who decided; nobody where it passes, or is denied, by default.
    pub by: Option<Decider<'a>>,
    /// Why.
    pub reason: Reason<'a>,
    /// Every rule that had a say: of CUSTOM, AUDIT and dry-run policies too.
    pub hits: Vec<&'a RuleId>,
}

/// Who decided.
#[derive(Debug, Clone, Copy)]
pub enum Decider<'a> {
    /// A rule of an AuthorizationPolicy.
    Rule(&'a RuleId),
    /// A PeerAuthentication.
    PeerAuthentication(&'a Meta),
}

/// Why a request has its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<'a> {
    /// The port takes mTLS only, or plaintext only.
    Mtls {
        /// What it takes.
        mode: MtlsMode,
        /// Which port.
        port: u16,
    },
    /// The path has no canonical form: 400.
    Path(PathError),
    /// A CUSTOM rule matches, and nobody can be asked.
    NobodyToAsk,
    /// A CUSTOM rule matches, and this provider is asked.
    Asks(&'a str),
    /// This provider denies.
    ProviderDenies(&'a str),
    /// The provider that this CUSTOM rule asks allows, and nothing else has a say.
    ProviderAllows(&'a RuleId),
    /// The token is not accepted, in the words of the answer.
    Token(TokenError),
    /// This rule matches.
    Matches(&'a RuleId),
    /// No ALLOW policy selects the workload.
    NoAllowPolicy,
    /// ALLOW policies select the workload, and none of their rules matches.
    NoneMatches,
}

impl Judgement<'_> {
    pub(super) const fn denied(reason: Reason<'static>) -> Self {
        Self {
            outcome: Outcome::Deny,
            by: None,
            reason,
            hits: Vec::new(),
        }
    }
}

impl Decider<'_> {
    /// The namespace and the name of the document.
    pub fn document(&self) -> (&str, &str) {
        match self {
            Self::Rule(rule) => (&rule.policy_namespace, &rule.policy_name),
            Self::PeerAuthentication(meta) => (&meta.namespace, &meta.name),
        }
    }

    /// Which rule of the document; none of a PeerAuthentication.
    pub const fn rule(&self) -> Option<u16> {
        match self {
            Self::Rule(rule) => Some(rule.rule),
            Self::PeerAuthentication(_) => None,
        }
    }

    /// Where it stands.
    pub const fn at(&self) -> &policies::source::Location {
        match self {
            Self::Rule(rule) => &rule.at,
            Self::PeerAuthentication(meta) => &meta.at,
        }
    }

    /// Whether this is who `by` names.
    pub fn is(&self, named: &DecidedBy) -> bool {
        let (namespace, name) = self.document();
        let same_namespace = named.namespace.as_deref().is_none_or(|ns| ns == namespace);
        same_namespace && named.name == name && named.rule == self.rule()
    }
}

impl PartialEq for Decider<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.document() == other.document() && self.rule() == other.rule()
    }
}

impl Eq for Decider<'_> {}

/// `shop/catalog-read/rules[0]`, as in `by`.
impl fmt::Display for Decider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.document();
        write!(f, "{namespace}/{name}")?;
        match self.rule() {
            Some(rule) => write!(f, "/rules[{rule}]"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtls { mode, port } => {
                let takes = match mode {
                    MtlsMode::Strict => "mTLS only, and the peer speaks plaintext",
                    MtlsMode::Disable => "plaintext only, and the peer speaks mTLS",
                    MtlsMode::Permissive => "both",
                };
                write!(f, "port {port} is {mode}: it takes {takes}")
            }
            Self::Path(error) => write!(f, "{error}: the client gets 400"),
            Self::NobodyToAsk => f.write_str(
                "a CUSTOM rule matches, and nobody can be asked: its provider is not one of the mesh, the workload has more than one, or it judges no connections",
            ),
            Self::Asks(provider) => write!(
                f,
                "`{provider}` is asked, and the request says nothing about its answer (`provider`)"
            ),
            Self::ProviderDenies(provider) => write!(f, "the provider `{provider}` denies"),
            Self::ProviderAllows(_) => {
                f.write_str("the provider allows, and no ALLOW policy selects the workload")
            }
            Self::Token(error) => write!(
                f,
                "the token is not accepted, with {}: {error}",
                error.status().as_u16()
            ),
            Self::Matches(rule) => write!(f, "the {} rule matches", rule.action),
            Self::NoAllowPolicy => f.write_str("no ALLOW policy selects the workload"),
            Self::NoneMatches => {
                f.write_str("ALLOW policies select the workload, and none of their rules matches")
            }
        }
    }
}

impl Subject {
    /// The claims that rules see. Where RequestAuthentications select the workload they must accept the token; else the
    /// claims are taken as they are.
    pub(super) fn claims(
        &self,
        request: &TestRequest,
        now: SystemTime,
    ) -> Result<Option<Claims>, Judgement<'static>> {
        let Some(payload) = &request.claims else {
            return Ok(None);
        };
        // Istio: `bypass_cors_preflight`.
        let preflight = is_preflight(&request.method, &request.headers);
        if !self.tokens.is_empty() && preflight {
            return Ok(None);
        }
        let claims = self.tokens.accepts(payload, now);
        claims.map(Some).map_err(|error| Judgement {
            outcome: if error.status() == StatusCode::UNAUTHORIZED {
                Outcome::Unauthenticated
            } else {
                Outcome::Deny
            },
            ..Judgement::denied(Reason::Token(error))
        })
    }
}

/// A CORS preflight, whose token is not looked at.
fn is_preflight(method: &str, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS.as_str()
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}
