//! AuthorizationPolicy (`security.istio.io`): who may do what. The crate `authz` says what is in force.

mod schema;

use super::{LabelSelector, Meta, Spanned};
use crate::diagnostic::DocPath;
use crate::source::Location;

/// Istio's AuthorizationPolicy.
#[derive(Clone, Debug)]
pub struct AuthorizationPolicy {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector`; none selects the whole namespace (in the root namespace: everything).
    pub selector: Option<LabelSelector>,
    /// `spec.targetRefs` and `spec.targetRef`.
    pub target_refs: Vec<Spanned<TargetRef>>,
    /// `spec.action`; `ALLOW` if not given.
    pub action: Spanned<AuthorizationAction>,
    /// `spec.provider.name`.
    pub provider: Option<Spanned<String>>,
    /// `spec.rules`; none never matches.
    pub rules: Vec<Rule>,
}

/// `spec.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationAction {
    /// `ALLOW`.
    Allow,
    /// `DENY`.
    Deny,
    /// `AUDIT`.
    Audit,
    /// `CUSTOM`.
    Custom,
}

impl AuthorizationAction {
    /// As written in `action:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
            Self::Custom => "CUSTOM",
        }
    }
}

/// Istio's `PolicyTargetReference`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRef {
    /// `group`.
    pub group: String,
    /// `kind`.
    pub kind: String,
    /// `name`.
    pub name: String,
    /// `namespace`.
    pub namespace: Option<String>,
}

/// Istio's `Rule`: (any of `from`) and (any of `to`) and all of `when`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `from[].source`; empty is no restriction.
    pub from: Vec<Source>,
    /// `to[].operation`; empty is no restriction.
    pub to: Vec<Operation>,
    /// `when[]`.
    pub when: Vec<Condition>,
}

/// Istio's `Source`; fields are ANDed, values of a field are ORed. At least one field is set.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `principals`.
    pub principals: Vec<Spanned<String>>,
    /// `notPrincipals`.
    pub not_principals: Vec<Spanned<String>>,
    /// `requestPrincipals`.
    pub request_principals: Vec<Spanned<String>>,
    /// `notRequestPrincipals`.
    pub not_request_principals: Vec<Spanned<String>>,
    /// `namespaces`.
    pub namespaces: Vec<Spanned<String>>,
    /// `notNamespaces`.
    pub not_namespaces: Vec<Spanned<String>>,
    /// `serviceAccounts`.
    pub service_accounts: Vec<Spanned<String>>,
    /// `notServiceAccounts`.
    pub not_service_accounts: Vec<Spanned<String>>,
    /// `trustDomains`.
    pub trust_domains: Vec<Spanned<String>>,
    /// `notTrustDomains`.
    pub not_trust_domains: Vec<Spanned<String>>,
    /// `ipBlocks`; the format is checked.
    pub ip_blocks: Vec<Spanned<String>>,
    /// `notIpBlocks`; the format is checked.
    pub not_ip_blocks: Vec<Spanned<String>>,
    /// `remoteIpBlocks`; the format is checked.
    pub remote_ip_blocks: Vec<Spanned<String>>,
    /// `notRemoteIpBlocks`; the format is checked.
    pub not_remote_ip_blocks: Vec<Spanned<String>>,
}

/// Istio's `Operation`; fields are ANDed, values of a field are ORed. At least one field is set.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `hosts`.
    pub hosts: Vec<Spanned<String>>,
    /// `notHosts`.
    pub not_hosts: Vec<Spanned<String>>,
    /// `ports`: numbers, written as strings.
    pub ports: Vec<Spanned<u16>>,
    /// `notPorts`.
    pub not_ports: Vec<Spanned<u16>>,
    /// `methods`.
    pub methods: Vec<Spanned<String>>,
    /// `notMethods`.
    pub not_methods: Vec<Spanned<String>>,
    /// `paths`.
    pub paths: Vec<Spanned<String>>,
    /// `notPaths`.
    pub not_paths: Vec<Spanned<String>>,
}

/// Istio's `Condition`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `key`, as written; not checked here.
    pub key: Spanned<String>,
    /// `values`.
    pub values: Vec<Spanned<String>>,
    /// `notValues`.
    pub not_values: Vec<Spanned<String>>,
}
