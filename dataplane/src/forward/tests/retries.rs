//! Requests that are sent again, over real connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, header};
use http_body::Body as _;
use hyper::body::Incoming;
use policies::document::RetryOn;
use policies::resilience::{Asked, Backoff, Conditions, Jitter, Repeats};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::forward::metrics::RetryResult;
use crate::testing::{Speaks, empty};

const SERVICE: &str = "product-service.my-app.svc.cluster.local";

fn policy(attempts: u32, on: &str) -> RetryPolicy {
    let on: Vec<RetryOn> = on
        .split(',')
        .map(|on| RetryOn::parse(on).unwrap())
        .collect();
    RetryPolicy {
        attempts,
        on: Conditions::new(&on),
        backoff: Backoff {
            base: Duration::from_millis(1),
            jitter: Jitter::None,
        },
        asked: Asked::ByDocument,
        ..RetryPolicy::default()
    }
}

/// A request through the only cluster.
async fn by(
    via: &Via,
    snapshot: &Snapshot,
    policy: &RetryPolicy,
    limit: Option<Duration>,
    request: Request<TestBody>,
) -> Forwarded<TestBody> {
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    let way = Way {
        deadline: limit.map(|limit| Instant::now() + limit),
        ..Way::new(cluster, policy)
    };
    via.forward(snapshot, way, request).await
}

