//! Tokens as issuers and attackers make them.

use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use policies::{load::load, source::SourceFile};
use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// An issuer's key: signs, and shows its public half as a JWK.
struct Signer {
    key: EncodingKey,
    jwk: Value,
    algorithm: Algorithm,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn ec(algorithm: Algorithm) -> Self {
        let (curve, signing, size): (_, &'static EcdsaSigningAlgorithm, _) =
            if algorithm == Algorithm::ES256 {
                ("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING, 32)
            } else {
                ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING, 48)
            };
        let der = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, der.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(size);
        Self {
            key: EncodingKey::from_ec_der(der.as_ref()),
            jwk: json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)}),
            algorithm,
        }
    }

    fn ed() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
        let x = base64(pair.public_key());
        Self {
            key: EncodingKey::from_ed_der(der.as_ref()),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            algorithm: Algorithm::EdDSA,
        }
    }

    fn rsa(algorithm: Algorithm) -> Self {
        use aws_lc_rs::encoding::AsDer as _;
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public =
            aws_lc_rs::signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        // jsonwebtoken hands the bytes to aws-lc-rs, which wants PKCS #1 here: the tail of PKCS #8.
        let der = der.as_ref();
        Self {
            key: EncodingKey::from_rsa_der(&der[26..]),
            jwk: json!({"kty": "RSA", "n": base64(public.n), "e": base64(public.e)}),
            algorithm,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.jwk[name] = value.into();
        self
    }

    fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = self.jwk["kid"].as_str().map(str::to_owned);
        self.sign_as(&header, claims)
    }
}

fn set(signers: &[&Signer]) -> KeySet {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

/// A token with this header and payload, and a signature that is none.
fn unsigned(header: &Value, payload: &Value) -> String {
    let (header, payload) = (base64(header.to_string()), base64(payload.to_string()));
    format!("{header}.{payload}.c2ln")
}

fn parse_error(token: &str) -> TokenError {
    Token::parse(token).map(drop).unwrap_err()
}

/// The rules of RequestAuthentications with these specs, for a workload with the label `app: web`.
fn rules(specs: &[&str]) -> TokenRules {
    let text: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(number, spec)| {
            format!(
                "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
                 metadata: {{name: r{number}, namespace: default}}\nspec: {spec}\n"
            )
        })
        .collect();
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("ra.yaml", text.concat())], &mesh);
    let unexpected: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|found| found.is_error())
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let workload = Workload {
        name: "web".into(),
        namespace: "default".into(),
        service_account: "web".into(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
    };
    TokenRules::compile(&loaded.documents, &workload, &mesh)
}

/// A rule for an issuer; its keys are somewhere.
fn one(fields: &str) -> TokenRules {
    rules(&[&format!(
        "{{jwtRules: [{{issuer: a, jwksUri: 'https://a/k', {fields}}}]}}"
    )])
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    };
    pairs.iter().map(pair).collect()
}

fn found(rules: &TokenRules, pairs: &[(&'static str, &str)], query: &str) -> Option<String> {
    let headers = headers(pairs);
    let found = rules.find(&headers, Some(query)).unwrap();
    found.map(|found| found.text.into_owned())
}

#[test]
fn every_algorithm_with_a_public_key_is_verified() {
    let claims = json!({"iss": "a"});
    for signer in [
        Signer::ec(Algorithm::ES256),
        Signer::ec(Algorithm::ES384),
        Signer::ed(),
        Signer::rsa(Algorithm::RS256),
        Signer::rsa(Algorithm::RS384),
        Signer::rsa(Algorithm::RS512),
        Signer::rsa(Algorithm::PS256),
        Signer::rsa(Algorithm::PS384),
        Signer::rsa(Algorithm::PS512),
    ] {
        let token = signer.sign(&claims);
        let token = Token::parse(&token).unwrap();
        assert_eq!(
            set(&[&signer]).verify(&token),
            Ok(()),
            "{:?}",
            signer.algorithm
        );
    }
}

#[test]
fn a_changed_token_fails() {
    let signer = Signer::ec(Algorithm::ES256);
    let keys = set(&[&signer]);
    let token = signer.sign(&json!({"iss": "a", "sub": "alice"}));
    let parts: Vec<&str> = token.split('.').collect();
    let payload = base64(json!({"iss": "a", "sub": "root"}).to_string());
    let forged = format!("{}.{payload}.{}", parts[0], parts[2]);
    let token = Token::parse(&forged).unwrap();
    assert_eq!(keys.verify(&token), Err(TokenError::Signature));
    let empty = format!("{}.{}.", parts[0], parts[1]);
    let token = Token::parse(&empty).unwrap();
    assert_eq!(keys.verify(&token), Err(TokenError::Signature));
}

#[test]
fn shared_secrets_and_none_are_refused() {
    for alg in [
        "none", "None", "HS256", "HS384", "HS512", "ES512", "RS1", "",
    ] {
        let token = unsigned(&json!({"alg": alg}), &json!({"iss": "a"}));
        assert_eq!(parse_error(&token), TokenError::Algorithm, "{alg}");
    }
    // The public key of an RSA set, taken for a secret.
    let rsa = Signer::rsa(Algorithm::RS256);
    let secret = EncodingKey::from_secret(rsa.jwk["n"].as_str().unwrap().as_bytes());
    let header = Header::new(Algorithm::HS256);
    let token = jsonwebtoken::encode(&header, &json!({"iss": "a"}), &secret).unwrap();
    assert_eq!(parse_error(&token), TokenError::Algorithm);
    let set = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}).to_string();
    let error = KeySet::parse(set.as_bytes()).unwrap_err();
    assert_eq!(error, KeySetError::NoUsableKey(1));
}

