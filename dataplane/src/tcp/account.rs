//! The account of one TCP connection; written when it is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::Outcome;
use crate::access::Note;
use crate::telemetry::{
    PartyId, Reporter, ResponseFlags, Security, ServiceId, TcpConnection, TcpRecord,
};

use super::gate::Refusal;
use super::relay::{Carried, End};
use super::{Carrier, Peer};
use crate::passthrough::BLACK_HOLE;

/// One connection and what becomes of it. Dropping it writes the metrics and the access log line.
#[derive(Debug)]
pub struct Account {
    carrier: Arc<Carrier>,
    started: Instant,
    seen: TcpConnection,
    /// Whether the metrics know of it.
    opened: bool,
    carried: Arc<Carried>,
    /// What the metrics know of [`Self::carried`].
    reported: (u64, u64),
    /// `None` when no access log is written.
    record: Option<Box<TcpRecord>>,
}

impl Account {
    /// Begins the account of a connection whose peer is known.
    pub fn begin(carrier: &Arc<Carrier>, reporter: Reporter, peer: &Peer) -> Self {
        let security = match (reporter, &peer.proved) {
            (Reporter::Source, _) => Security::Unknown,
            (Reporter::Destination, Some(_)) => Security::MutualTls,
            (Reporter::Destination, None) => Security::None,
        };
        let record = carrier
            .access_log
            .is_on()
            .then(|| Box::new(first_record(peer)));
        Self {
            carrier: Arc::clone(carrier),
            started: Instant::now(),
            seen: TcpConnection {
                reporter,
                source: peer.party,
                destination: PartyId::default(),
                service: ServiceId::default(),
                security,
                flags: ResponseFlags::NONE,
            },
            opened: false,
            carried: Arc::default(),
            reported: (0, 0),
            record,
        }
    }

    /// Where the bytes are counted.
    pub fn carried(&self) -> Arc<Carried> {
        Arc::clone(&self.carried)
    }

    fn note(&mut self, change: impl FnOnce(&mut TcpRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// The other end is known: the connection counts as opened.
    pub fn opened(&mut self, service: ServiceId, destination: PartyId) {
        (self.seen.service, self.seen.destination) = (service, destination);
        self.count_as_opened();
    }

    fn count_as_opened(&mut self) {
        if !std::mem::replace(&mut self.opened, true) {
            self.carrier.metrics.opened(self.seen);
        }
    }

    /// What the policies say of it.
    pub fn judged(&mut self, note: &Note<'_>, generation: u64) {
        self.note(|record| {
            note.write_tcp(record);
            record.generation = generation;
        });
    }

    /// It is not let in, or not any longer.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.seen.flags |= refusal.flags;
        self.note(|record| {
            record.generation = refusal.generation;
            record.termination = Some(Arc::clone(&refusal.details));
            if let Some((policy, decision)) = &refusal.by_policies {
                record.policy.clone_from(policy);
                record.decision_id = decision.map(|id| id.to_string().into());
            }
        });
    }

    /// There is nothing to connect to.
    pub fn failed(&mut self, flags: ResponseFlags, details: impl Into<Arc<str>>) {
        self.seen.flags |= flags;
        let details = details.into();
        self.note(|record| record.termination = Some(details));
    }

    /// The connection may not go where it wants to (Istio's `BlackHoleCluster`).
    pub fn black_hole(&mut self, details: &str) {
        self.failed(ResponseFlags::NO_ROUTE_FOUND, details);
        self.note(|record| record.upstream_cluster = Some(BLACK_HOLE.into()));
    }

    /// What the search for an endpoint came to.
    pub fn outcome(&mut self, outcome: &Outcome, cluster: Option<&Arc<str>>) {
        self.seen.flags |= outcome.flags;
        self.note(|record| {
            record.attempts = outcome.attempts;
            record.upstream_host = outcome.address;
            record.upstream_cluster = cluster.cloned();
            record
                .upstream_transport_failure_reason
                .clone_from(&outcome.failure);
        });
    }

    /// The application is dialled.
    pub fn app(&mut self, address: SocketAddr) {
        self.note(|record| {
            record.upstream_host = Some(address);
            record.attempts = 1;
        });
    }

    /// The application takes no connection.
    pub fn app_gone(&mut self, reason: String) {
        self.seen.flags |= ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
        self.note(|record| record.upstream_transport_failure_reason = Some(reason.into()));
    }

    /// The policy generation that the connection was opened with.
    pub fn generation(&mut self, generation: u64) {
        self.note(|record| record.generation = generation);
    }

    /// How it ended.
    pub fn ended(&mut self, end: &End<Refusal>) {
        match end {
            End::Complete => {}
            End::Cut(refusal) => self.refused(refusal),
            End::Idle => self.failed(ResponseFlags::STREAM_IDLE_TIMEOUT, "idle_timeout"),
            End::Broken(error) => {
                self.seen.flags |= ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
                let reason: Arc<str> = error.to_string().into();
                self.note(|record| record.upstream_transport_failure_reason = Some(reason));
            }
        }
    }

    /// Tells the metrics what was carried since the last time.
    pub fn report(&mut self) {
        let (received, sent) = self.carried.totals();
        let (before_received, before_sent) = self.reported;
        let (received_now, sent_now) = (
            received.saturating_sub(before_received),
            sent.saturating_sub(before_sent),
        );
        // Flags belong to the end of a connection; bytes are counted where it was opened.
        let open = TcpConnection {
            flags: ResponseFlags::NONE,
            ..self.seen
        };
        self.carrier.metrics.carried(open, received_now, sent_now);
        self.reported = (received, sent);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let flags = std::mem::take(&mut self.seen.flags);
        self.count_as_opened();
        self.report();
        self.seen.flags = flags;
        self.carrier.metrics.closed(self.seen);
        if let Some(mut record) = self.record.take() {
            record.flags = flags;
            record.duration = self.started.elapsed();
            (record.bytes_received, record.bytes_sent) = self.carried.totals();
            self.carrier.access_log.write(*record);
        }
    }
}

fn first_record(peer: &Peer) -> TcpRecord {
    TcpRecord {
        start: SystemTime::now(),
        flags: ResponseFlags::NONE,
        termination: None,
        upstream_transport_failure_reason: None,
        bytes_received: 0,
        bytes_sent: 0,
        duration: std::time::Duration::ZERO,
        upstream_host: None,
        upstream_cluster: None,
        downstream_remote_address: peer.remote,
        downstream_local_address: peer.local,
        requested_server_name: peer.sni.clone(),
        source_principal: peer.identity().map(|identity| identity.id.clone()),
        policy: None,
        decision_id: None,
        let_pass: false,
        audit_policy: None,
        dry_run: None,
        attempts: 0,
        generation: 0,
    }
}
