//! The account of one request, from its head to the last byte of its response; written exactly once, when it is over.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use dataplane::body::{BodyEnd, UploadState};
use dataplane::ext_authz::HeaderChange;
use dataplane::headers::{FORWARDED_FOR, REQUEST_ID, TraceContext};
use dataplane::local_reply::is_grpc;
use dataplane::shed::Place;
use dataplane::telemetry::{
    AccessRecord, Observation, PartyId, Reporter, RequestProtocol, ResponseFlags, Security,
    ServiceId,
};
use dataplane::{LocalReply, Outcome};
use http::{Method, Request, header};

use crate::activity::InFlight;
use crate::proxy::{Peer, Proxy};

/// One request and what became of it. Dropping it writes the metrics and the access log line.
#[derive(Debug)]
pub(crate) struct Exchange {
    proxy: Arc<Proxy>,
    _in_flight: InFlight,
    /// When the request's head was there.
    pub(crate) started: Instant,
    pub(crate) seen: Observation,
    /// The request is a HEAD: its answer has no body, whatever its head says.
    pub(crate) is_head: bool,
    /// Nobody answered yet: a drop means that the client went away.
    answered: bool,
    upload: Option<Arc<UploadState>>,
    /// What an external provider changes in the response's headers.
    pub(crate) changes: Vec<HeaderChange>,
    /// Among the requests under way.
    pub(crate) place: Place,
    /// How long the body of the response may be, in bytes.
    pub(crate) longest_response: Option<u64>,
    /// `None` when no access log is written.
    record: Option<Box<AccessRecord>>,
}

impl Exchange {
    /// Begins the account of a request as it came in.
    pub(crate) fn begin<B>(
        proxy: &Arc<Proxy>,
        reporter: Reporter,
        peer: &Peer,
        request: &Request<B>,
        in_flight: InFlight,
    ) -> Self {
        let protocol = if is_grpc(request.headers()) {
            RequestProtocol::Grpc
        } else {
            RequestProtocol::Http
        };
        let record = proxy
            .access_log
            .is_on()
            .then(|| Box::new(first_record(peer, request)));
        Self {
            proxy: Arc::clone(proxy),
            _in_flight: in_flight,
            started: Instant::now(),
            seen: Observation {
                reporter,
                source: peer.party,
                destination: PartyId::default(),
                service: ServiceId::default(),
                protocol,
                response_code: 0,
                flags: ResponseFlags::NONE,
                grpc_status: None,
                security: Security::None,
                duration: std::time::Duration::ZERO,
                request_bytes: 0,
                response_bytes: 0,
            },
            is_head: request.method() == Method::HEAD,
            answered: false,
            upload: None,
            changes: Vec::new(),
            place: Place::default(),
            longest_response: None,
            record,
        }
    }

    /// Whether the caller speaks gRPC.
    pub(crate) const fn is_grpc(&self) -> bool {
        matches!(self.seen.protocol, RequestProtocol::Grpc)
    }

    /// Changes the access log's record, where one is kept.
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut AccessRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// Takes the request as it will be judged and forwarded.
    pub(crate) fn tidied<B>(&mut self, request: &Request<B>, generation: u64) {
        self.note(|record| {
            record.generation = generation;
            record.path = request
                .uri()
                .path_and_query()
                .map_or_else(String::new, |target| target.as_str().to_owned());
            record.authority = request.headers().get(header::HOST).cloned();
        });
    }

    /// Takes the ids under which the request is known elsewhere.
    pub(crate) fn known_as<B>(&mut self, request: &Request<B>, trace: TraceContext) {
        self.note(|record| {
            record.request_id = request.headers().get(&REQUEST_ID).cloned();
            record.trace_id = Some(trace.trace_id_text().into());
        });
    }

    /// Takes what the forwarder says.
    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        self.seen.flags |= outcome.flags;
        self.note(|record| {
            record.attempts = outcome.attempts;
            record.upstream_host = outcome.address;
            record.upstream_service_time = outcome.service_time;
            record.upstream_transport_failure_reason = outcome.failure;
        });
    }

    /// The answer is the proxy's own.
    pub(crate) fn replied(&mut self, reply: &LocalReply) {
        self.answered = true;
        self.seen.flags |= reply.flags;
        self.seen.response_code = reply.status.as_u16();
        if self.is_grpc() {
            self.seen.response_code = 200;
            self.seen.grpc_status = Some(reply.grpc_status().code());
        }
        self.note(|record| record.details = Arc::from(&*reply.details));
    }

    /// The head of the answer is on its way.
    pub(crate) fn answered(&mut self, status: u16, grpc_status: Option<u16>) {
        self.answered = true;
        self.seen.response_code = status;
        self.seen.grpc_status = grpc_status;
    }

    /// The upload that runs beside the response.
    pub(crate) fn uploading(&mut self, upload: Option<Arc<UploadState>>) {
        self.upload = upload;
    }

    /// The body is over.
    pub(crate) fn ended(&mut self, end: BodyEnd, flags: ResponseFlags) {
        self.seen.flags |= flags;
        if end == BodyEnd::Dropped {
            self.seen.flags |= ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let seen = &mut self.seen;
        if !self.answered {
            seen.flags |= ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
        }
        seen.duration = self.started.elapsed();
        if let Some(upload) = &self.upload {
            seen.request_bytes = upload.bytes();
        }
        self.proxy.metrics.observe(seen);
        if let Some(mut record) = self.record.take() {
            record.response_code = seen.response_code;
            record.grpc_status = seen.grpc_status;
            record.flags = seen.flags;
            record.bytes_received = seen.request_bytes;
            record.bytes_sent = seen.response_bytes;
            record.duration = seen.duration;
            self.proxy.access_log.write(*record);
        }
    }
}

fn first_record<B>(peer: &Peer, request: &Request<B>) -> AccessRecord {
    let headers = request.headers();
    AccessRecord {
        start: SystemTime::now(),
        method: request.method().clone(),
        path: request.uri().to_string(),
        protocol: request.version(),
        response_code: 0,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        details: Arc::from("via_upstream"),
        upstream_transport_failure_reason: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: std::time::Duration::ZERO,
        upstream_service_time: None,
        x_forwarded_for: headers.get(&FORWARDED_FOR).cloned(),
        user_agent: headers.get(header::USER_AGENT).cloned(),
        request_id: headers.get(&REQUEST_ID).cloned(),
        authority: headers.get(header::HOST).cloned(),
        upstream_host: None,
        upstream_cluster: None,
        route_name: None,
        downstream_remote_address: Some(peer.remote),
        downstream_local_address: Some(peer.local),
        requested_server_name: peer.sni.clone(),
        source_principal: peer.identity().map(|identity| identity.id.clone()),
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