#[test]
fn a_key_is_chosen_by_its_id_and_its_algorithm() {
    let first = Signer::ec(Algorithm::ES256).with("kid", "1");
    let second = Signer::ec(Algorithm::ES256).with("kid", "2");
    let other = Signer::rsa(Algorithm::RS256).with("kid", "3");
    let claims = json!({"iss": "a"});
    let keys = set(&[&first, &other]);
    let token = second.sign(&claims);
    let token = Token::parse(&token).unwrap();
    assert!(!keys.may_verify(&token));
    assert_eq!(keys.verify(&token), Err(TokenError::NoMatchingKey));
    // Somebody else's key under a known name.
    let named = second.sign_as(
        &Header {
            kid: Some("1".to_owned()),
            ..Header::new(Algorithm::ES256)
        },
        &claims,
    );
    let token = Token::parse(&named).unwrap();
    assert_eq!(keys.verify(&token), Err(TokenError::Signature));
    // Without a name each key of the kind is tried.
    let nameless = first.sign_as(&Header::new(Algorithm::ES256), &claims);
    let both = set(&[&second, &first]);
    assert_eq!(both.verify(&Token::parse(&nameless).unwrap()), Ok(()));
    // A key that says its algorithm is for no other.
    let rsa = Signer::rsa(Algorithm::PS256).with("alg", "RS256");
    let token = rsa.sign(&claims);
    let token = Token::parse(&token).unwrap();
    assert_eq!(set(&[&rsa]).verify(&token), Err(TokenError::NoMatchingKey));
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    let usable = Signer::ec(Algorithm::ES256);
    let encrypts = Signer::ec(Algorithm::ES256).with("use", "enc");
    let keys = json!({"keys": [
        usable.jwk,
        encrypts.jwk,
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "RSA"},
        {"kty": "oct", "k": "AA"},
        7,
    ]});
    let keys = KeySet::parse(keys.to_string().as_bytes()).unwrap();
    assert_eq!((keys.len(), keys.unusable()), (1, 6));
    let many = json!({"keys": vec![usable.jwk; MAX_KEYS + 1]});
    assert_eq!(
        KeySet::parse(many.to_string().as_bytes()).unwrap_err(),
        KeySetError::TooMany(MAX_KEYS + 1)
    );
    assert_eq!(KeySet::parse(b"{}").unwrap_err(), KeySetError::NoKeys);
    assert!(matches!(
        KeySet::parse(b"<html>"),
        Err(KeySetError::Json(_))
    ));
}

