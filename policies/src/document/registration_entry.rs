//! RegistrationEntry (`portcullis.dev/v1`): which caller of the CA may have which identity, in SPIRE's terms.

use std::time::Duration;

use super::{Meta, Spanned};

/// Which evidence entitles to which SPIFFE ID.
#[derive(Clone, Debug)]
pub struct RegistrationEntry {
    /// What it is called.
    pub meta: Meta,
    /// `spec.spiffeID`, as written; the crate `ca` checks its grammar and trust domain.
    pub spiffe_id: Spanned<String>,
    /// `spec.selectors`: all must be met; never empty.
    pub selectors: Vec<Spanned<EntrySelector>>,
    /// `spec.x509SVIDTTL`.
    pub x509_svid_ttl: Option<Spanned<Duration>>,
}

/// One selector, `type:value`, such as `join_token:order` or `unix:uid:1000`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntrySelector {
    /// Before the first colon.
    pub kind: String,
    /// After the first colon; never empty.
    pub value: String,
}

impl std::fmt::Display for EntrySelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}
