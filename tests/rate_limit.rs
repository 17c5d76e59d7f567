//! Rate limits through real proxies: each process by itself, and four of them together with a real Redis that is paused and
//! killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a failed test is a panic"
)]

mod harness;
#[path = "rate_limit/redis.rs"]
mod redis;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::{Mesh, MeshSpec, Reply, Transport, Version, WorkloadSpec, eventually, request, send};
use redis::Redis;

const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - name: all
    route: [{destination: {host: product-service, port: {number: 80}}}]
";

const LOCAL: &str = "
apiVersion: portcullis.dev/v1
kind: RateLimit
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  local:
    limits:
    - name: key
      match: {path: {prefix: /edge}, routes: [all]}
      by: [{header: {name: x-api-key}}]
      requests: 3
      unit: HOUR
    response: {rateLimitHeaders: true}
---
apiVersion: portcullis.dev/v1
kind: RateLimit
metadata: {name: inside, namespace: my-app}
spec:
  selector: {matchLabels: {app: product-service}}
  local:
    limits:
    - name: caller
      match: {path: {prefix: /inside}, routes: [default]}
      by: [{principal: {}}]
      requests: 2
      unit: HOUR
    response: {body: later}
---
apiVersion: portcullis.dev/v1
kind: RateLimit
metadata: {name: outside, namespace: my-app}
spec:
  selector: {matchLabels: {app: order-service}}
  direction: OUTBOUND
  local:
    limits:
    - match: {path: {prefix: /out}}
      by: [{principal: {}, equals: cluster.local/ns/my-app/sa/order-service}]
      requests: 1
      unit: HOUR
";

/// `GET path` of the product service, with an API key.
async fn get(door: SocketAddr, key: &str, path: &str) -> Reply {
    let mut request = request("GET", "product-service", path);
    let key = key.parse().unwrap();
    request.headers_mut().insert("x-api-key", key);
    send(door, &Transport::Plain, Version::Http1, request)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_and_sidecar_count_for_themselves() {
    let mesh = Mesh::start(
        MeshSpec::new()
            .policy("edge.yaml", EDGE)
            .policy("limits.yaml", LOCAL)
            .workload(WorkloadSpec::new("product-service"))
            .workload(WorkloadSpec::new("order-service"))
            .gateway(),
    )
    .await;
    let product = mesh.sidecar("product-service");
    let order = mesh.sidecar("order-service").outbound();
    let gateway = mesh.gateway().port("listener:80");

    // At the gateway each key has its own.
    for key in ["a", "b"] {
        for left in [2, 1, 0] {
            let reply = get(gateway, key, "/edge/x").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("x-ratelimit-limit"), "3");
            assert_eq!(reply.header("x-ratelimit-remaining"), left.to_string());
            assert!(reply.header("ratelimit").starts_with("\"key\";r="));
        }
        let arrived = product.requests();
        let reply = get(gateway, key, "/edge/y").await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (429, "local_rate_limited")
        );
        assert_eq!(reply.header("x-envoy-ratelimited"), "true");
        let wait: u32 = reply.header("retry-after").parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
        assert_eq!(
            product.requests(),
            arrived,
            "who is refused does not arrive"
        );
    }
    assert_eq!(get(gateway, "a", "/free").await.status, 200);

    // Before the application each caller has its own, and what refuses is what the document says.
    for door in [order, gateway] {
        for _ in 0..2 {
            assert_eq!(get(door, "c", "/inside").await.status, 200);
        }
        let arrived = product.requests();
        let reply = get(door, "c", "/inside").await;
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (429, "later")
        );
        assert_eq!(product.requests(), arrived);
    }

    // Behind the caller too, who is known by its own name.
    assert_eq!(get(order, "d", "/out").await.status, 200);
    let arrived = product.requests();
    assert_eq!(get(order, "d", "/out").await.status, 429);
    assert_eq!(product.requests(), arrived);

    // New documents fill no bucket.
    let more = LOCAL.replace("[default]}", "[default], methods: [GET, PUT]}");
    mesh.write_policy("limits.yaml", &more).await;
    assert_eq!(get(gateway, "a", "/edge/z").await.status, 429);
    assert_eq!(get(order, "c", "/inside").await.status, 429);
    assert_eq!(get(order, "d", "/out").await.status, 429);

    let metrics = mesh.gateway().metrics().await;
    for line in [
        "portcullis_rate_limit_requests_total{document=\"istio-system/edge\",limit=\"key\",result=\"within\"} 6",
        "portcullis_rate_limit_requests_total{document=\"istio-system/edge\",limit=\"key\",result=\"refused\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let logged = || async { mesh.gateway().log().contains("\"RL\"").then_some(()) };
    eventually("the access log tells the flag", logged).await;
}

