//! The calls: a workload's stream, and a watcher's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use dataplane::registry::Instance;
use dataplane::registry::wire::registry_server::Registry;
use dataplane::registry::wire::{
    self, RegisterRequest, RegisterResponse, WatchRequest, WatchResponse,
};
use identity::peer_of::ConnectionPeer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Shared;
use crate::book::{Refused, Session, State};

static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// The service `portcullis.registry.v1.Registry`.
#[derive(Debug)]
pub(super) struct Calls(pub(super) Arc<Shared>);

#[async_trait]
impl Registry for Calls {
    type RegisterStream = ReceiverStream<Result<RegisterResponse, Status>>;
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn register(
        &self,
        request: Request<Streaming<RegisterRequest>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let peer = peer(&request)?;
        let (say, said) = mpsc::channel(4);
        let workload = Workload {
            shared: Arc::clone(&self.0),
            peer,
            session: Session(SESSIONS.fetch_add(1, Ordering::Relaxed)),
        };
        let requests = request.into_inner();
        tokio::spawn(async move {
            let draining = workload.shared.lifecycle.clone();
            let ended = tokio::select! {
                ended = workload.listen(requests, &say) => ended,
                () = draining.drain_begun() => Ok(()),
            };
            // First out of the mesh, then the answer: who has said farewell may end now.
            drop(workload);
            if let Err(status) = ended {
                say.send(Err(status)).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let peer = peer(&request)?;
        let (say, said) = mpsc::channel(4);
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let mut states = shared.published.subscribe();
            let mut before: Option<Arc<State>> = None;
            loop {
                let state = Arc::clone(&states.borrow_and_update());
                if !peer.still_trusted(&shared.material, SystemTime::now()) {
                    say.send(Err(untrusted())).await.ok();
                    return;
                }
                let told = told(&shared.life, before.as_deref(), &state);
                before = Some(state);
                if say.send(Ok(told)).await.is_err() {
                    return;
                }
                tokio::select! {
                    changed = states.changed() => if changed.is_err() { return },
                    () = say.closed() => return,
                    () = shared.lifecycle.drain_begun() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(said)))
    }
}

/// One workload's stream. Its end takes the workload out of the mesh.
#[derive(Debug)]
struct Workload {
    shared: Arc<Shared>,
    peer: Arc<ConnectionPeer>,
    session: Session,
}

impl Workload {
    async fn listen(
        &self,
        mut requests: Streaming<RegisterRequest>,
        say: &mpsc::Sender<Result<RegisterResponse, Status>>,
    ) -> Result<(), Status> {
        let lease = u32::try_from(self.shared.lease.as_millis()).unwrap_or(u32::MAX);
        // An error is a connection that is gone.
        while let Ok(Some(request)) = requests.message().await {
            if !self
                .peer
                .still_trusted(&self.shared.material, SystemTime::now())
            {
                return Err(untrusted());
            }
            self.heard(request)?;
            let answer = RegisterResponse {
                lease_milliseconds: lease,
            };
            if say.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn heard(&self, request: RegisterRequest) -> Result<(), Status> {
        let caller = &self.peer.identity().id;
        let Some(instance) = request.instance else {
            self.shared
                .change(|book, now| (book.hear(self.session, now), ()));
            return Ok(());
        };
        let instance = Instance::try_from(instance).map_err(|error| {
            self.shared.refused.inc();
            tracing::warn!(%caller, %error, "a registration makes no sense");
            Status::invalid_argument(error.to_string())
        })?;
        let name = instance.name.clone();
        let (state, reason) = (instance.state, instance.reason.clone());
        let told = self.shared.change(|book, now| {
            let told = book.tell(self.session, caller, instance, now);
            (matches!(told, Ok(true)), told)
        });
        match told {
            Ok(true) => tracing::info!(%name, %caller, %state, reason, "registered"),
            Ok(false) => {}
            Err(refused) => {
                self.shared.refused.inc();
                tracing::warn!(%caller, %refused, "a registration is refused");
                let words = refused.to_string();
                return Err(match refused {
                    Refused::NotYours { .. } => Status::permission_denied(words),
                    Refused::Taken { .. } => Status::already_exists(words),
                    Refused::Another(_) => Status::failed_precondition(words),
                    Refused::Full => Status::resource_exhausted(words),
                });
            }
        }
        Ok(())
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let ended = self.shared.change(|book, now| {
            let ended = book.end(self.session, now);
            (ended, ended)
        });
        if ended {
            let caller = &self.peer.identity().id;
            tracing::info!(%caller, "a workload has gone");
        }
    }
}

/// The message to a watcher that knows `before`.
fn told(life: &str, before: Option<&State>, state: &State) -> WatchResponse {
    let nothing = State::default();
    let change = state.since(before.unwrap_or(&nothing));
    WatchResponse {
        life: life.to_owned(),
        version: state.version,
        complete: before.is_none(),
        settled: state.settled,
        instances: change
            .told
            .iter()
            .map(|i| wire::Instance::from(&**i))
            .collect(),
        forgotten: change
            .forgotten
            .iter()
            .map(wire::InstanceName::from)
            .collect(),
    }
}

fn peer<T>(request: &Request<T>) -> Result<Arc<ConnectionPeer>, Status> {
    let peer = request.extensions().get::<Arc<ConnectionPeer>>();
    peer.cloned()
        .ok_or_else(|| Status::unauthenticated("a certificate is needed"))
}

fn untrusted() -> Status {
    Status::unauthenticated("the certificate of this connection is not trusted any more")
}
