//! What the application is told about a verified token: request headers that the proxy sets from its claims.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::token::Token;

/// One header that a rule sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// Its name; what clients send under it is always dropped.
    pub(super) header: HeaderName,
    /// What it tells.
    pub(super) told: Told,
}

/// What a header tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// The payload, base64url without padding, as it was signed (`outputPayloadToHeader`).
    Payload,
    /// One claim (`outputClaimToHeaders`).
    Claim(Box<str>),
}

impl Output {
    /// The header for a token; none if the token lacks the claim, or it cannot be told in a header.
    pub(super) fn value(&self, token: &Token<'_>) -> Option<HeaderValue> {
        let text = match &self.told {
            Told::Payload => token.encoded_payload.to_owned(),
            Told::Claim(name) => match claim(&token.payload, name)? {
                Value::String(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            },
        };
        // A line break in a claim must not begin another header: such a value is none.
        HeaderValue::from_bytes(text.as_bytes())
            .ok()
            .filter(|value| !value.is_empty())
    }
}

/// The claim of this name, or the one that `.` leads to through nested claims.
fn claim<'a>(payload: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = payload.get(name) {
        return Some(value);
    }
    let mut names = name.split('.');
    let first = payload.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}