fn status(code: u16, text: &'static str) -> Response<TestBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// What a server was asked, try by try.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<HeaderMap>>>);

impl Log {
    fn note(&self, request: &Request<Incoming>) -> usize {
        let mut asked = self.0.lock().unwrap();
        asked.push(request.headers().clone());
        asked.len()
    }

    fn times(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn header(&self, at: usize, name: &str) -> Option<String> {
        let asked = self.0.lock().unwrap();
        Some(asked[at].get(name)?.to_str().unwrap().to_owned())
    }
}

/// A server that fails so many times, and then echoes.
async fn fails(speaks: Speaks, times: usize, code: u16) -> (Server, Log) {
    let asked = Log::default();
    let noted = asked.clone();
    let server = serve(speaks, None, move |request: Request<Incoming>| {
        let time = noted.note(&request);
        async move {
            if time <= times {
                return status(code, "fails");
            }
            Response::new(TestBody::new(request.into_body()))
        }
    })
    .await;
    (server, asked)
}

#[tokio::test]
async fn attempts_are_retries_and_each_try_has_the_whole_body() {
    let (server, asked) = fails(H1, 3, 500).await;
    let (via, snapshot) = (plain(), snapshot(&[server.address]));
    let mut put = post("/", full("the whole body"));
    *put.method_mut() = Method::PUT;
    let Forwarded { result, outcome } = by(&via, &snapshot, &policy(3, "5xx"), None, put).await;
    assert_eq!(text(result.unwrap()).await, "the whole body");
    assert_eq!((outcome.attempts, outcome.flags), (4, ResponseFlags::NONE));
    let counted: Vec<_> = (0..4)
        .map(|at| asked.header(at, "x-envoy-attempt-count").unwrap())
        .collect();
    assert_eq!(counted, ["1", "2", "3", "4"]);
    assert_eq!(via.retries.of(SERVICE, RetryResult::Retried), 3);
    assert_eq!(via.retries.of(SERVICE, RetryResult::Recovered), 1);
    // The answers that nobody wanted were read, so that one connection served all tries.
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn the_last_failure_is_what_the_client_gets() {
    let (server, asked) = fails(H2, 9, 503).await;
    let mut documents = Documents::new();
    documents.endpoint(server.address, None);
    let snapshot = documents.snapshot();
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    let (via, policy) = (plain(), policy(2, "503"));
    let way = Way {
        protocol: Some(UpstreamProtocol::Http2),
        ..Way::new(cluster, &policy)
    };
    let Forwarded { result, outcome } = via.forward(&snapshot, way, get("/")).await;
    let response = result.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text(response).await, "fails");
    assert_eq!((outcome.attempts, asked.times()), (3, 3));
    assert_eq!(outcome.flags, ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    assert_eq!(via.retries.of(SERVICE, RetryResult::Exhausted), 1);
}

#[tokio::test]
async fn what_may_have_taken_effect_is_not_repeated() {
    let request = |keyed: bool| {
        let mut request = post("/", full("order"));
        if keyed {
            let key = header::HeaderValue::from_static("8e03978e");
            request.headers_mut().insert("idempotency-key", key);
        }
        request
    };
    let everything = RetryPolicy {
        repeats: Repeats::Everything,
        ..policy(2, "5xx")
    };
    for (policy, keyed, times) in [
        (policy(2, "5xx"), false, 1),
        (policy(2, "5xx"), true, 3),
        (everything, false, 3),
    ] {
        let (server, asked) = fails(H1, 9, 500).await;
        let via = plain();
        let snapshot = snapshot(&[server.address]);
        let sent = by(&via, &snapshot, &policy, None, request(keyed)).await;
        assert_eq!(sent.result.unwrap().status(), 500);
        assert_eq!(asked.times(), times, "{keyed}");
        assert_eq!(
            via.retries.of(SERVICE, RetryResult::Effect),
            u64::from(times == 1)
        );
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_sent_once() {
    let (server, asked) = fails(H1, 9, 500).await;
    let via = plain().with(ForwardSettings {
        retry: RetryConfig { buffer_bytes: 10 },
        stream_idle: None,
    });
    let snapshot = snapshot(&[server.address]);
    for (body, times) in [("ten bytes.", 3), ("eleven byte", 1)] {
        let mut put = post("/", full(body));
        *put.method_mut() = Method::PUT;
        let before = asked.times();
        let sent = by(&via, &snapshot, &policy(2, "5xx"), None, put).await;
        assert_eq!(sent.result.unwrap().status(), 500);
        assert_eq!(asked.times() - before, times, "{body}");
    }
    assert_eq!(via.retries.of(SERVICE, RetryResult::Body), 1);
}

/// The client still sends while the first try fails; the second one goes on with it.
#[tokio::test]
async fn a_body_under_way_goes_on_in_the_next_try() {
    let asked = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&asked);
    let server = serve(H2, None, move |request| {
        let first = times.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                // Answers before the body has ended.
                return status(503, "");
            }
            let body = request.into_body().collect().await.unwrap();
            Response::new(full(body.to_bytes()))
        }
    })
    .await;
    let snapshot = snapshot(&[server.address]);
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    let (via, policy) = (plain(), policy(1, "503"));
    let (feeder, body) = fed();
    let mut put = post("/", body);
    *put.method_mut() = Method::PUT;
    let way = Way {
        protocol: Some(UpstreamProtocol::Http2),
        ..Way::new(cluster, &policy)
    };
    let sending = via.forward(&snapshot, way, put);
    let feeding = async {
        feeder.send(data("begun before ")).await.unwrap();
        eventually("the second try", || asked.load(Ordering::SeqCst) == 2).await;
        feeder.send(data("and ended after")).await.unwrap();
        drop(feeder);
    };
    let (sent, ()) = tokio::join!(sending, feeding);
    let response = sent.result.unwrap();
    assert_eq!(text(response).await, "begun before and ended after");
}

#[tokio::test]
async fn a_try_that_hangs_is_cut_and_the_next_endpoint_is_asked() {
    let stuck = serve(H1, None, |_| async { std::future::pending().await }).await;
    let quick = named("quick").await;
    let (via, snapshot) = (plain(), snapshot(&[stuck.address, quick.address]));
    let policy = RetryPolicy {
        per_try_timeout: Some(Duration::from_millis(100)),
        ..policy(1, "5xx")
    };
    for _ in 0..2 {
        let Forwarded { result, outcome } = by(&via, &snapshot, &policy, None, get("/")).await;
        assert_eq!(text(result.unwrap()).await, "quick");
        assert!(outcome.attempts <= 2);
    }
    stuck
        .until("the cut try ends", |server| server.open() == 0)
        .await;
    // Alone it is a timeout of its own kind.
    let alone = self::snapshot(&[stuck.address]);
    let Forwarded { result, outcome } = by(&via, &alone, &policy, None, get("/")).await;
    let reply = result.unwrap_err();
    assert_eq!(
        (reply.status, &*reply.details),
        (StatusCode::GATEWAY_TIMEOUT, "upstream_per_try_timeout")
    );
    let expected =
        ResponseFlags::UPSTREAM_REQUEST_TIMEOUT | ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
    assert_eq!((outcome.attempts, outcome.flags), (2, expected));
}

/// On a shared connection a cut try ends its own stream only.
#[tokio::test]
async fn a_cut_try_leaves_the_others_of_its_connection_alone() {
    let server = serve(H2, None, |request: Request<Incoming>| async move {
        if request.uri().path() == "/stuck" {
            std::future::pending::<()>().await;
        }
        let (feeder, body) = fed();
        tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                feeder.send(data("drip ")).await.ok();
            }
        });
        Response::new(body)
    })
    .await;
    let snapshot = snapshot(&[server.address]);
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    let via = plain();
    let cutting = RetryPolicy {
        per_try_timeout: Some(Duration::from_millis(50)),
        ..policy(1, "5xx")
    };
    let off = RetryPolicy::off();
    let way = |retry| Way {
        protocol: Some(UpstreamProtocol::Http2),
        ..Way::new(cluster, retry)
    };
    let slow = async {
        let sent = via.forward(&snapshot, way(&off), get("/slow")).await;
        text(sent.result.unwrap()).await
    };
    let (whole, cut) = tokio::join!(slow, via.forward(&snapshot, way(&cutting), get("/stuck")));
    assert_eq!(whole, "drip ".repeat(10));
    assert_eq!(cut.result.unwrap_err().status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn the_next_hop_is_told_what_is_left() {
    let (server, asked) = fails(H1, 1, 500).await;
    let policy = RetryPolicy {
        per_try_timeout: Some(Duration::from_secs(2)),
        backoff: Backoff {
            base: Duration::from_millis(30),
            jitter: Jitter::None,
        },
        ..policy(1, "5xx")
    };
    let limit = Some(Duration::from_millis(2_020));
    let sent = by(
        &plain(),
        &snapshot(&[server.address]),
        &policy,
        limit,
        get("/"),
    )
    .await;
    assert_eq!(sent.result.unwrap().status(), 200);
    let left = |at| -> u64 {
        let left = asked.header(at, "x-envoy-expected-rq-timeout-ms");
        left.unwrap().parse().unwrap()
    };
    assert_eq!(left(0), 2_000);
    assert!(left(1) < 2_000, "{}", left(1));
}

#[tokio::test]
async fn endpoints_say_when() {
    for (name, value, times) in [
        ("retry-after", "0", 3),
        // More than there is time for.
        ("retry-after", "3600", 1),
        ("grpc-retry-pushback-ms", "-1", 1),
        ("grpc-retry-pushback-ms", "0", 3),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = serve(H1, None, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut response = status(503, "");
                let value = header::HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
                response
            }
        })
        .await;
        let limit = Some(Duration::from_secs(10));
        let snapshot = snapshot(&[server.address]);
        let sent = by(&plain(), &snapshot, &policy(2, "5xx"), limit, get("/")).await;
        assert_eq!(sent.result.unwrap().status(), 503);
        assert_eq!(asked.load(Ordering::SeqCst), times, "{name}: {value}");
    }
}

