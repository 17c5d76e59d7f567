//! VirtualService (`networking.istio.io`): where requests for a host go.

use super::{HttpRule, Meta, Spanned};

/// Istio's VirtualService.
#[derive(Clone, Debug)]
pub struct VirtualService {
    /// What it is called.
    pub meta: Meta,
    /// `spec.hosts`, as written.
    pub hosts: Vec<Spanned<String>>,
    /// `spec.gateways`, as written; empty means `mesh`.
    pub gateways: Vec<Spanned<String>>,
    /// `spec.http`, first match wins.
    pub http: Vec<HttpRule>,
}

/// Istio's `Destination`.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `host`, as written.
    pub host: Spanned<String>,
    /// `subset`.
    pub subset: Option<Spanned<String>>,
    /// `port.number`.
    pub port: Option<Spanned<u16>>,
}
