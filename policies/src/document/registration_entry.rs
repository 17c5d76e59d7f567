//! RegistrationEntry (`portcullis.dev/v1`): which caller of the CA may have which identity, in SPIRE's terms.

use std::time::Duration;

use super::{Meta, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields};

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

impl Document for RegistrationEntry {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let spiffe_id = f.get("spiffeID").map(|cursor| spiffe_id(&cursor));
        let selectors = f.non_empty("selectors");
        let x509_svid_ttl = f.optional("x509SVIDTTL");
        for (field, reason) in [
            ("parentID", "the CA attests every caller itself"),
            ("federatesWith", "federation is not supported"),
            ("jwtSVIDTTL", "JWT-SVIDs are not issued"),
            (
                "dnsNames",
                "a certificate has exactly one name, its SPIFFE ID",
            ),
            ("admin", "administration goes through the CA's socket only"),
            ("downstream", "there are no downstream servers"),
            (
                "storeSVID",
                "private keys stay in the process that made them",
            ),
            ("expiresAt", "remove the entry when it should end"),
            ("hint", "there is no Workload API to show it"),
        ] {
            f.refused(field, reason);
        }
        if spiffe_id.is_none() {
            f.required::<String>("spiffeID");
        }
        Some(Self {
            meta,
            spiffe_id: spiffe_id??,
            selectors: selectors?,
            x509_svid_ttl,
        })
    }
}

fn spiffe_id(cursor: &Cursor<'_>) -> Option<Spanned<String>> {
    let text = cursor.text()?;
    if text.starts_with("spiffe://") {
        return Some(cursor.spanned(text.to_owned()));
    }
    cursor.invalid_with(
        "a SPIFFE ID",
        Some("write `spiffe://cluster.local/ns/my-app/sa/order-service`".to_owned()),
    )
}

impl Decode for EntrySelector {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.text()?.split_once(':') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => Some(Self {
                kind: kind.to_owned(),
                value: value.to_owned(),
            }),
            _ => cursor.invalid_with(
                "a selector",
                Some(
                    "write `type:value`, such as `join_token:order` or `unix:uid:1000`".to_owned(),
                ),
            ),
        }
    }
}