#[test]
fn malformed_tokens_in_envoys_words() {
    let es256 = json!({"alg": "ES256"});
    let payload = |payload: Value| unsigned(&es256, &payload);
    let header = |header: Value| unsigned(&header, &json!({}));
    for (token, text) in [
        (
            String::new(),
            "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
        ),
        (
            "a.b".into(),
            "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
        ),
        (
            "a.b.c.d".into(),
            "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
        ),
        ("?.b.c".into(), "Jwt header is an invalid Base64url encoded"),
        (
            format!("{}.b.c", base64("[]")),
            "Jwt header is an invalid JSON",
        ),
        (
            header(json!({})),
            "Jwt header [alg] field is required and must be a string",
        ),
        (
            header(json!({"alg": 1})),
            "Jwt header [alg] field is required and must be a string",
        ),
        (
            header(json!({"alg": "none"})),
            "Jwt header [alg] is not supported",
        ),
        (
            header(json!({"alg": "ES256", "kid": 1})),
            "Jwt header [kid] field is not a string",
        ),
        (
            header(json!({"alg": "ES256", "crit": ["b64"], "b64": false})),
            "Jwt header [crit] field is not supported",
        ),
        (
            format!("{}.?.c", base64(es256.to_string())),
            "Jwt payload is an invalid Base64url encoded",
        ),
        (
            format!("{}.{}.c", base64(es256.to_string()), base64("1")),
            "Jwt payload is an invalid JSON",
        ),
        (
            payload(json!({"iss": 1})),
            "Jwt payload [iss] field is not a string",
        ),
        (
            payload(json!({"sub": ["x"]})),
            "Jwt payload [sub] field is not a string",
        ),
        (
            payload(json!({"jti": 1})),
            "Jwt payload [jti] field is not a string",
        ),
        (
            payload(json!({"exp": "soon"})),
            "Jwt payload [exp] field is not a positive 64 bit integer",
        ),
        (
            payload(json!({"exp": -1})),
            "Jwt payload [exp] field is not a positive 64 bit integer",
        ),
        (
            payload(json!({"nbf": 1e300})),
            "Jwt payload [nbf] field is not a positive 64 bit integer",
        ),
        (
            payload(json!({"iat": true})),
            "Jwt payload [iat] field is not a positive 64 bit integer",
        ),
        (
            payload(json!({"aud": 1})),
            "Jwt payload [aud] field is not a string or string list",
        ),
        (
            payload(json!({"aud": ["a", 1]})),
            "Jwt payload [aud] field is not a string or string list",
        ),
        (
            payload(json!({})).replace("c2ln", "?"),
            "Jwt signature is an invalid Base64url encoded",
        ),
        (
            "x".repeat(MAX_TOKEN_BYTES + 1),
            "Jwt is longer than 16384 bytes",
        ),
    ] {
        let error = parse_error(&token);
        assert_eq!(error.to_string(), text, "{token}");
        assert_eq!(error.status(), 401);
    }
    // Nested deeper than anybody reads.
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let token = format!(
        "{}.{}.c2ln",
        base64(es256.to_string()),
        base64(format!("{{\"a\":{deep}}}"))
    );
    assert_eq!(parse_error(&token), TokenError::PayloadJson);
}

#[test]
fn times_hold_within_a_minute() {
    let rules = one("");
    let accepts = |claims: Value| {
        let mut payload = claims.as_object().unwrap().clone();
        payload.insert("iss".to_owned(), "a".into());
        rules.accepts(&payload, now()).map(drop)
    };
    assert_eq!(accepts(json!({})), Ok(()));
    assert_eq!(accepts(json!({"exp": NOW - 60})), Ok(()));
    assert_eq!(accepts(json!({"exp": NOW - 61})), Err(TokenError::Expired));
    assert_eq!(accepts(json!({"exp": 0})), Err(TokenError::Expired));
    assert_eq!(
        accepts(json!({"exp": format!("{}.9", NOW - 60).parse::<f64>().unwrap()})),
        Ok(())
    );
    assert_eq!(accepts(json!({"exp": u64::MAX})), Ok(()));
    assert_eq!(accepts(json!({"nbf": NOW + 60})), Ok(()));
    assert_eq!(
        accepts(json!({"nbf": NOW + 61})),
        Err(TokenError::NotYetValid)
    );
    assert_eq!(
        accepts(json!({"nbf": u64::MAX})),
        Err(TokenError::NotYetValid)
    );
    assert_eq!(
        TokenError::Expired.details(),
        "jwt_authn_access_denied{Jwt_is_expired}"
    );
}