/// A `gRPC` status in the head of a response without a body.
#[tokio::test]
async fn grpc_statuses_count() {
    for (on, code, times) in [
        ("unavailable", "14", 3),
        ("unavailable", "13", 1),
        ("internal,cancelled", "1", 3),
        ("5xx", "14", 1),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = serve(H2, None, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut response = Response::new(empty());
                let code = header::HeaderValue::from_static(code);
                response.headers_mut().insert("grpc-status", code);
                response
            }
        })
        .await;
        let snapshot = snapshot(&[server.address]);
        let (cluster, _) = snapshot.clusters.iter().next().unwrap();
        let policy = policy(2, on);
        let way = Way {
            protocol: Some(UpstreamProtocol::Http2),
            ..Way::new(cluster, &policy)
        };
        let call = post("/shop.Orders/Place", full("frame"));
        let sent = plain().forward(&snapshot, way, call).await;
        assert_eq!(sent.result.unwrap().headers()["grpc-status"], code);
        assert_eq!(asked.load(Ordering::SeqCst), times, "{on}: {code}");
    }
}

/// In an outage three retries at once go on, and beyond that one for each request.
#[tokio::test]
async fn the_budget_is_the_cluster_s() {
    let (server, asked) = fails(H1, usize::MAX, 500).await;
    let (via, snapshot) = (plain(), snapshot(&[server.address]));
    let policy = policy(9, "5xx");
    let requests = 60;
    let mut all = tokio::task::JoinSet::new();
    let snapshot = Arc::new(snapshot);
    for _ in 0..requests {
        let (via, snapshot, policy) = (via.clone(), Arc::clone(&snapshot), policy.clone());
        all.spawn(async move { by(&via, &snapshot, &policy, None, get("/")).await.outcome });
    }
    let outcomes = all.join_all().await;
    let refused = via.retries.of(SERVICE, RetryResult::Budget);
    assert!(refused > 0, "{} tries", asked.times());
    let limited = ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
    assert!(outcomes.iter().all(|outcome| outcome.flags == limited));
    // Nothing is left under way.
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    let live = snapshot.live(cluster).unwrap();
    assert_eq!((live.budget().retries(), live.active()), (0, 0));
}

