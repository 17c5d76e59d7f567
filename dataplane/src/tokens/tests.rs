//! Authentication against key servers on the loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod issuer;

use std::time::{Duration, UNIX_EPOCH};

use authz::jwt::{FoundBy, KeysAt};
use http::{HeaderValue, StatusCode};
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use serde_json::json;

use self::issuer::{Answer, Issuer, Signer};
use super::cache::Entry;
use super::fetch::FetchError;
use super::*;

/// What happens in minutes and hours, in milliseconds.
const QUICK: Schedule = Schedule {
    fresh: Duration::from_millis(50),
    usable: Duration::from_mins(1),
    unknown_key: Duration::from_mins(1),
    first_pause: Duration::from_mins(1),
    longest_pause: Duration::from_mins(1),
};

fn config() -> JwksConfig {
    JwksConfig {
        allow_private: true,
        ca_file: None,
    }
}

fn tokens(schedule: Schedule) -> Tokens {
    Tokens::with(Fetcher::new(&config()).unwrap(), schedule)
}

fn rules(rule: &str) -> TokenRules {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: r, namespace: default}}\n\
         spec: {{jwtRules: [{rule}]}}\n"
    );
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("ra.yaml", text.as_str())], &mesh);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let workload = Workload {
        name: "web".into(),
        namespace: "default".into(),
        service_account: "web".into(),
        labels: [].into(),
    };
    TokenRules::compile(&loaded.documents, &workload, &mesh)
}

fn by_uri(uri: &str) -> TokenRules {
    rules(&format!("{{issuer: a, jwksUri: '{uri}'}}"))
}

/// A request with headers and a query.
struct Sent {
    method: Method,
    headers: HeaderMap,
    query: Option<String>,
}

impl Sent {
    fn new(headers: &[(&'static str, &str)]) -> Self {
        let pair = |(name, value): &(&'static str, &str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).unwrap())
        };
        Self {
            method: Method::GET,
            headers: headers.iter().map(pair).collect(),
            query: None,
        }
    }

    fn bearer(token: &str) -> Self {
        Self::new(&[("authorization", &format!("Bearer {token}"))])
    }

    async fn authenticate(
        &mut self,
        tokens: &Tokens,
        rules: &TokenRules,
    ) -> Result<Option<Arc<VerifiedToken>>, LocalReply> {
        let request = TokenRequest {
            method: &self.method,
            scheme: "https",
            host: "shop.example",
            path: "/a\"b",
            query: &mut self.query,
            headers: &mut self.headers,
        };
        let found = tokens.authenticate(rules, request).await;
        found.map_err(|reply| *reply)
    }
}

/// Why a token is refused.
async fn refusal(tokens: &Tokens, rules: &TokenRules, token: &str) -> String {
    let answer = Sent::bearer(token).authenticate(tokens, rules).await;
    answer.unwrap_err().body.into_owned()
}

async fn passes(tokens: &Tokens, rules: &TokenRules, token: &str) -> bool {
    let answer = Sent::bearer(token).authenticate(tokens, rules).await;
    answer.is_ok_and(|verified| verified.is_some())
}

#[tokio::test]
async fn a_token_is_verified_once_and_known_afterwards() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let rules = by_uri(&issuer.url("/keys"));
    let tokens = tokens(Schedule::default());
    let token = issuer.sign(&json!({"iss": "a", "sub": "alice"}));
    for _ in 0..3 {
        let mut sent = Sent::bearer(&token);
        let verified = sent.authenticate(&tokens, &rules).await.unwrap().unwrap();
        assert_eq!(verified.claims.subject(), Some("alice"));
        assert!(!sent.headers.contains_key("authorization"));
    }
    assert_eq!(tokens.0.metrics.cache_hits.get(), 2);
    assert_eq!(issuer.asked(), 1);
    // Other rules know nothing of it.
    let others = rules_for_audience(&issuer, "x");
    assert_eq!(
        refusal(&tokens, &others, &token).await,
        "Audiences in Jwt are not allowed"
    );
}

fn rules_for_audience(issuer: &Issuer, audience: &str) -> TokenRules {
    let uri = issuer.url("/keys");
    rules(&format!(
        "{{issuer: a, jwksUri: '{uri}', audiences: [{audience}]}}"
    ))
}

#[tokio::test]
async fn refusals_are_envoys() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let tokens = tokens(Schedule::default());
    let rules = rules_for_audience(&issuer, "x");
    let answer = async |token: &str| {
        let answer = Sent::bearer(token).authenticate(&tokens, &rules).await;
        answer.unwrap_err()
    };
    let reply = answer("nonsense").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        reply.plain().headers()["www-authenticate"],
        "Bearer realm=\"https://shop.example/a%22b\", error=\"invalid_token\""
    );
    let expired = issuer.sign(&json!({"iss": "a", "aud": "x", "exp": 1}));
    let reply = answer(&expired).await;
    assert_eq!(reply.body, "Jwt is expired");
    assert_eq!(reply.details, "jwt_authn_access_denied{Jwt_is_expired}");
    let reply = answer(&issuer.sign(&json!({"iss": "a", "aud": "y"}))).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let reply = answer(&issuer.sign(&json!({"iss": "z", "aud": "x"}))).await;
    assert_eq!(reply.body, "Jwt issuer is not configured");
    let forged = Signer::new("1").sign(&json!({"iss": "a", "aud": "x"}));
    assert_eq!(answer(&forged).await.body, "Jwt verification fails");
    assert_eq!(tokens.0.metrics.refused.get(), 5);
}

