//! An issuer of tokens with a key of its own.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};

/// Signs tokens of `https://issuer.example` with ES256.
pub struct Issuer {
    key: EncodingKey,
    jwks: String,
}

impl Issuer {
    pub const NAME: &'static str = "https://issuer.example";

    pub fn new() -> Self {
        let pair = KeyPair::generate().unwrap();
        // An uncompressed point: 4, then x and y.
        let (x, y) = pair.der_bytes()[1..].split_at(32);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        Self {
            key: EncodingKey::from_ec_der(&pair.serialize_der()),
            jwks: json!({"keys": [jwk]}).to_string(),
        }
    }

    /// The public half, as `jwks` of a RequestAuthentication.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// A token of this subject that holds for an hour, with more claims.
    pub fn token(&self, subject: &str, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut payload = json!({
            "iss": Self::NAME, "sub": subject, "exp": now.as_secs() + 3600,
        });
        for (name, value) in claims.as_object().unwrap() {
            payload[name] = value.clone();
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".to_owned());
        encode(&header, &payload, &self.key).unwrap()
    }
}
