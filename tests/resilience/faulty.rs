//! An application that fails, dawdles, breaks off and counts as its requests' paths ask it to.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle};

/// The application. `/errors/SHARE` answers so many percent of its requests with 500, `/status/N` all of them with N,
/// `/slow/MS` after so many milliseconds, `/reset` never: it closes
/// the connection. Everything else is answered at once with 200. While it is [broken](Self::broken),
/// every answer is 500.
pub struct Faulty {
    pub address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    random: Mutex<u64>,
    /// When requests came, by their path.
    arrivals: Mutex<HashMap<String, Vec<Instant>>>,
    connections: AtomicU64,
    broken: std::sync::atomic::AtomicBool,
}

impl Faulty {
    /// Starts on a free port, for HTTP/1.1 and HTTP/2; `seed` decides which requests fail.
    pub async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        *state.random.lock() = seed | 1;
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A caller that goes away is its own business.
                    let _ended = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// When the requests for a path came.
    pub fn arrivals(&self, path: &str) -> Vec<Instant> {
        let arrivals = self.state.arrivals.lock();
        arrivals.get(path).cloned().unwrap_or_default()
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// From now on every answer is 500, or none because of this.
    pub fn broken(&self, broken: bool) {
        self.state.broken.store(broken, Ordering::Relaxed);
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let path = request.uri().path().to_owned();
    state
        .arrivals
        .lock()
        .entry(path.clone())
        .or_default()
        .push(Instant::now());
    // A whole request before the answer: what is sent again must arrive whole again.
    let body = request.into_body().collect().await;
    let mut words = path.split('/').skip(1);
    let (what, number) = (words.next().unwrap(), words.next().unwrap_or_default());
    if what == "reset" {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let status = match what {
        _ if state.broken.load(Ordering::Relaxed) => 500,
        "errors" if state.fails(number.parse().unwrap()) => 500,
        "status" => number.parse().unwrap(),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number.parse().unwrap())).await;
            200
        }
        _ => 200,
    };
    let body = body.map(Collected::to_bytes).unwrap_or_default();
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

impl State {
    /// Whether the next of the requests of which `percent` fail is one of them (xorshift64*).
    fn fails(&self, percent: u64) -> bool {
        let mut random = self.random.lock();
        *random ^= *random >> 12;
        *random ^= *random << 25;
        *random ^= *random >> 27;
        (random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 100 < percent
    }
}