#[tokio::test]
async fn nobody_forges_what_rules_put_out() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let tokens = tokens(Schedule::default());
    let rules = rules(&format!(
        "{{issuer: a, jwksUri: '{}', forwardOriginalToken: true, outputPayloadToHeader: x-payload, \
         outputClaimToHeaders: [{{header: x-user, claim: sub}}, {{header: x-group, claim: group}}]}}",
        issuer.url("/keys")
    ));
    let forged = [
        ("x-user", "root"),
        ("x-group", "wheel"),
        ("x-payload", "e30"),
    ];
    let mut sent = Sent::new(&forged);
    assert!(sent.authenticate(&tokens, &rules).await.unwrap().is_none());
    assert!(sent.headers.is_empty());
    // A browser's question is not asked for a token, and forges nothing either.
    let mut sent = Sent::new(&[
        ("origin", "https://x"),
        ("access-control-request-method", "GET"),
        ("x-user", "root"),
        ("authorization", "Bearer nonsense"),
    ]);
    sent.method = Method::OPTIONS;
    assert!(sent.authenticate(&tokens, &rules).await.unwrap().is_none());
    assert!(!sent.headers.contains_key("x-user"));
    let token = issuer.sign(&json!({"iss": "a", "sub": "alice"}));
    for _ in 0..2 {
        let mut sent = Sent::new(&forged);
        sent.query = Some(format!("q=1&access_token={token}"));
        sent.authenticate(&tokens, &rules).await.unwrap().unwrap();
        assert_eq!(sent.headers["x-user"], "alice");
        assert!(!sent.headers.contains_key("x-group"));
        assert_eq!(sent.headers["x-payload"], token.split('.').nth(1).unwrap());
        assert!(sent.query.unwrap().contains(&token), "the rule forwards it");
    }
}

#[tokio::test]
async fn rotated_keys_are_found_and_old_ones_forgotten() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let rules = by_uri(&issuer.url("/keys"));
    let tokens = tokens(Schedule {
        unknown_key: Duration::ZERO,
        ..Schedule::default()
    });
    let old = issuer.sign(&json!({"iss": "a"}));
    assert!(passes(&tokens, &rules, &old).await);
    issuer.rotate(Signer::new("2"));
    assert!(passes(&tokens, &rules, &old).await, "nobody has noticed");
    let new = issuer.sign(&json!({"iss": "a"}));
    assert!(passes(&tokens, &rules, &new).await);
    assert_eq!(issuer.asked(), 2);
    assert_eq!(
        refusal(&tokens, &rules, &old).await,
        "Jwks doesn't have key to match kid or alg from Jwt"
    );
}

