//! Four limiters share a real Redis, which is also paused and killed.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use rustix::process::{Pid, Signal, kill_process};

use super::{ask, get, shown, snapshot};
use crate::rate_limit::RateLimiter;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;

/// A Redis of the test's own; it dies with it.
struct Redis {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Redis {
    /// None, and why, where there is no `redis-server`.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        match spawn(port, directory.path()) {
            Ok(child) => Some(Self {
                child,
                port,
                directory,
            }),
            Err(error) => {
                eprintln!(
                    "skipped: redis-server does not start ({error}); scripts/setup test installs it"
                );
                None
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = spawn(self.port, self.directory.path()).unwrap();
    }

    fn generation(&self, mode: &str, name: &str, rate: &str) -> Arc<Snapshot> {
        Arc::new(snapshot(&format!(
            "  global: {{redis: {{address: '127.0.0.1:{}', failureMode: {mode}, timeout: 250ms}}, \
             limits: [{{name: {name}, {rate}}}]}}",
            self.port
        )))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(port: u16, directory: &Path) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .spawn()
}

/// Waits until a request is decided by Redis.
async fn until_it_answers(limiter: &RateLimiter, snapshot: &Snapshot) {
    for _ in 0..600 {
        if get(limiter, snapshot).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("Redis does not answer");
}

/// Four limiters ask for `length`: how many passed, and how long that took.
async fn run(
    limiters: &[RateLimiter],
    snapshot: &Arc<Snapshot>,
    length: Duration,
) -> (u32, Duration) {
    let begun = Instant::now();
    let tasks: Vec<_> = limiters
        .iter()
        .map(|limiter| {
            let (limiter, snapshot) = (limiter.clone(), Arc::clone(snapshot));
            tokio::spawn(async move {
                let (mut passed, mut last) = (0_u32, Duration::ZERO);
                while begun.elapsed() < length {
                    passed += u32::from(get(&limiter, &snapshot).await.is_ok());
                    last = begun.elapsed();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                (passed, last)
            })
        })
        .collect();
    let (mut passed, mut took) = (0, Duration::ZERO);
    for task in tasks {
        let (its, last) = task.await.unwrap();
        passed += its;
        // A machine that stalls afterwards takes nothing away from the rate.
        took = took.max(last);
    }
    (passed, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_limiters_keep_one_rate() {
    let Some(redis) = Redis::start() else { return };
    let ready = redis.generation("DENY", "ready", "requests: 1000000, unit: SECOND");
    let limiters: Vec<RateLimiter> = (0..4).map(|_| RateLimiter::default()).collect();
    for limiter in &limiters {
        // Connected: a bucket that waits for its first request is full, and gains nothing.
        until_it_answers(limiter, &ready).await;
    }
    for (name, rate, per_second, burst) in [
        (
            "fast",
            "requests: 200, unit: SECOND, burst: 100",
            200.0,
            100.0,
        ),
        (
            "slow",
            "requests: 1200, unit: MINUTE, burst: 60",
            20.0,
            60.0,
        ),
    ] {
        let snapshot = redis.generation("DENY", name, rate);
        let (passed, took) = run(&limiters, &snapshot, Duration::from_secs(4)).await;
        let expected = took.as_secs_f64() * per_second + burst;
        let off = (f64::from(passed) - expected) / expected;
        assert!(off.abs() <= 0.05, "{rate}: {passed} of {expected}");
    }
}

/// What four processes did not use of a burst, the one of them that goes on gets before long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unused_tokens_go_back_by_themselves() {
    let Some(redis) = Redis::start() else { return };
    let ready = redis.generation("DENY", "ready", "requests: 1000000, unit: SECOND");
    let snapshot = redis.generation("DENY", "all", "requests: 1, unit: HOUR, burst: 320");
    let limiters: Vec<RateLimiter> = (0..4).map(|_| RateLimiter::default()).collect();
    let mut passed = 0;
    for limiter in &limiters {
        until_it_answers(limiter, &ready).await;
        for _ in 0..50 {
            assert!(get(limiter, &snapshot).await.is_ok());
            passed += 1;
        }
    }
    for _ in 0..600 {
        passed += u32::from(get(&limiters[0], &snapshot).await.is_ok());
        if passed == 320 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(passed, 320, "nothing is lost");
    assert_eq!(
        get(&limiters[1], &snapshot).await.unwrap_err().status,
        429,
        "and nothing is given twice"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_by_redis_takes_no_local_token() {
    let Some(redis) = Redis::start() else { return };
    let limiter = RateLimiter::default();
    let snapshot = Arc::new(snapshot(&format!(
        "  local: {{limits: [{{name: here, requests: 3, unit: DAY, by: [{{method: {{}}}}]}}]}}\n  \
         global: {{redis: {{address: '127.0.0.1:{}', failureMode: DENY, timeout: 250ms}}, \
         limits: [{{name: wide, requests: 3, unit: DAY}}, \
         {{name: narrow, requests: 1, unit: DAY, by: [{{header: {{name: x-api-key}}}}]}}]}}",
        redis.port
    )));
    let of =
        |key: &str| HeaderMap::from_iter([("x-api-key".parse().unwrap(), key.parse().unwrap())]);
    // Refused with 500 while Redis starts, which takes nothing either.
    for _ in 0..600 {
        let first = ask(&limiter, &snapshot, "203.0.113.9", &of("a")).await;
        if first.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    for _ in 0..20 {
        let again = ask(&limiter, &snapshot, "203.0.113.9", &of("a")).await;
        let again = again.unwrap_err();
        assert_eq!(
            (again.status.as_u16(), &*again.details),
            (429, "request_rate_limited")
        );
    }
    for key in ["b", "c"] {
        let other = ask(&limiter, &snapshot, "203.0.113.9", &of(key)).await;
        assert!(other.is_ok(), "{key}");
    }
    let over = ask(&limiter, &snapshot, "203.0.113.9", &of("d")).await;
    assert_eq!(over.unwrap_err().details, "local_rate_limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_remembered_without_redis() {
    let Some(redis) = Redis::start() else { return };
    let limiter = RateLimiter::default();
    let snapshot = redis.generation("DENY", "all", "requests: 1, unit: HOUR");
    until_it_answers(&limiter, &snapshot).await;
    let reply = get(&limiter, &snapshot).await.unwrap_err();
    assert_eq!(
        (reply.status.as_u16(), reply.details.as_ref()),
        (429, "request_rate_limited")
    );
    assert_eq!(reply.flags, ResponseFlags::RATE_LIMITED);
    let shown = shown(&reply);
    assert!(
        shown
            .iter()
            .any(|header| header == "x-ratelimit-remaining: 0"),
        "{shown:?}"
    );
    // Another process knows it too.
    let other = RateLimiter::default();
    assert_eq!(get(&other, &snapshot).await.unwrap_err().status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_killed_and_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let limiter = RateLimiter::default();
    let rate = "requests: 1000000, unit: SECOND";
    let (open, closed) = (
        redis.generation("ALLOW", "much", rate),
        redis.generation("DENY", "much", rate),
    );
    until_it_answers(&limiter, &closed).await;
    for pause in [true, false] {
        if pause {
            redis.signal(Signal::STOP);
        } else {
            redis.kill();
        }
        // Tokens at hand are used up or grow too old first.
        let mut denied = None;
        for _ in 0..600 {
            match get(&limiter, &closed).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(reply) => {
                    denied = Some(reply);
                    break;
                }
            }
        }
        let denied = denied.expect("Redis is away");
        assert_eq!(denied.status, 500);
        assert_eq!(denied.flags, ResponseFlags::RATE_LIMIT_SERVICE_ERROR);
        // Once it is known to be away nobody waits for it; one question now and then does.
        let begun = Instant::now();
        for _ in 0..100 {
            assert!(get(&limiter, &open).await.is_ok());
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        if pause {
            redis.signal(Signal::CONT);
        } else {
            redis.start_again();
        }
        until_it_answers(&limiter, &closed).await;
    }
}