#[test]
fn one_audience_is_enough_and_a_wrong_one_is_forbidden() {
    let rules = one("audiences: ['https://api.example.com/', shop]");
    let accepts = |aud: Value| {
        let payload = json!({"iss": "a", "aud": aud});
        rules.accepts(payload.as_object().unwrap(), now()).map(drop)
    };
    for good in [
        json!("shop"),
        json!(["x", "shop"]),
        json!("api.example.com"),
        json!("http://api.example.com"),
        json!("https://shop/"),
    ] {
        assert_eq!(accepts(good), Ok(()));
    }
    for bad in [json!("Shop"), json!([]), json!("shop//"), json!("")] {
        assert_eq!(accepts(bad), Err(TokenError::AudienceNotAllowed));
    }
    assert_eq!(TokenError::AudienceNotAllowed.status(), 403);
    assert_eq!(
        TokenError::AudienceNotAllowed.to_string(),
        "Audiences in Jwt are not allowed"
    );
}

#[test]
fn one_rule_is_enough_and_an_unknown_issuer_is_no_missing_token() {
    let rules = rules(&[
        "{jwtRules: [{issuer: b, jwksUri: 'https://b/k', audiences: [x]}]}",
        "{selector: {matchLabels: {app: web}}, jwtRules: [{issuer: a, jwksUri: 'https://a/k'}, {issuer: b, jwksUri: 'https://b/k2', audiences: [w]}]}",
        "{selector: {matchLabels: {app: other}}, jwtRules: [{issuer: c, jwksUri: 'https://c/k'}]}",
    ]);
    let issuers: Vec<_> = rules.rules().iter().map(TokenRule::issuer).collect();
    assert_eq!(issuers, [Some("a"), Some("b"), Some("b")]);
    let accepts = |payload: Value| rules.accepts(payload.as_object().unwrap(), now()).map(drop);
    assert_eq!(accepts(json!({"iss": "a"})), Ok(()));
    assert_eq!(accepts(json!({"iss": "b", "aud": "x"})), Ok(()));
    assert_eq!(accepts(json!({"iss": "b", "aud": "w"})), Ok(()));
    assert_eq!(
        accepts(json!({"iss": "b", "aud": "z"})),
        Err(TokenError::AudienceNotAllowed)
    );
    // `a` accepts others only if they are its own.
    for unknown in [json!({"iss": "c"}), json!({})] {
        assert_eq!(accepts(unknown), Err(TokenError::UnknownIssuer));
    }
    assert!(TokenRules::default().accepts(&Map::new(), now()).is_ok());
}

#[test]
fn a_rule_without_issuer_takes_any() {
    let rules = rules(&["{jwtRules: [{jwksUri: 'https://b/k'}]}"]);
    let payload = json!({"iss": "anybody", "scope": "read write", "roles": "x y"});
    let claims = rules.accepts(payload.as_object().unwrap(), now()).unwrap();
    assert!(claims.any(["scope"], |scope| scope == "write"));
    assert!(claims.any(["roles"], |roles| roles == "x y"));
}

#[test]
fn tokens_are_found_where_istio_looks() {
    let rules = one("");
    let bearer = |value| found(&rules, &[("authorization", value)], "");
    assert_eq!(bearer("Bearer t"), Some("t".to_owned()));
    assert_eq!(bearer("Bearer   t "), Some("t".to_owned()));
    assert_eq!(bearer("Basic t"), None);
    assert_eq!(bearer("bearer t"), None);
    assert_eq!(
        found(&rules, &[], "x=1&access_token=t&y"),
        Some("t".to_owned())
    );
    assert_eq!(
        found(&rules, &[], "access%5Ftoken=%74"),
        Some("t".to_owned())
    );
    assert_eq!(found(&rules, &[], "access_token"), Some(String::new()));
    assert_eq!(found(&rules, &[], "Access_token=t&x"), None);
    // Given places replace the default ones.
    let rules = one(
        "fromHeaders: [{name: X-Token}, {name: x-other, prefix: 'T:'}], fromParams: [q], fromCookies: [c]",
    );
    assert_eq!(
        found(&rules, &[("authorization", "Bearer t")], "access_token=t"),
        None
    );
    assert_eq!(found(&rules, &[("x-token", "t")], ""), Some("t".to_owned()));
    assert_eq!(
        found(&rules, &[("x-other", "T:t")], ""),
        Some("t".to_owned())
    );
    assert_eq!(found(&rules, &[("x-other", "t")], ""), None);
    assert_eq!(found(&rules, &[], "q=t"), Some("t".to_owned()));
    for cookie in ["c=t", "a=1; c=t", "a=1;c=\"t\" ; d", " c = t"] {
        assert_eq!(
            found(&rules, &[("cookie", cookie)], ""),
            Some("t".to_owned()),
            "{cookie}"
        );
    }
    assert_eq!(found(&rules, &[("cookie", "cc=t; c2=t")], ""), None);
}

