//! MeshConfig (`portcullis.dev`): Istio's mesh-wide settings as a document.

use super::{Meta, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields, is_host_name};
use crate::mesh::PathNormalization;

/// Istio's `MeshConfig`; a set holds at most one.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// What it is called.
    pub meta: Meta,
    /// `spec.trustDomain`: must be the process's own.
    pub trust_domain: Option<Spanned<String>>,
    /// `spec.trustDomainAliases`: older names that policies may still use.
    pub trust_domain_aliases: Option<Vec<Spanned<String>>>,
    /// `spec.rootNamespace`: whose policies hold everywhere; default `istio-system`.
    pub root_namespace: Option<Spanned<String>>,
    /// `spec.pathNormalization.normalization`.
    pub path_normalization: Option<Spanned<PathNormalization>>,
}

impl Document for MeshConfig {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let trust_domain = f.optional::<Spanned<TrustDomain>>("trustDomain");
        let aliases = f.has("trustDomainAliases");
        let trust_domain_aliases = f.list::<Spanned<TrustDomain>>("trustDomainAliases");
        let name = |TrustDomain(name)| name;
        Some(Self {
            meta,
            trust_domain: trust_domain.map(|domain| domain.map(name)),
            trust_domain_aliases: aliases.then(|| {
                let aliases = trust_domain_aliases.into_iter();
                aliases.map(|alias| alias.map(name)).collect()
            }),
            root_namespace: f
                .get("rootNamespace")
                .and_then(|cursor| namespace(&cursor).map(|name| cursor.spanned(name))),
            path_normalization: f
                .get("pathNormalization")
                .and_then(|cursor| cursor.fields(|f| Some(f.optional("normalization"))))
                .flatten(),
        })
    }
}

/// The name of a trust domain (SPIFFE ID specification, section 2.1).
struct TrustDomain(String);

impl Decode for TrustDomain {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let lawful = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if (1..=255).contains(&text.len()) && text.bytes().all(lawful) {
            return Some(Self(text.to_owned()));
        }
        let help = "lower-case letters, digits, `.`, `-` and `_`, as in `cluster.local`";
        cursor.invalid_with("a trust domain", Some(help.to_owned()))
    }
}

fn namespace(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    if is_host_name(text) && !text.contains('.') {
        Some(text.to_owned())
    } else {
        cursor.invalid("a namespace")
    }
}

impl Decode for PathNormalization {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("DEFAULT", Self::Base),
            ("NONE", Self::None),
            ("BASE", Self::Base),
            ("MERGE_SLASHES", Self::MergeSlashes),
            ("DECODE_AND_MERGE_SLASHES", Self::DecodeAndMergeSlashes),
        ])
    }
}
