//! The line of one TCP connection: the fields of a request's line that it has, under the same names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use identity::SpiffeId;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::record::{DryRunNote, clean, millis};
use crate::telemetry::ResponseFlags;

/// What is logged of one TCP connection when it is over.
#[derive(Debug, Clone)]
pub struct TcpRecord {
    /// When it was accepted.
    pub start: SystemTime,
    /// What a proxy did to it.
    pub flags: ResponseFlags,
    /// Why it ended if not by its own ends, as `rbac_access_denied_matched_policy[…]` (Envoy's
    /// `CONNECTION_TERMINATION_DETAILS`).
    pub termination: Option<Arc<str>>,
    /// What TLS or TCP said when the endpoint could not be reached, or when the connection broke.
    pub upstream_transport_failure_reason: Option<Arc<str>>,
    /// Bytes that the client sent.
    pub bytes_received: u64,
    /// Bytes that the server sent.
    pub bytes_sent: u64,
    /// From the accept to the end.
    pub duration: Duration,
    /// The endpoint, or the application.
    pub upstream_host: Option<SocketAddr>,
    /// Istio's cluster name.
    pub upstream_cluster: Option<Arc<str>>,
    /// The client's address.
    pub downstream_remote_address: SocketAddr,
    /// The address the client connected to.
    pub downstream_local_address: SocketAddr,
    /// Server name of the client's TLS handshake.
    pub requested_server_name: Option<Arc<str>>,
    /// The client's identity, when it proved one.
    pub source_principal: Option<SpiffeId>,
    /// The rule that decided, as `ns[my-app]-policy[x]-rule[0]`.
    pub policy: Option<Arc<str>>,
    /// Number of the decision.
    pub decision_id: Option<Arc<str>>,
    /// The policies denied the connection, and the process's audit mode let it pass.
    pub let_pass: bool,
    /// The first AUDIT rule that matched.
    pub audit_policy: Option<Arc<str>>,
    /// What the policies in dry run would have done, where there are any.
    pub dry_run: Option<Box<DryRunNote>>,
    /// How many endpoints were tried.
    pub attempts: u32,
    /// Policy generation that decided last.
    pub generation: u64,
}

impl Serialize for TcpRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let start = jiff::Timestamp::try_from(self.start).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("start_time", &format_args!("{start:.3}"))?;
        map.serialize_entry("protocol", "TCP")?;
        map.serialize_entry("response_code", &0)?;
        map.serialize_entry("response_flags", &format_args!("{}", self.flags))?;
        map.serialize_entry(
            "connection_termination_details",
            &self.termination.as_deref().map(clean),
        )?;
        map.serialize_entry(
            "upstream_transport_failure_reason",
            &self.upstream_transport_failure_reason.as_deref().map(clean),
        )?;
        map.serialize_entry("bytes_received", &self.bytes_received)?;
        map.serialize_entry("bytes_sent", &self.bytes_sent)?;
        map.serialize_entry("duration", &millis(self.duration))?;
        map.serialize_entry("upstream_host", &self.upstream_host)?;
        map.serialize_entry("upstream_cluster", &self.upstream_cluster.as_deref())?;
        map.serialize_entry("downstream_remote_address", &self.downstream_remote_address)?;
        map.serialize_entry("downstream_local_address", &self.downstream_local_address)?;
        map.serialize_entry(
            "requested_server_name",
            &self.requested_server_name.as_deref().map(clean),
        )?;
        map.serialize_entry(
            "source_principal",
            &self.source_principal.as_ref().map(SpiffeId::as_str),
        )?;
        map.serialize_entry("policy", &self.policy.as_deref())?;
        map.serialize_entry("decision_id", &self.decision_id.as_deref())?;
        map.serialize_entry("let_pass", &self.let_pass)?;
        map.serialize_entry("audit_policy", &self.audit_policy.as_deref())?;
        map.serialize_entry("dry_run", &self.dry_run)?;
        map.serialize_entry("attempts", &self.attempts)?;
        map.serialize_entry("policy_generation", &self.generation)?;
        map.end()
    }
}
