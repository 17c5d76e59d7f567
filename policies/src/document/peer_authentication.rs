//! PeerAuthentication (`security.istio.io`): how strictly peers prove who they are.

use std::collections::BTreeMap;

use super::{LabelSelector, Meta, Spanned};
use crate::decode::{Cursor, Document, Fields};
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::shortened;

/// Istio's PeerAuthentication.
#[derive(Clone, Debug)]
pub struct PeerAuthentication {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector`.
    pub selector: Option<LabelSelector>,
    /// `spec.mtls.mode`.
    pub mode: Option<Spanned<PeerAuthenticationMode>>,
    /// `spec.portLevelMtls`: by workload port.
    pub port_level: BTreeMap<u16, Spanned<PeerAuthenticationMode>>,
}

/// `mtls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAuthenticationMode {
    /// `UNSET`: as the next wider level says.
    Unset,
    /// `DISABLE`: plaintext only.
    Disable,
    /// `PERMISSIVE`: both.
    Permissive,
    /// `STRICT`: mTLS only.
    Strict,
}

impl Document for PeerAuthentication {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let selector = f.optional("selector");
        let mode = f.get("mtls").and_then(|cursor| mtls(&cursor));
        let mut port_level = BTreeMap::new();
        let ports = f.get("portLevelMtls").and_then(|cursor| cursor.entries());
        if ports.as_ref().is_some_and(Vec::is_empty) {
            let message = "`portLevelMtls` names no port";
            f.error_at("portLevelMtls", codes::INVALID_LENGTH, message, None);
        }
        for (port, cursor) in ports.unwrap_or_default() {
            let mode = mtls(&cursor);
            match port.parse::<u16>() {
                Ok(port) if port > 0 => port_level.extend(mode.map(|mode| (port, mode))),
                _ => {
                    let message =
                        format!("`{}` is not a port between 1 and 65535", shortened(port));
                    f.report(Diagnostic::error(
                        codes::INVALID_VALUE,
                        cursor.key_at(),
                        &cursor.path,
                        message,
                    ));
                }
            }
        }
        let unselective = selector.as_ref().is_none_or(LabelSelector::is_empty);
        if unselective && f.has("portLevelMtls") {
            let message = "`portLevelMtls` needs a `selector`: ports belong to workloads";
            let path = f.cursor().path.field("portLevelMtls");
            f.report(Diagnostic::error(
                codes::MISSING_FIELD,
                f.cursor().key_at(),
                path,
                message,
            ));
        }
        Some(Self {
            meta,
            selector,
            mode,
            port_level,
        })
    }
}

/// `{mode: STRICT}`; `{}` inherits.
fn mtls(cursor: &Cursor<'_>) -> Option<Spanned<PeerAuthenticationMode>> {
    cursor.fields(|f| match f.get("mode") {
        None => Some(f.cursor().spanned(PeerAuthenticationMode::Unset)),
        Some(cursor) => {
            let mode = cursor.one_of(&[
                ("UNSET", PeerAuthenticationMode::Unset),
                ("DISABLE", PeerAuthenticationMode::Disable),
                ("PERMISSIVE", PeerAuthenticationMode::Permissive),
                ("STRICT", PeerAuthenticationMode::Strict),
            ])?;
            Some(cursor.spanned(mode))
        }
    })
}
