//! PeerAuthentication (`security.istio.io`): how strictly peers prove who they are.

use std::collections::BTreeMap;

use super::{LabelSelector, Meta, Spanned};

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
