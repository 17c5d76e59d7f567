//! The workloads' calls: who calls, what is answered, and what a refusal leaves behind.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use identity::material::MaterialReader;
use identity::wire::workload_ca_server::WorkloadCa;
use identity::wire::{
    Bundle, EnrolRequest, IssueEdgeRequest, IssueEdgeResponse, IssueResponse, RenewRequest,
    WatchBundleRequest,
};
use runtime::lifecycle::Lifecycle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::accept::Connection;
use crate::bundle::to_wire;
use crate::issuance::{Caller, Issuance};
use crate::issue::{hex, unix};
use crate::limits::{CallerLimit, Rate};
use crate::refusal::Refusal;
use crate::store::Refused;

/// Refusals that are written to the record; beyond, they are only logged and counted, so that strangers can't wear out
/// the disk.
const RECORDED_REFUSALS: Rate = Rate {
    per_second: 20.0,
    burst: 200.0,
};

/// The service `portcullis.ca.v1.WorkloadCA`.
#[derive(Debug)]
pub struct Calls {
    issuance: Arc<Issuance>,
    reader: MaterialReader,
    life: Lifecycle,
    recorded: CallerLimit<()>,
}

impl Calls {
    /// Answers from `issuance`; `reader` tells whether a connection's certificate is trusted still.
    pub fn new(issuance: Arc<Issuance>, reader: MaterialReader, life: Lifecycle) -> Self {
        Self {
            issuance,
            reader,
            life,
            recorded: CallerLimit::new(RECORDED_REFUSALS),
        }
    }

    /// Who calls, and whether the certificate it showed holds still.
    fn caller<T>(&self, request: &Request<T>) -> (Caller, Result<(), Refusal>) {
        let mut caller = Caller {
            request: request_id(),
            ..Caller::default()
        };
        let Some(connection) = request.extensions().get::<Connection>() else {
            return (caller, Ok(()));
        };
        caller.address = Some(connection.address);
        let Some(peer) = &connection.peer else {
            return (caller, Ok(()));
        };
        caller.peer = Some(peer.identity().clone());
        if peer.still_trusted(&self.reader, SystemTime::now()) {
            return (caller, Ok(()));
        }
        let name = peer.identity().id.as_str().to_owned();
        (caller, Err(Refusal::CertificateEnded(name)))
    }

    async fn answer<T, Q, F>(
        &self,
        call: &'static str,
        request: Request<Q>,
        work: F,
    ) -> Result<Response<T>, Status>
    where
        F: AsyncFnOnce(&Q, &Caller) -> Result<T, Refusal>,
    {
        let (caller, trusted) = self.caller(&request);
        let outcome = match trusted {
            Ok(()) => work(request.get_ref(), &caller).await,
            Err(refusal) => Err(refusal),
        };
        match outcome {
            Ok(answer) => Ok(Response::new(answer)),
            Err(refusal) => Err(self.refuse(call, &caller, &refusal).await),
        }
    }

    async fn refuse(&self, call: &'static str, caller: &Caller, refusal: &Refusal) -> Status {
        self.issuance
            .metrics()
            .refused
            .with_label_values(&[refusal.code()])
            .inc();
        let from = caller
            .address
            .map(|address| address.to_string())
            .unwrap_or_default();
        let who = caller
            .peer
            .as_ref()
            .map(|peer| peer.id.as_str().to_owned())
            .unwrap_or_default();
        let whole = anyhow::Chain::new(refusal)
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let reason = whole.join(": ");
        let reason = runtime::escape::escape(&reason, 4096).into_owned();
        let (request, code, hint) = (&caller.request, refusal.code(), refusal.hint());
        if refusal.is_ours() {
            tracing::error!(
                request,
                call,
                code,
                reason,
                hint,
                from,
                caller = who,
                "refused"
            );
        } else if matches!(refusal, Refusal::Limited(_) | Refusal::Busy) {
            // Counted above; a line for each would let a stranger fill the log as fast as it can ask.
            tracing::debug!(request, call, code, reason, from, caller = who, "refused");
        } else {
            tracing::info!(
                request,
                call,
                code,
                reason,
                hint,
                from,
                caller = who,
                "refused"
            );
        }
        // While the store is down there is nothing to write to.
        if !refusal.is_ours() {
            let record = Refused {
                at: unix(SystemTime::now()),
                call: call.to_owned(),
                code: code.to_owned(),
                reason,
                hint: hint.to_owned(),
                from,
                caller: who,
                request: request.clone(),
            };
            self.record(record).await;
        }
        refusal.status(request)
    }

    async fn record(&self, refused: Refused) {
        if !self.recorded.admit((), Instant::now()) {
            self.issuance.metrics().unrecorded.inc();
            return;
        }
        if let Err(error) = self.issuance.store().record_refused(refused).await {
            tracing::error!(%error, "a refusal could not be recorded");
        }
    }
}

#[tonic::async_trait]
impl WorkloadCa for Calls {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<IssueResponse>, Status> {
        let issuance = &self.issuance;
        self.answer("Enrol", request, async |request, caller| {
            issuance.enrol(request, caller, SystemTime::now()).await
        })
        .await
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<IssueResponse>, Status> {
        let issuance = &self.issuance;
        self.answer("Renew", request, async |request, caller| {
            issuance.renew(request, caller, SystemTime::now()).await
        })
        .await
    }

    async fn issue_edge(
        &self,
        request: Request<IssueEdgeRequest>,
    ) -> Result<Response<IssueEdgeResponse>, Status> {
        let issuance = &self.issuance;
        self.answer("IssueEdge", request, async |request, caller| {
            issuance
                .issue_edge(request, caller, SystemTime::now())
                .await
        })
        .await
    }

    type WatchBundleStream = ReceiverStream<Result<Bundle, Status>>;

    async fn watch_bundle(
        &self,
        _: Request<WatchBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        let (pushed, stream) = mpsc::channel(1);
        let mut bundle = self.issuance.bundle().subscribe();
        let life = self.life.clone();
        let watchers = self.issuance.metrics().watchers.clone();
        tokio::spawn(async move {
            watchers.inc();
            loop {
                let current = to_wire(&bundle.borrow_and_update());
                if pushed.send(Ok(current)).await.is_err() {
                    break;
                }
                tokio::select! {
                    changed = bundle.changed() => if changed.is_err() { break },
                    () = pushed.closed() => break,
                    // The stream ends, so that the connection can; the client comes back to our successor.
                    () = life.drain_begun() => break,
                }
            }
            watchers.dec();
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn request_id() -> String {
    let mut random = [0_u8; 8];
    // Without random numbers nothing can be issued either; the id is only for finding a line in the log.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return "0".to_owned();
    }
    hex(&random)
}
