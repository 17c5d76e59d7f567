//! The answer to a token that is not accepted (RFC 6750 §3), as Envoy's `jwt_authn` gives it.

use std::borrow::Cow;
use std::fmt::Write as _;

use authz::jwt::TokenError;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;

use super::TokenRequest;
use crate::local_reply::LocalReply;
use crate::telemetry::ResponseFlags;

/// How much of the path a realm shows, in bytes (Envoy's `MaxUriLength`).
const MAX_PATH: usize = 256;

/// The answer: the reason as the body, and a challenge. The realm is the address without the query, where tokens may be.
pub(super) fn reply(error: TokenError, request: &TokenRequest<'_>) -> LocalReply {
    let mut realm = format!("Bearer realm=\"{}://", request.scheme);
    escape(request.host, &mut realm);
    let path = request.path.as_bytes();
    let path = String::from_utf8_lossy(path.get(..MAX_PATH).unwrap_or(path));
    escape(&path, &mut realm);
    realm.push_str("\", error=\"invalid_token\"");
    let challenge = HeaderValue::from_str(&realm);
    LocalReply {
        body: Cow::Owned(error.to_string()),
        details: Cow::Owned(error.details()),
        headers: challenge
            .into_iter()
            .map(|value| (WWW_AUTHENTICATE, value))
            .collect(),
        ..LocalReply::new(error.status(), "", ResponseFlags::NONE, "")
    }
}

/// A stranger's text inside of quotes: what could end them, and what no header may hold, is written as `%XX`.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'!' | b'#'..=b'[' | b']'..=b'~' => out.push(char::from(byte)),
            // Writing into a text does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}
