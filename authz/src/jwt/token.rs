//! A token as it was sent: taken apart, bounded, and not believed yet.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::error::TokenError;

/// The longest token that is looked at, in bytes. Header blocks are not much larger.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// How far clocks may be apart when `exp` and `nbf` are judged (Envoy's `kClockSkewInSecond`).
pub const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// A JSON Web Token in compact form (RFC 7519, RFC 7515 §3.1), parsed and not verified.
#[derive(Debug)]
pub struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<Box<str>>,
    /// The payload as sent, base64url.
    pub(super) encoded_payload: &'a str,
    pub(super) payload: Map<String, Value>,
    pub(super) claims: RegisteredClaims,
    /// What is signed: the first two parts with their dot.
    pub(super) signed: &'a str,
    /// The third part, base64url.
    pub(super) signature: &'a str,
}

impl<'a> Token<'a> {
    /// Takes a token apart. JSON may be nested 127 deep, and no deeper.
    pub fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, encoded_payload) = signed.split_once('.').ok_or(TokenError::Form)?;
        if encoded_payload.contains('.') {
            return Err(TokenError::Form);
        }
        let header = object(header, TokenError::HeaderEncoding, TokenError::HeaderJson)?;
        let algorithm = algorithm(&header)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(text)) => Some(text.as_str().into()),
            Some(_) => return Err(TokenError::HeaderKeyId),
        };
        if header.contains_key("crit") {
            return Err(TokenError::HeaderCritical);
        }
        let payload = object(
            encoded_payload,
            TokenError::PayloadEncoding,
            TokenError::PayloadJson,
        )?;
        let claims = RegisteredClaims::read(&payload)?;
        // Envoy looks at the encoding before the keys; so does this, although the verifier decodes it once more.
        if URL_SAFE_NO_PAD.decode(signature).is_err() {
            return Err(TokenError::SignatureEncoding);
        }
        Ok(Self {
            algorithm,
            key_id,
            encoded_payload,
            payload,
            claims,
            signed,
            signature,
        })
    }

    /// `kid`: which key is said to have signed it.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The moment from which nobody accepts it: `exp` and the skew of clocks; none without `exp`.
    pub fn dies_at(&self) -> Option<SystemTime> {
        let at = Duration::from_secs(self.claims.expires?).checked_add(CLOCK_SKEW)?;
        UNIX_EPOCH.checked_add(at)
    }
}

/// The algorithm, if it is one with a public key. A shared secret in a policy, or at a public URL, would let each of its
/// readers make tokens; and a public key must never be taken for a secret (RFC 8725 §2.1).
fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, TokenError> {
    let name = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or(TokenError::HeaderAlgorithm)?;
    match name.parse() {
        Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => {
            Err(TokenError::Algorithm)
        }
        Ok(algorithm) => Ok(algorithm),
    }
}

fn object(
    encoded: &str,
    encoding: TokenError,
    json: TokenError,
) -> Result<Map<String, Value>, TokenError> {
    let text = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| encoding)?;
    serde_json::from_slice(&text).map_err(|_| json)
}

/// The claims that every rule looks at, in the forms that RFC 7519 §4.1 demands.
#[derive(Debug, Default)]
pub(super) struct RegisteredClaims {
    pub(super) issuer: Option<Box<str>>,
    pub(super) audiences: Box<[Box<str>]>,
    /// Seconds since 1970.
    not_before: Option<u64>,
    /// Seconds since 1970.
    expires: Option<u64>,
}

impl RegisteredClaims {
    pub(super) fn read(payload: &Map<String, Value>) -> Result<Self, TokenError> {
        let issuer = text(payload, "iss")?;
        text(payload, "sub")?;
        text(payload, "jti")?;
        time(payload, "iat")?;
        let plain = |value: &Value| value.as_str().map(Box::from);
        let audiences = match payload.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.as_str().into()],
            Some(Value::Array(list)) => {
                let all: Option<Vec<Box<str>>> = list.iter().map(plain).collect();
                all.ok_or(TokenError::Audiences)?
            }
            Some(_) => return Err(TokenError::Audiences),
        };
        Ok(Self {
            issuer: issuer.map(Box::from),
            audiences: audiences.into(),
            not_before: time(payload, "nbf")?,
            expires: time(payload, "exp")?,
        })
    }

    /// Whether `nbf` has come and `exp` has not passed.
    pub(super) fn hold_at(&self, now: SystemTime) -> Result<(), TokenError> {
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let skew = CLOCK_SKEW.as_secs();
        if self
            .not_before
            .is_some_and(|start| now.saturating_add(skew) < start)
        {
            return Err(TokenError::NotYetValid);
        }
        if self
            .expires
            .is_some_and(|end| now > end.saturating_add(skew))
        {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

fn text<'a>(
    payload: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, TokenError> {
    match payload.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::ClaimNotText(name)),
    }
}

/// A `NumericDate`, in whole seconds; fractions are cut off.
fn time(payload: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, TokenError> {
    let Some(value) = payload.get(name) else {
        return Ok(None);
    };
    let wrong = TokenError::ClaimNotTime(name);
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(seconds));
    }
    let seconds = value.as_f64().ok_or(wrong)?;
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| wrong)?;
    Ok(Some(since.as_secs()))
}
