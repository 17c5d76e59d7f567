//! What a token costs: one that is known, and one whose signature is verified. The goal for a known one is 1 µs, with
//! finding it, its hash and its headers.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench stops where a test would fail"
)]

use std::future::Future as _;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use authz::jwt::TokenRules;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dataplane::tokens::{TokenRequest, Tokens};
use http::{HeaderMap, HeaderValue, Method, header};
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use serde_json::json;

/// Rules with the keys in them, and a token of the usual size: half a KiB of claims.
fn rules_and_token() -> (TokenRules, String) {
    let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: r, namespace: default}}\n\
         spec: {{jwtRules: [{{issuer: a, jwks: '{{\"keys\": [{{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"{x}\", \"y\": \"{y}\"}}]}}'}}]}}\n"
    );
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("ra.yaml", text.as_str())], &mesh);
    let workload = Workload {
        name: "web".into(),
        namespace: "default".into(),
        service_account: "web".into(),
        labels: [].into(),
    };
    let rules = TokenRules::compile(&loaded.documents, &workload, &mesh);
    let claims = json!({"iss": "a", "sub": "alice", "groups": vec!["engineering-platform"; 20]});
    let header = json!({"alg": "ES256", "kid": "1"}).to_string();
    let parts = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = parts.join(".");
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    (rules, token)
}

/// Authenticates one request; with the keys at hand nothing is waited for.
fn authenticate(tokens: &Tokens, rules: &TokenRules, headers: &mut HeaderMap) {
    let mut query = None;
    let request = TokenRequest {
        method: &Method::GET,
        scheme: "https",
        host: "shop.example",
        path: "/",
        query: &mut query,
        headers,
    };
    let authentication = pin!(tokens.authenticate(rules, request));
    let outcome = authentication.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(outcome, Poll::Ready(Ok(Some(_)))));
}

fn tokens(criterion: &mut Criterion) {
    let (rules, token) = rules_and_token();
    let mut headers = HeaderMap::new();
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(header::AUTHORIZATION, bearer);
    let known = Tokens::default();
    let title = format!("a known token of {} bytes", token.len());
    criterion.bench_function(&title, |bench| {
        bench.iter_batched_ref(
            || headers.clone(),
            |headers| authenticate(&known, black_box(&rules), headers),
            BatchSize::SmallInput,
        );
    });
    criterion.bench_function("the same token for the first time", |bench| {
        bench.iter_batched_ref(
            || (Tokens::default(), headers.clone()),
            |(tokens, headers)| authenticate(tokens, black_box(&rules), headers),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, tokens);
criterion_main!(benches);
