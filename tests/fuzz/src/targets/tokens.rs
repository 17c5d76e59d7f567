//! Tokens and key sets: nothing a stranger sends is accepted without a signature, and what is taken out is gone.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use authz::jwt::{KeySet, KeySource, MAX_TOKEN_BYTES, Token, TokenRules};
use http::{HeaderMap, HeaderValue};
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;

const DOCUMENT: &str = r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: all, namespace: default}
spec:
  jwtRules:
  - jwksUri: https://issuer.example/keys
  - issuer: a
    audiences: [b]
    jwks: '{"keys": [{"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'
    fromHeaders: [{name: x-token, prefix: "T "}]
    fromParams: [q]
    fromCookies: [c]
    outputClaimToHeaders: [{header: x-sub, claim: sub}]
"#;

static RULES: LazyLock<TokenRules> = LazyLock::new(|| {
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("ra.yaml", DOCUMENT)], &mesh);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let workload = Workload {
        name: "web".into(),
        namespace: "default".into(),
        service_account: "web".into(),
        labels: [].into(),
    };
    TokenRules::compile(&loaded.documents, &workload, &mesh)
});

/// Takes any text as a token, as a key set, and as each part of a request that may hold a token.
pub fn tokens(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let now = UNIX_EPOCH + Duration::from_hours(500_000);
    if let Ok(token) = Token::parse(&text) {
        assert!(text.len() <= MAX_TOKEN_BYTES);
        for rule in RULES.rules() {
            let suits = rule.suits(&token, now).is_ok();
            let dead = token.dies_at().is_some_and(|end| end < now);
            assert!(!(suits && dead), "an expired token is taken");
            if let KeySource::Inline(_, keys) = rule.keys() {
                let verified = keys.verify(&token);
                assert!(verified.is_err(), "nobody has the private key");
            }
            for (_, value) in rule.outputs(&token) {
                let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
                assert!(!value.as_bytes().iter().any(breaks), "{value:?}");
            }
        }
    }
    if let Ok(keys) = KeySet::parse(bytes) {
        assert!(!keys.is_empty());
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for name in ["authorization", "x-token", "cookie"] {
        headers.insert(name, value.clone());
    }
    let mut query = Some(text.into_owned());
    let sent = (headers.clone(), query.clone());
    if let Ok(Some(found)) = RULES.find(&sent.0, sent.1.as_deref()) {
        RULES.remove(&found.places, &mut headers, &mut query);
        let left = RULES
            .find(&headers, query.as_deref())
            .expect("one token was found");
        assert!(left.is_none(), "{left:?} is left of {:?}", found.text);
    }
}