/// A kept-alive connection that the server closes just as the next request goes out.
#[tokio::test]
async fn a_stale_connection_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                // One answer; the next request is read and the connection closed without a word.
                if tcp.read(&mut head).await.unwrap() > 0 {
                    tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
                tcp.read_u8().await.ok();
            });
        }
    });
    let (via, snapshot) = (plain(), snapshot(&[address]));
    let default = RetryPolicy::default();
    let first = by(&via, &snapshot, &default, None, get("/1")).await;
    assert_eq!(text(first.result.unwrap()).await, "ok");
    let second = by(&via, &snapshot, &default, None, get("/2")).await;
    assert_eq!(text(second.result.unwrap()).await, "ok");
    assert_eq!(second.outcome.attempts, 2);
    assert_eq!(via.retries.of(SERVICE, RetryResult::Replayed), 1);
    // What is no read may have been carried out.
    let third = by(&via, &snapshot, &default, None, post("/3", full("x"))).await;
    assert_eq!(
        third.result.unwrap_err().flags,
        ResponseFlags::UPSTREAM_CONNECTION_TERMINATION
    );
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

/// A server that refuses the first stream of its connection unseen, as one that goes away does.
#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.unwrap();
                let mut first = true;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if std::mem::take(&mut first) {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    } else {
                        respond.send_response(Response::new(()), true).unwrap();
                    }
                }
            });
        }
    });
    let snapshot = snapshot(&[address]);
    let (cluster, _) = snapshot.clusters.iter().next().unwrap();
    for policy in [RetryPolicy::default(), policy(2, "refused-stream")] {
        let way = Way {
            protocol: Some(UpstreamProtocol::Http2),
            ..Way::new(cluster, &policy)
        };
        let sent = plain().forward(&snapshot, way, post("/", full("x"))).await;
        assert_eq!(sent.result.unwrap().status(), StatusCode::OK);
        assert_eq!(sent.outcome.attempts, 2);
    }
}

#[tokio::test]
async fn what_does_not_move_is_cut() {
    let server = serve(H1, None, |request: Request<Incoming>| async move {
        if request.uri().path() == "/head" {
            std::future::pending::<()>().await;
        }
        let (feeder, body) = fed();
        tokio::spawn(async move {
            feeder.send(data("half")).await.ok();
            std::future::pending::<()>().await;
        });
        Response::new(body)
    })
    .await;
    let snapshot = snapshot(&[server.address]);
    let via = plain().with(ForwardSettings {
        stream_idle: Some(Duration::from_millis(100)),
        ..ForwardSettings::default()
    });
    let off = RetryPolicy::off();
    let Forwarded { result, outcome } = by(&via, &snapshot, &off, None, get("/head")).await;
    assert_eq!(result.unwrap_err().body, "stream timeout");
    assert_eq!(outcome.flags, ResponseFlags::STREAM_IDLE_TIMEOUT);
    let begun = by(&via, &snapshot, &off, None, get("/body")).await;
    let mut body = begun.result.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "half"
    );
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.flags(), ResponseFlags::STREAM_IDLE_TIMEOUT);
    assert!(!body.is_end_stream());
    server
        .until("the exchanges are cancelled", |server| server.open() == 0)
        .await;
}

/// The application beside a sidecar: only what never left is sent again, and what the caller counted stays.
#[tokio::test]
async fn an_application_that_starts_late_is_asked_again() {
    let address = refused().await;
    let target = Target::plaintext(address, UpstreamProtocol::Http1, Duration::from_secs(1));
    let inbound = RetryPolicy::inbound();
    let gone = plain().to_target(&target, &inbound, get("/"), None).await;
    assert_eq!(gone.outcome.attempts, 3);
    let (server, asked) = fails(H1, 9, 503).await;
    let target = Target::plaintext(
        server.address,
        UpstreamProtocol::Http1,
        Duration::from_secs(1),
    );
    let mut request = get("/");
    let count = header::HeaderValue::from_static("2");
    request.headers_mut().insert("x-envoy-attempt-count", count);
    let deadline = Some(Instant::now() + Duration::from_secs(5));
    let sent = plain()
        .to_target(&target, &inbound, request, deadline)
        .await;
    assert_eq!((sent.outcome.attempts, asked.times()), (1, 1));
    assert_eq!(asked.header(0, "x-envoy-attempt-count").unwrap(), "2");
    assert!(asked.header(0, "x-envoy-expected-rq-timeout-ms").is_some());
}
