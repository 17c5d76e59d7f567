//! Limits as proxies ask them: what passes, and what clients are told.

mod global;
mod service;

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use policies::document::rate_limit::LimitDirection;
use policies::load::Loader;
use policies::rate_limit::{LimitFacts, Limits};
use policies::route::RequestView;
use policies::source::SourceFile;

use super::RateLimiter;
use crate::ext_authz::HeaderChange;
use crate::local_reply::LocalReply;
use crate::snapshot::{Role, Snapshot};
use crate::telemetry::ResponseFlags;
use crate::testing::context;

/// A generation with a RateLimit of this `spec`.
fn snapshot(spec: &str) -> Snapshot {
    build(&[limit(spec)], None)
}

fn limit(spec: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: RateLimit\nmetadata: {{name: limits, namespace: my-app}}\nspec:\n{spec}\n"
    )
}

fn build(texts: &[String], previous: Option<&Snapshot>) -> Snapshot {
    let files = [SourceFile::new("limits.yaml", texts.join("---\n"))];
    let context = context(Role::Sidecar);
    Snapshot::build(&mut Loader::default(), &files, &context, previous).unwrap()
}

/// Asks about `GET /api/products/7` from `client` with these headers.
async fn ask(
    limiter: &RateLimiter,
    snapshot: &Snapshot,
    client: &str,
    headers: &HeaderMap,
) -> Result<Vec<HeaderChange>, LocalReply> {
    let facts = LimitFacts {
        request: RequestView {
            host: "shop.example:8080",
            port: 8080,
            path: "/api/products/7",
            query: Some("a=b"),
            method: "GET",
            scheme: "http",
            headers,
            claims: None,
        },
        route: Some("products"),
        principal: Some("cluster.local/ns/my-app/sa/web"),
        client: client.parse().unwrap(),
        connection: (
            "10.0.0.1:4711".parse().unwrap(),
            "10.0.0.2:8080".parse().unwrap(),
        ),
    };
    let mut told = Vec::new();
    let inbound = LimitDirection::Inbound;
    match limiter.check(snapshot, inbound, &facts, &mut told).await {
        Ok(()) => Ok(told),
        Err(reply) => Err(*reply),
    }
}

async fn get(limiter: &RateLimiter, snapshot: &Snapshot) -> Result<Vec<HeaderChange>, LocalReply> {
    ask(limiter, snapshot, "203.0.113.9", &HeaderMap::new()).await
}