#[tokio::test]
async fn unknown_keys_cannot_make_the_issuer_be_asked_all_the_time() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let rules = by_uri(&issuer.url("/keys"));
    let tokens = tokens(Schedule::default());
    let stranger = Signer::new("x").sign(&json!({"iss": "a"}));
    for _ in 0..20 {
        assert_eq!(
            refusal(&tokens, &rules, &stranger).await,
            "Jwks doesn't have key to match kid or alg from Jwt"
        );
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn many_requests_make_one_fetch() {
    let issuer = Issuer::start(Signer::new("1")).await;
    issuer.answers(Answer::Slowly(Duration::from_millis(100)));
    let rules = by_uri(&issuer.url("/keys"));
    let tokens = tokens(Schedule::default());
    let token = issuer.sign(&json!({"iss": "a"}));
    let all = (0..50).map(|_| {
        let (tokens, rules, token) = (tokens.clone(), rules.clone(), token.clone());
        tokio::spawn(async move { passes(&tokens, &rules, &token).await })
    });
    for one in all.collect::<Vec<_>>() {
        assert!(one.await.unwrap());
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn stale_keys_are_used_while_the_issuer_is_away_and_no_longer() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let rules = by_uri(&issuer.url("/keys"));
    let tokens = tokens(Schedule {
        usable: Duration::from_millis(700),
        ..QUICK
    });
    let token = issuer.sign(&json!({"iss": "a"}));
    assert!(passes(&tokens, &rules, &token).await);
    issuer.answers(Answer::Status(500));
    // Stale after 50 ms: asked again in the background, and used meanwhile.
    while issuer.asked() < 2 {
        assert!(passes(&tokens, &rules, &token).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(passes(&tokens, &rules, &token).await);
    // Too old: a token that was known is refused too.
    while passes(&tokens, &rules, &token).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        refusal(&tokens, &rules, &token).await,
        "Jwks remote fetch is failed"
    );
    assert_eq!(issuer.asked(), 2, "there is a pause after a failure");
}

#[tokio::test]
async fn stale_keys_are_refreshed_by_tokens_that_are_known() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let rules = by_uri(&issuer.url("/keys"));
    let tokens = tokens(QUICK);
    let token = issuer.sign(&json!({"iss": "a"}));
    assert!(passes(&tokens, &rules, &token).await);
    issuer.rotate(Signer::new("2"));
    // Nobody shows a token by the new key; the old one ends all the same.
    while passes(&tokens, &rules, &token).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn bad_answers_let_nobody_in() {
    for answer in [
        Answer::Status(404),
        Answer::Status(204),
        Answer::Body(b"<html>".to_vec()),
        Answer::Body(b"{}".to_vec()),
        Answer::Body(b"{\"keys\": []}".to_vec()),
        Answer::Body(b"{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}".to_vec()),
        Answer::Body(vec![b' '; 1024 * 1024 + 1]),
        Answer::Redirect("http://169.254.169.254/latest".to_owned()),
        Answer::Redirect("file:///etc/passwd".to_owned()),
        Answer::Redirect("/keys".to_owned()),
        Answer::Close,
    ] {
        let issuer = Issuer::start(Signer::new("1")).await;
        issuer.answers(answer.clone());
        let tokens = tokens(QUICK);
        let rules = by_uri(&issuer.url("/keys"));
        let token = issuer.sign(&json!({"iss": "a"}));
        assert_eq!(
            refusal(&tokens, &rules, &token).await,
            "Jwks remote fetch is failed",
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn fetching_takes_no_longer_than_the_rule_says() {
    let issuer = Issuer::start(Signer::new("1")).await;
    issuer.answers(Answer::Slowly(Duration::from_mins(1)));
    let fetcher = Fetcher::new(&config()).unwrap();
    let at = KeysAt {
        found_by: FoundBy::Uri(issuer.url("/keys").as_str().into()),
        timeout: Duration::from_millis(50),
    };
    let error = fetcher.keys(&at).await.unwrap_err();
    assert_eq!(error, FetchError::Timeout(at.timeout));
}

#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_allowed() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let fetcher = Fetcher::new(&JwksConfig::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let at = KeysAt {
            found_by: FoundBy::Uri(format!("http://{host}:{}/keys", issuer.port()).into()),
            timeout: Duration::from_secs(5),
        };
        let error = fetcher.keys(&at).await.unwrap_err();
        assert!(matches!(error, FetchError::Private { .. }), "{error}");
    }
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn redirects_are_followed_three_times() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let fetcher = Fetcher::new(&config()).unwrap();
    let fetch = async |path: &str| {
        let at = KeysAt {
            found_by: FoundBy::Uri(issuer.url(path).into()),
            timeout: Duration::from_secs(5),
        };
        fetcher.keys(&at).await.map(|fetched| fetched.keys.len())
    };
    assert_eq!(fetch("/hops/3").await, Ok(1));
    assert_eq!(fetch("/hops/4").await, Err(FetchError::Redirects));
}

#[tokio::test]
async fn an_issuer_is_asked_where_its_keys_are() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let tokens = tokens(QUICK);
    let own = issuer.url("");
    let rules_of = |issuer: &str| rules(&format!("{{issuer: '{issuer}'}}"));
    let token = issuer.sign(&json!({"iss": own}));
    assert!(passes(&tokens, &rules_of(&own), &token).await);
    // Its configuration speaks for itself only.
    let other = issuer.url("/other");
    let token = issuer.sign(&json!({"iss": other}));
    assert_eq!(
        refusal(&tokens, &rules_of(&other), &token).await,
        "Jwks remote fetch is failed"
    );
}

#[tokio::test]
async fn keys_come_over_tls_from_a_known_authority() {
    let (issuer, authority) = Issuer::start_tls(Signer::new("1")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let at = KeysAt {
        found_by: FoundBy::Uri(format!("https://localhost:{}/keys", issuer.port()).into()),
        timeout: Duration::from_secs(5),
    };
    let trusting = JwksConfig {
        ca_file: Some(file.path().to_owned()),
        ..config()
    };
    let fetched = Fetcher::new(&trusting).unwrap().keys(&at).await.unwrap();
    assert_eq!(fetched.keys.len(), 1);
    let error = Fetcher::new(&config()).unwrap().keys(&at).await;
    assert!(
        matches!(error, Err(FetchError::Connect { .. })),
        "{error:?}"
    );
    let plain = KeysAt {
        found_by: FoundBy::Uri(format!("https://localhost:{}/downgrade", issuer.port()).into()),
        ..at
    };
    let error = Fetcher::new(&trusting).unwrap().keys(&plain).await;
    assert!(matches!(error, Err(FetchError::Downgrade(_))), "{error:?}");
    std::fs::write(file.path(), "nothing").unwrap();
    let error = Fetcher::new(&trusting).unwrap_err().to_string();
    assert!(error.starts_with("`jwks.caFile`: cannot read"), "{error}");
}

#[tokio::test]
async fn rules_that_go_take_their_keys_with_them() {
    let issuer = Issuer::start(Signer::new("1")).await;
    let tokens = tokens(Schedule::default());
    let registry = Registry::new();
    tokens.0.metrics.register(&registry).unwrap();
    let token = issuer.sign(&json!({"iss": "a"}));
    assert!(passes(&tokens, &by_uri(&issuer.url("/keys")), &token).await);
    let aged = || {
        let found = registry.gather();
        let name = "portcullis_jwks_fetched_timestamp_seconds";
        found.iter().any(|family| family.name() == name)
    };
    assert!(aged());
    tokens.prepare(&rules(
        "{issuer: b, jwks: '{\"keys\": [{\"kty\": \"RSA\"}]}'}",
    ));
    assert!(!aged());
}

#[test]
fn the_cache_stays_within_its_bounds() {
    let cache = TokenCache::default();
    let now = UNIX_EPOCH + Duration::from_secs(1000);
    let accepted = Arc::new(Accepted {
        token: Arc::new(VerifiedToken {
            claims: authz::Claims::new(serde_json::Map::new(), &[]),
            payload: Arc::default(),
        }),
        outputs: Vec::new(),
        forwards_token: false,
    });
    let key = |number: u32| Key::of(1, &FoundAt::default(), &number.to_string());
    let entry = |number, dies_at| Entry {
        key: key(number),
        accepted: Arc::clone(&accepted),
        generation: Generation::Fixed,
        dies_at,
    };
    for number in 0..100_000 {
        cache.put(entry(number, None), 100, now);
        assert!(
            cache.get(&key(number), now).is_some(),
            "the newest is known"
        );
    }
    let kept = (0..100_000).filter(|number| cache.get(&key(*number), now).is_some());
    assert!(kept.count() <= 4096);
    let dies = Some(now + Duration::from_secs(1));
    cache.put(entry(0, dies), 100, now);
    assert!(cache.get(&key(0), now).is_some());
    assert!(cache.get(&key(0), now + Duration::from_secs(1)).is_none());
    cache.put(entry(1, None), 9000, now);
    assert_ne!(
        Key::of(1, &FoundAt::default(), "t"),
        Key::of(2, &FoundAt::default(), "t")
    );
}
