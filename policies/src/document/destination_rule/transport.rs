//! How connections and retries to a destination are wrapped and bounded: tunnel and PROXY protocol, which are not in
//! force, and the retry budget.

use crate::decode::{Cursor, Decode, HostOrIp, Port};
use crate::diagnostic::codes;

/// Istio's `TunnelSettings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// `protocol`; CONNECT if not given.
    pub protocol: TunnelProtocol,
    /// `targetHost`: a name or an IP address.
    pub target_host: String,
    /// `targetPort`.
    pub target_port: u16,
}

/// `tunnel.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TunnelProtocol {
    /// `CONNECT`.
    #[default]
    Connect,
    /// `POST`.
    Post,
}

/// `proxyProtocol.version`; V1 if not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// `V1`: text.
    #[default]
    V1,
    /// `V2`: binary.
    V2,
}

/// Istio's `RetryBudget`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// `percent` of the requests under way that may be retries, 0 to 100; 20 if not given.
    pub percent: f64,
    /// `minRetryConcurrency`: retries that are always allowed; 3 if not given.
    pub min_retry_concurrency: u32,
}

impl Decode for Tunnel {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let protocol = f.or_default("protocol");
            let host = f.required::<HostOrIp>("targetHost");
            let port = f.required::<Port>("targetPort");
            Some(Self {
                protocol,
                target_host: host?.0,
                target_port: port?.0,
            })
        })
    }
}

impl Decode for TunnelProtocol {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[("CONNECT", Self::Connect), ("POST", Self::Post)])
    }
}

impl Decode for ProxyProtocolVersion {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let version = f
                .get("version")
                .and_then(|cursor| cursor.one_of(&[("V1", Self::V1), ("V2", Self::V2)]));
            Some(version.unwrap_or_default())
        })
    }
}

impl Decode for RetryBudget {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let percent = f.optional::<f64>("percent").unwrap_or(20.0);
            if !(0.0..=100.0).contains(&percent) {
                let message = format!("{percent} is not a percentage between 0 and 100");
                f.error_at("percent", codes::INVALID_VALUE, message, None);
            }
            Some(Self {
                percent,
                min_retry_concurrency: f.optional("minRetryConcurrency").unwrap_or(3),
            })
        })
    }
}
