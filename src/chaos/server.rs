//! The chaos API of a mesh on one machine: takes scenarios, and sees to it that every instance has them until they end.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use dataplane::chaos::{Fault, ServiceName};
use http::StatusCode;
use runtime::admin::{Admin, AdminRequest, AdminResponse};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep};

use super::board::{Board, Wanted};
use super::bodies::{Asked, InstanceBody, Refusal, ScenarioBody, StoppedBody};
use super::instances::{self, Instance};
use crate::directory::MeshDir;
use crate::names::DEFAULT_NAMESPACE;
use crate::ports::loopback;

/// How soon an instance that starts later has what holds.
const ROUND: Duration = Duration::from_millis(500);
/// How many ports after the one asked for are tried before any free one.
const NEIGHBOURS: u16 = 16;
/// Where scenarios stand in the API.
pub(crate) const SCENARIOS: &str = "/api/chaos/scenarios";
pub(crate) const ERROR: &str = "/api/chaos/error";
pub(crate) const LATENCY: &str = "/api/chaos/latency";

/// A listener on the loopback at `port`; a taken one falls back to the next free one.
pub(crate) fn listen(port: u16) -> std::io::Result<TcpListener> {
    let wanted = (port != 0).then(|| port..=port.saturating_add(NEIGHBOURS));
    let mut wanted = wanted.into_iter().flatten();
    let listener = match wanted.find_map(|port| TcpListener::bind(loopback(port)).ok()) {
        Some(listener) => listener,
        None => TcpListener::bind(loopback(0))?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the API for the mesh in `dir` on a listener of [`listen`], until it is dropped.
pub(crate) async fn serve(dir: MeshDir, listener: TcpListener) -> std::io::Result<()> {
    let server = Arc::new(Server {
        dir,
        board: Mutex::default(),
        changed: Notify::new(),
    });
    let answering = Arc::clone(&server).pages();
    tokio::select! {
        served = answering.serve(listener, std::future::pending()) => served,
        () = server.keep() => Ok(()),
    }
}

#[derive(Debug)]
struct Server {
    dir: MeshDir,
    /// Locked while instances are told, so that what they are told last is what is wanted.
    board: Mutex<Board>,
    changed: Notify,
}

type Answered<T> = Result<T, (StatusCode, Refusal)>;

impl Server {
    fn pages(self: Arc<Self>) -> Admin {
        let me = || Arc::clone(&self);
        let (error, latency, list, one, all) = (me(), me(), me(), me(), me());
        Admin::builder()
            .post(ERROR, move |request| {
                let server = Arc::clone(&error);
                async move { answer(server.begin(Asked::error(&request.body)).await) }
            })
            .post(LATENCY, move |request| {
                let server = Arc::clone(&latency);
                async move { answer(server.begin(Asked::latency(&request.body)).await) }
            })
            .get(SCENARIOS, move |_| {
                let server = Arc::clone(&list);
                async move { answer(server.list().await) }
            })
            .delete(SCENARIOS, move |_| {
                let server = Arc::clone(&all);
                async move { answer(server.end(None).await) }
            })
            .delete_below("/api/chaos/scenarios/", move |request: AdminRequest| {
                let server = Arc::clone(&one);
                let service = request
                    .path
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                async move { answer(server.end(Some(&service)).await) }
            })
            .build()
    }

    /// Keeps telling: instances start late and are started again.
    async fn keep(&self) {
        loop {
            let held = {
                let board = self.board.lock().await;
                let held: Vec<Wanted> = board.holding(Instant::now()).cloned().collect();
                if !held.is_empty()
                    && let Ok(instances) = instances::all(&self.dir).await
                {
                    instances::bring_to(instances, &held, Instant::now()).await;
                }
                !held.is_empty()
            };
            if held {
                sleep(ROUND).await;
            } else {
                self.changed.notified().await;
            }
        }
    }

    async fn begin(&self, asked: Result<Asked, Refusal>) -> Answered<ScenarioBody> {
        let asked = asked.map_err(|refusal| (StatusCode::BAD_REQUEST, refusal))?;
        let mut board = self.board.lock().await;
        let instances = self.instances().await?;
        let service = resolve(&instances, &asked.service)?;
        let now = Instant::now();
        let Some(wanted) = board.begin(&service, asked.fault, asked.lasts, asked.seed, now) else {
            let refusal = Refusal::new("too many scenarios hold already".to_owned());
            return Err((StatusCode::CONFLICT, refusal));
        };
        self.changed.notify_one();
        let held: Vec<Wanted> = board.holding(now).cloned().collect();
        let instances = instances::bring_to(instances, &held, now).await;
        let body = shown(&wanted, &instances, now);
        if body.instances.is_empty() {
            let refusal = Refusal {
                help: Some("it will, as soon as one is ready".to_owned()),
                ..Refusal::new(format!("no instance of `{}` took it yet", service.name))
            };
            return Err((StatusCode::SERVICE_UNAVAILABLE, refusal));
        }
        Ok(body)
    }

    async fn list(&self) -> Answered<Vec<ScenarioBody>> {
        let board = self.board.lock().await;
        let now = Instant::now();
        let held: Vec<&Wanted> = board.holding(now).collect();
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let instances = self.instances().await?;
        Ok(held
            .into_iter()
            .map(|wanted| shown(wanted, &instances, now))
            .collect())
    }

    /// Ends the scenarios of one service, or all.
    async fn end(&self, service: Option<&str>) -> Answered<StoppedBody> {
        let mut board = self.board.lock().await;
        let now = Instant::now();
        let instances = self.instances().await?;
        let ended = match service {
            None => board.end(|_| true, now),
            Some(name) => {
                // A service whose instances are all gone is known by its scenario.
                let ended = board.end(|of| is_called(of, name), now);
                if ended.is_empty() {
                    resolve(&instances, name)?;
                }
                ended
            }
        };
        let held: Vec<Wanted> = board.holding(now).cloned().collect();
        instances::bring_to(instances, &held, now).await;
        let stopped: BTreeSet<String> = ended.iter().map(|one| one.service.name.clone()).collect();
        Ok(StoppedBody {
            stopped: stopped.into_iter().collect(),
            scenarios: ended.len(),
        })
    }

    async fn instances(&self) -> Answered<Vec<Instance>> {
        let all = instances::all(&self.dir).await;
        all.map_err(|failure| {
            let refusal = Refusal::new(failure.to_string());
            (StatusCode::SERVICE_UNAVAILABLE, refusal)
        })
    }
}

/// Whether people mean the service by `name`: `name`, `name.namespace`, or longer as in DNS.
fn is_called(service: &ServiceName, name: &str) -> bool {
    let mut labels = name.split('.');
    let own = labels.next().is_some_and(|first| first == service.name);
    own && labels
        .next()
        .is_none_or(|second| second == service.namespace)
}

/// The service that people mean.
fn resolve(instances: &[Instance], name: &str) -> Answered<ServiceName> {
    let known = instances::services(instances);
    let meant = known.values().flatten().filter(|one| is_called(one, name));
    let meant: Vec<&ServiceName> = meant.collect();
    let in_default = || {
        let mut meant = meant.iter().copied();
        meant.find(|one| one.namespace == DEFAULT_NAMESPACE)
    };
    let found = match meant.as_slice() {
        [only] => Some(*only),
        _ => in_default(),
    };
    found.cloned().ok_or_else(|| {
        let shown = runtime::escape::escape(name, 128).to_string();
        let refusal = Refusal {
            error: format!("no service `{shown}` runs in this mesh"),
            help: None,
            services: known.into_keys().collect(),
        };
        (StatusCode::NOT_FOUND, refusal)
    })
}

fn shown(wanted: &Wanted, instances: &[Instance], now: Instant) -> ScenarioBody {
    let mut body = ScenarioBody {
        id: wanted.id.clone(),
        service: wanted.service.name.clone(),
        namespace: wanted.service.namespace.clone(),
        r#type: wanted.fault.kind().to_owned(),
        error_rate: None,
        error_type: None,
        delay_ms: None,
        probability: None,
        duration_seconds: wanted.lasts.as_secs(),
        remaining_seconds: wanted.left(now).as_secs(),
        seed: wanted.seed,
        instances: instances::of(instances, &wanted.service)
            .filter_map(|one| {
                Some(InstanceBody {
                    name: one.name().to_owned(),
                    struck: one.struck(&wanted.id)?,
                })
            })
            .collect(),
    };
    match wanted.fault {
        Fault::Error { rate, error_type } => {
            body.error_rate = Some(rate);
            body.error_type = Some(error_type);
        }
        Fault::Latency {
            delay_ms,
            probability,
        } => {
            body.delay_ms = Some(delay_ms);
            body.probability = Some(probability);
        }
    }
    body
}

fn answer<T: serde::Serialize>(answered: Answered<T>) -> AdminResponse {
    match answered {
        Ok(body) => AdminResponse::json(StatusCode::OK, &body),
        Err((status, refusal)) => AdminResponse::json(status, &refusal),
    }
}

/// Where the API of a mesh is.
pub(crate) fn url(at: SocketAddr) -> String {
    format!("http://{at}/api/chaos")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_falls_back_to_a_neighbour() {
        let first = listen(0).unwrap();
        let port = first.local_addr().unwrap().port();
        let second = listen(port).unwrap().local_addr().unwrap();
        assert_ne!(second.port(), port);
        assert!(second.ip().is_loopback());
    }

    #[test]
    fn services_have_short_and_long_names() {
        let service = ServiceName {
            name: "payment-service".to_owned(),
            namespace: "my-app".to_owned(),
        };
        for name in [
            "payment-service",
            "payment-service.my-app",
            "payment-service.my-app.svc.cluster.local",
        ] {
            assert!(is_called(&service, name), "{name}");
        }
        for name in ["payment", "payment-service.other", "", "my-app"] {
            assert!(!is_called(&service, name), "{name}");
        }
    }
}