#[test]
fn several_tokens_are_refused_unless_they_are_one() {
    let rules = one("fromHeaders: [{name: a}, {name: b}], fromParams: [q], fromCookies: [c]");
    let find = |pairs: &[(&'static str, &str)], query: &str| {
        let headers = headers(pairs);
        let found = rules.find(&headers, Some(query));
        found.map(|found| found.unwrap().places.positions().to_vec())
    };
    assert_eq!(
        find(&[("a", "t"), ("b", "t"), ("cookie", "c=t")], "q=t&q=t"),
        Ok(vec![0, 1, 2, 3])
    );
    let several = Err(TokenError::Several);
    assert_eq!(find(&[("a", "t"), ("b", "u")], ""), several);
    assert_eq!(find(&[("a", "t"), ("a", "u")], ""), several);
    assert_eq!(find(&[("a", "t")], "q=u"), several);
    assert_eq!(find(&[], "q=t&q=u"), several);
    assert_eq!(find(&[("cookie", "c=t"), ("cookie", "c=u")], ""), several);
    assert_eq!(find(&[("a", "t"), ("cookie", "c=")], ""), several);
    let mut raw = HeaderMap::new();
    raw.insert("a", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(rules.find(&raw, None).unwrap_err(), TokenError::Form);
}

#[test]
fn a_token_is_taken_out_of_every_place() {
    let rules = one("fromHeaders: [{name: a}], fromParams: [q], fromCookies: [c]");
    let mut headers = headers(&[
        ("a", "t"),
        ("cookie", "x=1; c=t;y=2"),
        ("cookie", "c=t"),
        ("b", "t"),
    ]);
    let mut query = Some("x=%20&q=t&%71=t&y".to_owned());
    let copy = headers.clone();
    let places = rules.find(&copy, query.as_deref()).unwrap().unwrap().places;
    rules.remove(&places, &mut headers, &mut query);
    assert_eq!(query.as_deref(), Some("x=%20&y"));
    assert!(!headers.contains_key("a"));
    let cookies: Vec<_> = headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["x=1; y=2"]);
    assert_eq!(headers["b"], "t");
    let mut query = Some("q=t".to_owned());
    rules.remove(&places, &mut headers, &mut query);
    assert_eq!(query, None);
}

#[test]
fn the_application_is_told_what_the_rule_says() {
    let rules = one(
        "outputPayloadToHeader: x-payload, outputClaimToHeaders: [{header: x-sub, claim: sub}, {header: x-n, claim: number}, \
         {header: x-ok, claim: ok}, {header: x-deep, claim: a.b}, {header: x-url, claim: 'https://x/y.z'}, \
         {header: x-list, claim: list}, {header: x-none, claim: none}, {header: x-evil, claim: evil}]",
    );
    let signer = Signer::ec(Algorithm::ES256);
    let claims = json!({
        "iss": "a", "sub": "älice", "number": 42, "ok": true, "a": {"b": "deep"}, "https://x/y.z": "named",
        "list": ["x"], "evil": "a\r\nx-admin: 1",
    });
    let text = signer.sign(&claims);
    let token = Token::parse(&text).unwrap();
    let outputs: HeaderMap = rules.rules()[0].outputs(&token).into_iter().collect();
    assert_eq!(outputs["x-payload"], text.split('.').nth(1).unwrap());
    assert_eq!(outputs["x-sub"].as_bytes(), "älice".as_bytes());
    assert_eq!(outputs["x-n"], "42");
    assert_eq!(outputs["x-ok"], "true");
    assert_eq!(outputs["x-deep"], "deep");
    assert_eq!(outputs["x-url"], "named");
    for none in ["x-list", "x-none", "x-evil"] {
        assert!(!outputs.contains_key(none), "{none}");
    }
    // All of them are withheld from clients, whether or not a token fills them.
    assert_eq!(rules.outputs().len(), 9);
    let verified = rules.rules()[0].accept(token);
    assert_eq!(verified.claims.subject(), Some("älice"));
    assert_eq!(verified.payload["number"], 42);
}

#[test]
fn rules_are_known_again() {
    let with = |audience: &str| one(&format!("audiences: [{audience}]"));
    assert_eq!(with("x"), with("x"));
    assert_ne!(with("x"), with("w"));
    assert!(TokenRules::default().is_empty() && !with("x").is_empty());
}
