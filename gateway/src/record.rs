//! What is remembered of a request while it is served, for the metrics and the access log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::access::Note;
use dataplane::telemetry::{
    AccessLog, AccessRecord, Observation, PartyId, Reporter, RequestProtocol, ResponseFlags,
    Security, ServiceId,
};
use dataplane::{LocalReply, Outcome};
use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::protocols::http::ServerSession;

use crate::connection::Connection;
use crate::exchange::Stop;
use crate::gateway::Gateway;
use crate::tidy::Tidied;

/// One request, from its head to its last byte.
#[derive(Debug)]
pub(crate) struct Record {
    started: Instant,
    grpc: bool,
    grpc_status: Option<u16>,
    flags: ResponseFlags,
    service: ServiceId,
    destination: PartyId,
    /// Absent when no log is kept.
    line: Option<Box<AccessRecord>>,
}

impl Record {
    /// Begins when the head is complete.
    pub(crate) fn begin(session: &ServerSession, connection: &Connection, log: &AccessLog) -> Self {
        let line = log
            .is_on()
            .then(|| Box::new(blank_line(session, connection)));
        Self {
            started: Instant::now(),
            grpc: false,
            grpc_status: None,
            flags: ResponseFlags::default(),
            service: ServiceId::default(),
            destination: PartyId::default(),
            line,
        }
    }

    /// When the request began.
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// The request is tidy: from now on the log shows it as it was judged.
    pub(crate) fn tidied(&mut self, request: &Tidied) {
        self.grpc = request.grpc;
        if let Some(line) = &mut self.line {
            line.path = request.target();
            line.x_forwarded_for = request.forwarded_for();
            line.request_id = Some(request.request_id.clone());
            line.authority = request.headers.get(HOST).cloned();
            line.trace_id = Some(request.trace_id());
        }
    }

    /// The generation of the policies that judge the request.
    pub(crate) fn generation(&mut self, generation: u64) {
        self.note(|line| line.generation = generation);
    }

    /// What was decided, and by which rules.
    pub(crate) fn admission(&mut self, note: &Note<'_>) {
        self.note(|line| note.write(line));
    }

    /// The route that matched.
    pub(crate) fn route(&mut self, name: Option<&Arc<str>>) {
        self.note(|line| line.route_name = name.cloned());
    }

    /// The cluster that was chosen.
    pub(crate) fn cluster(&mut self, service: ServiceId, name: impl FnOnce() -> Arc<str>) {
        self.service = service;
        self.note(|line| line.upstream_cluster = Some(name()));
    }

    /// What forwarding came to.
    pub(crate) fn forwarded(&mut self, destination: PartyId, outcome: &Outcome) {
        self.destination = destination;
        self.flags |= outcome.flags;
        self.note(|line| {
            line.upstream_host = outcome.address;
            line.attempts = outcome.attempts;
            line.upstream_service_time = outcome.service_time;
            line.upstream_transport_failure_reason
                .clone_from(&outcome.failure);
        });
    }

    /// The head of the upstream's response arrived.
    pub(crate) fn upstream_answered(&mut self, headers: &HeaderMap) {
        self.grpc_status(headers.get("grpc-status"));
        self.note(|line| line.details = Arc::from("via_upstream"));
    }

    /// A route answers itself.
    pub(crate) fn answered(&mut self, details: &'static str) {
        self.note(|line| line.details = Arc::from(details));
    }

    /// A `grpc-status`, of the head or of the trailers.
    pub(crate) fn grpc_status(&mut self, status: Option<&HeaderValue>) {
        let status = status.and_then(|value| value.to_str().ok()?.parse().ok());
        if self.grpc && status.is_some() {
            self.grpc_status = status;
        }
    }

    /// We answer ourselves.
    pub(crate) fn replied(&mut self, reply: &LocalReply) {
        self.flags |= reply.flags;
        self.note(|line| line.details = Arc::from(&*reply.details));
        if self.grpc {
            self.grpc_status = Some(reply.grpc_status().code());
        }
    }

    /// The exchange broke off.
    fn stopped(&mut self, stop: &Stop) {
        let (flags, details) = match stop {
            Stop::Reply(reply) => (reply.flags, "local_reply"),
            Stop::Refused(refusal) => (refusal.reply.flags, "local_reply"),
            Stop::Client(error) => {
                tracing::debug!(%error, "the client's side ended early");
                (
                    ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
                    "downstream_remote_disconnect",
                )
            }
            Stop::Upstream(error) => {
                let cause: Arc<str> = error.to_string().into();
                self.note(|line| line.upstream_transport_failure_reason = Some(cause));
                (
                    ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
                    "upstream_reset_after_response_started{connection_termination}",
                )
            }
            Stop::Deadline => (ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, "response_timeout"),
        };
        self.flags |= flags;
        self.note(|line| line.details = Arc::from(details));
    }

    /// Counts and logs the request, which is over.
    pub(crate) fn finish(mut self, session: &ServerSession, end: &Result<(), Stop>, at: &Gateway) {
        if let Err(stop) = end {
            self.stopped(stop);
        }
        let duration = self.started.elapsed();
        let response_code = session
            .response_written()
            .map_or(0, |response| StatusCode::as_u16(&response.status));
        let request_bytes = u64::try_from(session.body_bytes_read()).unwrap_or(u64::MAX);
        let response_bytes = u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX);
        at.metrics.observe(&Observation {
            reporter: Reporter::Source,
            source: at.source,
            destination: self.destination,
            service: self.service,
            protocol: if self.grpc {
                RequestProtocol::Grpc
            } else {
                RequestProtocol::Http
            },
            response_code,
            flags: self.flags,
            grpc_status: self.grpc_status,
            security: Security::Unknown,
            duration,
            request_bytes,
            response_bytes,
        });
        if let Some(mut line) = self.line {
            line.response_code = response_code;
            line.grpc_status = self.grpc_status;
            line.flags = self.flags;
            line.bytes_received = request_bytes;
            line.bytes_sent = response_bytes;
            line.duration = duration;
            at.access_log.write(*line);
        }
    }

    fn note(&mut self, note: impl FnOnce(&mut AccessRecord)) {
        if let Some(line) = &mut self.line {
            note(line);
        }
    }
}

/// A line with what is known of every request, also of one that is refused at once.
fn blank_line(session: &ServerSession, connection: &Connection) -> AccessRecord {
    let header = session.req_header();
    AccessRecord {
        start: SystemTime::now(),
        method: Method::clone(&header.method),
        path: String::from_utf8_lossy(header.raw_path()).into_owned(),
        protocol: Version::clone(&header.version),
        response_code: 0,
        grpc_status: None,
        flags: ResponseFlags::default(),
        details: Arc::default(),
        upstream_transport_failure_reason: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: Duration::ZERO,
        upstream_service_time: None,
        x_forwarded_for: None,
        user_agent: header.headers.get(USER_AGENT).cloned(),
        request_id: None,
        authority: header.headers.get(HOST).cloned(),
        upstream_host: None,
        upstream_cluster: None,
        route_name: None,
        downstream_remote_address: Some(connection.peer),
        downstream_local_address: Some(connection.local),
        requested_server_name: connection.tls.as_ref().and_then(|tls| tls.sni.clone()),
        source_principal: None,
        policy: None,
        decision_id: None,
        let_pass: false,
        audit_policy: None,
        dry_run: None,
        trace_id: None,
        attempts: 0,
        generation: 0,
    }
}