/// The headers of a reply or of changes, as `name: value`.
fn shown(reply: &LocalReply) -> Vec<String> {
    let headers = reply.headers.iter();
    headers
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_how_things_stand() {
    let limiter = RateLimiter::default();
    let snapshot = snapshot(
        "  local:\n    limits: [{name: all, requests: 2, unit: MINUTE}]\n    response: {headers: {x-shop: closed}}",
    );
    assert_eq!(get(&limiter, &snapshot).await.unwrap(), []);
    assert!(get(&limiter, &snapshot).await.is_ok());
    let reply = get(&limiter, &snapshot).await.unwrap_err();
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(reply.body, "local_rate_limited");
    assert_eq!(reply.flags, ResponseFlags::RATE_LIMITED);
    assert_eq!(reply.details, "local_rate_limited");
    assert_eq!(
        shown(&reply),
        [
            "x-envoy-ratelimited: true",
            "x-shop: closed",
            "x-ratelimit-limit: 2",
            "x-ratelimit-remaining: 0",
            "x-ratelimit-reset: 60",
            "ratelimit-policy: \"all\";q=2;w=60",
            "ratelimit: \"all\";r=0;t=60",
            "retry-after: 30",
        ]
    );
    // A millisecond more: another test's thread may have started the process's clock after this test's time stood still.
    tokio::time::advance(Duration::from_millis(30_001)).await;
    assert!(get(&limiter, &snapshot).await.is_ok());
    assert!(get(&limiter, &snapshot).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn every_answer_tells_where_that_is_asked_for() {
    let limiter = RateLimiter::default();
    let snapshot = snapshot(
        "  local:\n    limits: [{name: wide, requests: 100, unit: SECOND}, {name: narrow, requests: 5, unit: SECOND, burst: 10}]\n    \
         response: {rateLimitHeaders: true, status: 503, body: later}",
    );
    let told = get(&limiter, &snapshot).await.unwrap();
    let told: Vec<_> = told
        .into_iter()
        .map(|change| change.into_pair().unwrap())
        .collect();
    let value = |name: &str| {
        let found = told.iter().find(|(known, _)| known == name);
        found.unwrap().1.to_str().unwrap()
    };
    assert_eq!(value("x-ratelimit-limit"), "10");
    assert_eq!(value("ratelimit-policy"), "\"narrow\";q=5;w=1");
    assert_eq!(value("ratelimit"), "\"narrow\";r=9;t=1");
    for _ in 0..9 {
        assert!(get(&limiter, &snapshot).await.is_ok());
    }
    let reply = get(&limiter, &snapshot).await.unwrap_err();
    assert_eq!((reply.status.as_u16(), &*reply.body), (503, "later"));
    // The request that was refused took nothing of the wider limit.
    let counts: Vec<_> = snapshot
        .rate_limits
        .all()
        .flat_map(Limits::counts)
        .collect();
    assert_eq!((counts[0].1.within(), counts[1].1.within()), (11, 10));
    assert_eq!(counts[1].1.refused(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_have_buckets_of_their_own() {
    let limiter = RateLimiter::default();
    for (by, same, other) in [
        (
            "remoteAddress: {prefixLength4: 24}",
            "203.0.113.200",
            "203.0.114.9",
        ),
        ("header: {name: x-api-key}", "203.0.113.9", "b"),
    ] {
        let snapshot = snapshot(&format!(
            "  local: {{limits: [{{requests: 1, unit: HOUR, by: [{{{by}}}]}}]}}"
        ));
        let headers = |key: &str| {
            HeaderMap::from_iter([("x-api-key".parse().unwrap(), key.parse().unwrap())])
        };
        let keyed = by.starts_with("header");
        let first = ask(&limiter, &snapshot, "203.0.113.9", &headers("a")).await;
        assert!(first.is_ok(), "{by}");
        let again = ask(&limiter, &snapshot, same, &headers("a")).await;
        assert!(again.is_err(), "{by}");
        let (client, key) = if keyed { (same, other) } else { (other, "a") };
        assert!(
            ask(&limiter, &snapshot, client, &headers(key))
                .await
                .is_ok()
        );
        // Without the header nothing is counted.
        let without = ask(&limiter, &snapshot, same, &HeaderMap::new()).await;
        assert_eq!(without.is_ok(), keyed, "{by}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_counts_its_paths_together_and_scopes_hold() {
    let limiter = RateLimiter::default();
    for (limit, counted) in [
        ("by: [{path: {templates: ['/api/products/{id}']}}]", true),
        ("by: [{path: {templates: ['/api/orders/{id}']}}]", false),
        (
            "by: [{principal: {}, equals: cluster.local/ns/my-app/sa/web}]",
            true,
        ),
        (
            "by: [{principal: {}, equals: cluster.local/ns/my-app/sa/other}]",
            false,
        ),
        (
            "by: [{route: {}}, {method: {}}, {host: {}}, {queryParameter: {name: a}}]",
            true,
        ),
        ("by: [{claim: {name: sub}}]", false),
        (
            "match: {hosts: ['*.example'], methods: [GET], ports: [8080], routes: [products]}",
            true,
        ),
        ("match: {hosts: [other.example]}", false),
        ("match: {path: {prefix: /api/orders}}", false),
        ("match: {path: {regex: '/api/[a-z]+/[0-9]'}}", true),
        ("match: {headers: {x-a: {}}}", false),
    ] {
        let snapshot = snapshot(&format!(
            "  local: {{limits: [{{requests: 1, unit: HOUR, {limit}}}]}}"
        ));
        assert!(get(&limiter, &snapshot).await.is_ok(), "{limit}");
        assert_eq!(get(&limiter, &snapshot).await.is_err(), counted, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_fills_no_bucket() {
    let limiter = RateLimiter::default();
    let texts = [limit(
        "  local: {limits: [{requests: 1, unit: HOUR}, {requests: 5, unit: HOUR, by: [{principal: {}}]}]}",
    )];
    let first = build(&texts, None);
    assert!(get(&limiter, &first).await.is_ok());
    let second = build(&texts, Some(&first));
    assert!(get(&limiter, &second).await.is_err());
    let changed = [limit("  local: {limits: [{requests: 2, unit: HOUR}]}")];
    let third = build(&changed, Some(&second));
    assert!(get(&limiter, &third).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn shares_of_requests() {
    let limiter = RateLimiter::default();
    for (shares, least, most) in [
        ("enforcedPercent: 0", 1000, 1000),
        ("enabledPercent: 0", 1000, 1000),
        ("enforcedPercent: 50", 400, 600),
        ("enabledPercent: 25", 680, 820),
    ] {
        let snapshot = snapshot(&format!(
            "  local: {{{shares}, limits: [{{requests: 1, unit: DAY}}]}}"
        ));
        let mut passed = 0;
        for _ in 0..1000 {
            passed += u32::from(get(&limiter, &snapshot).await.is_ok());
        }
        assert!((least..=most).contains(&passed), "{shares}: {passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_have_buckets_of_their_own() {
    let limiter = RateLimiter::default();
    let snapshot = snapshot("  local: {perConnection: true, limits: [{requests: 1, unit: HOUR}]}");
    assert!(get(&limiter, &snapshot).await.is_ok());
    assert!(get(&limiter, &snapshot).await.is_err());
}

/// In real time, generously: threads and a loaded machine included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_is_kept_in_real_time() {
    let limiter = RateLimiter::default();
    let snapshot = std::sync::Arc::new(snapshot(
        "  local: {limits: [{requests: 2000, unit: SECOND, burst: 100}]}",
    ));
    let begun = std::time::Instant::now();
    let tasks = (0..4).map(|_| {
        let (limiter, snapshot) = (limiter.clone(), std::sync::Arc::clone(&snapshot));
        tokio::spawn(async move {
            let mut passed = 0_u32;
            while begun.elapsed() < Duration::from_secs(1) {
                passed += u32::from(get(&limiter, &snapshot).await.is_ok());
                tokio::task::yield_now().await;
            }
            passed
        })
    });
    let mut passed = 0;
    for task in tasks.collect::<Vec<_>>() {
        passed += task.await.unwrap();
    }
    let expected = begun.elapsed().as_secs_f64() * 2000.0 + 100.0;
    let passed = f64::from(passed);
    assert!(passed <= expected * 1.02 + 1.0, "{passed} of {expected}");
    assert!(passed >= expected * 0.9, "{passed} of {expected}");
}