/// What four processes have together, and what shows that Redis answers.
fn global(redis: &Redis, mode: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1
kind: RateLimit
metadata: {{name: together, namespace: my-app}}
spec:
  global:
    redis: {{address: '{}', timeout: 500ms, failureMode: {mode}}}
    limits:
    - {{name: rate, match: {{path: {{exact: /rate}}}}, requests: 40, unit: SECOND, burst: 40}}
    - {{name: few, match: {{path: {{exact: /few}}}}, requests: 10, unit: DAY}}
    - {{name: ready, match: {{path: {{exact: /ready}}}}, requests: 1000000, unit: SECOND}}
",
        redis.address
    )
}

const FOUR: [&str; 4] = ["one", "two", "three", "four"];

async fn four(redis: &Redis) -> Mesh {
    let spec = FOUR.iter().fold(MeshSpec::new(), |spec, name| {
        spec.workload(WorkloadSpec::new(name))
    });
    let mesh = Mesh::start(spec.policy("limits.yaml", global(redis, "DENY"))).await;
    for name in FOUR {
        answers(&mesh, name, 200).await;
    }
    mesh
}

/// Waits until a sidecar answers a request that needs Redis like this.
async fn answers(mesh: &Mesh, name: &str, status: u16) {
    let door = mesh.sidecar(name).inbound();
    let answer = || async { (get(door, "a", "/ready").await.status == status).then_some(()) };
    eventually(&format!("{name} answers {status}"), answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_processes_keep_one_rate() {
    let Some(redis) = Redis::start().await else {
        return;
    };
    let mesh = four(&redis).await;
    let begun = Instant::now();
    let clients = FOUR.map(|name| {
        let door = mesh.sidecar(name).inbound();
        tokio::spawn(async move {
            let (mut passed, mut last) = (0_u32, Duration::ZERO);
            while begun.elapsed() < Duration::from_secs(6) {
                let reply = get(door, "a", "/rate").await;
                match reply.status.as_u16() {
                    200 => passed += 1,
                    429 => {}
                    other => panic!("{other}: {}", reply.text()),
                }
                last = begun.elapsed();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (passed, last)
        })
    });
    let (mut passed, mut took) = (0, Duration::ZERO);
    for client in clients {
        let (its, last) = client.await.unwrap();
        passed += its;
        took = took.max(last);
    }
    let expected = 40.0 * took.as_secs_f64() + 40.0;
    let off = (f64::from(passed) - expected) / expected;
    assert!(off.abs() <= 0.05, "{passed} of {expected} in {took:?}");

    // A slow one is counted to the request, whoever gets it.
    let mut passed = 0;
    for number in 0..20 {
        let door = mesh.sidecar(FOUR[number % 4]).inbound();
        passed += u32::from(get(door, "a", "/few").await.status == 200);
    }
    assert_eq!(passed, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused_and_killed() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    let mesh = four(&redis).await;
    for pause in [true, false] {
        if pause {
            redis.pause();
        } else {
            redis.kill();
        }
        // What was taken in advance is used up or too old before long; then the document decides.
        for name in FOUR {
            answers(&mesh, name, 500).await;
        }
        // Which needs no Redis is not concerned.
        let door = mesh.sidecar(FOUR[0]).inbound();
        assert_eq!(get(door, "a", "/free").await.status, 200);
        mesh.write_policy("limits.yaml", &global(&redis, "ALLOW"))
            .await;
        let begun = Instant::now();
        for _ in 0..5 {
            for name in FOUR {
                let door = mesh.sidecar(name).inbound();
                assert_eq!(get(door, "a", "/ready").await.status, 200);
            }
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(20), "nobody waits: {took:?}");
        mesh.write_policy("limits.yaml", &global(&redis, "DENY"))
            .await;
        if pause {
            redis.go_on();
        } else {
            redis.start_again().await;
        }
        for name in FOUR {
            answers(&mesh, name, 200).await;
        }
    }
    let process = &mesh.sidecar(FOUR[0]).process;
    let logged = || async { process.log().contains("\"RLSE\"").then_some(()) };
    eventually("the access log tells the flag", logged).await;
}
