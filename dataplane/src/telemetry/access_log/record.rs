//! One line of the access log: Envoy's field names and what only we know.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, Version};
use identity::SpiffeId;
use runtime::escape::{escape, escape_bytes, redact_query};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::telemetry::ResponseFlags;

/// The longest text of a stranger's that a line repeats, in bytes.
const LONGEST: usize = 2048;

/// What is logged of one request. Header values are cheap clones; the writer's thread formats them.
#[derive(Debug, Clone)]
pub struct AccessRecord {
    /// When the first byte of the request came.
    pub start: SystemTime,
    /// Request method.
    pub method: Method,
    /// Request path with its query, as it was judged and routed; the values of token parameters are redacted.
    pub path: String,
    /// Protocol of the client's connection.
    pub protocol: Version,
    /// Status that the client got; 0 when it got none.
    pub response_code: u16,
    /// `grpc-status`, for gRPC.
    pub grpc_status: Option<u16>,
    /// What a proxy did to the response.
    pub flags: ResponseFlags,
    /// Why a local answer was given, as `rbac_access_denied_matched_policy[…]`; `via_upstream` otherwise.
    pub details: Arc<str>,
    /// What TLS or TCP said when the endpoint could not be reached.
    pub upstream_transport_failure_reason: Option<Arc<str>>,
    /// Request body bytes.
    pub bytes_received: u64,
    /// Response body bytes.
    pub bytes_sent: u64,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// From the request's first byte upstream to the response's head.
    pub upstream_service_time: Option<Duration>,
    /// Header `x-forwarded-for`.
    pub x_forwarded_for: Option<HeaderValue>,
    /// Header `user-agent`.
    pub user_agent: Option<HeaderValue>,
    /// Header `x-request-id`.
    pub request_id: Option<HeaderValue>,
    /// Host header or `:authority`.
    pub authority: Option<HeaderValue>,
    /// The endpoint that answered or was tried last.
    pub upstream_host: Option<SocketAddr>,
    /// Istio's cluster name, as `outbound|8080|v1|product-service.my-app.svc.cluster.local`.
    pub upstream_cluster: Option<Arc<str>>,
    /// Name of the route.
    pub route_name: Option<Arc<str>>,
    /// The client's address.
    pub downstream_remote_address: Option<SocketAddr>,
    /// The address the client connected to.
    pub downstream_local_address: Option<SocketAddr>,
    /// Server name of the client's TLS handshake.
    pub requested_server_name: Option<Arc<str>>,
    /// The client's identity, when it proved one.
    pub source_principal: Option<SpiffeId>,
    /// The rule that decided, as `ns[my-app]-policy[x]-rule[0]`.
    pub policy: Option<Arc<str>>,
    /// Number of the decision, also in `x-portcullis-decision`.
    pub decision_id: Option<Arc<str>>,
    /// The policies denied the request, and the process's audit mode let it pass.
    pub let_pass: bool,
    /// The first AUDIT rule that matched.
    pub audit_policy: Option<Arc<str>>,
    /// What the policies in dry run would have done, where there are any.
    pub dry_run: Option<Box<DryRunNote>>,
    /// Trace id of `traceparent`.
    pub trace_id: Option<Arc<str>>,
    /// How many endpoints were tried.
    pub attempts: u32,
    /// Policy generation that the request was handled with.
    pub generation: u64,
}

/// What the policies in dry run would have done; Istio's two shadow engines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryRunNote {
    /// The DENY rule that matched.
    pub deny: Option<String>,
    /// `allowed` or `denied`; none without an ALLOW policy in dry run.
    pub allow: Option<&'static str>,
    /// The ALLOW rule that matched.
    pub allow_policy: Option<String>,
}

impl Serialize for AccessRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let start = jiff::Timestamp::try_from(self.start).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("start_time", &format_args!("{start:.3}"))?;
        map.serialize_entry("method", self.method.as_str())?;
        map.serialize_entry("path", &clean(&redact_query(&self.path)))?;
        map.serialize_entry("protocol", protocol(self.protocol))?;
        map.serialize_entry("response_code", &self.response_code)?;
        map.serialize_entry("response_flags", &format_args!("{}", self.flags))?;
        map.serialize_entry("response_code_details", &*self.details)?;
        map.serialize_entry("grpc_status", &self.grpc_status)?;
        map.serialize_entry(
            "upstream_transport_failure_reason",
            &self.upstream_transport_failure_reason.as_deref().map(clean),
        )?;
        map.serialize_entry("bytes_received", &self.bytes_received)?;
        map.serialize_entry("bytes_sent", &self.bytes_sent)?;
        map.serialize_entry("duration", &millis(self.duration))?;
        map.serialize_entry(
            "upstream_service_time",
            &self.upstream_service_time.map(millis),
        )?;
        map.serialize_entry("x_forwarded_for", &text(self.x_forwarded_for.as_ref()))?;
        map.serialize_entry("user_agent", &text(self.user_agent.as_ref()))?;
        map.serialize_entry("request_id", &text(self.request_id.as_ref()))?;
        map.serialize_entry("authority", &text(self.authority.as_ref()))?;
        map.serialize_entry("upstream_host", &self.upstream_host)?;
        map.serialize_entry("upstream_cluster", &self.upstream_cluster.as_deref())?;
        map.serialize_entry("route_name", &self.route_name.as_deref())?;
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
        map.serialize_entry("trace_id", &self.trace_id.as_deref())?;
        map.serialize_entry("attempts", &self.attempts)?;
        map.serialize_entry("policy_generation", &self.generation)?;
        map.end()
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

fn text(value: Option<&HeaderValue>) -> Option<Cow<'_, str>> {
    value.map(|v| escape_bytes(v.as_bytes(), LONGEST))
}

pub(super) fn clean(text: &str) -> Cow<'_, str> {
    escape(text, LONGEST)
}
