//! Secrets that people write into documents, taken out before a document is shown on a port.

use serde_json::Value;

/// What stands in the place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Headers and fields whose value is a secret.
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "password",
    "passphrase",
];
/// Parts of names that promise a secret.
const SECRET_PARTS: &[&str] = &["token", "secret", "apikey", "api-key", "api_key", "private"];

/// Whether the value of a header or field of this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// Replaces the texts that are secrets by their name or form; says whether there was one.
///
/// Secrets are what stands under a header or field whose name says so, values of a condition on such a header,
/// symmetric and private JSON Web Keys, and private keys in PEM.
pub fn redact(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.contains("PRIVATE KEY-----") || is_private_key_set(text) => {
            REDACTED.clone_into(text);
            true
        }
        Value::Array(items) => items.iter_mut().map(redact).fold(false, |a, b| a | b),
        Value::Object(map) => {
            let condition = map.get("key").and_then(Value::as_str).is_some_and(|key| {
                key.split_once('[')
                    .is_some_and(|(_, name)| is_secret_name(name.trim_end_matches(']')))
            });
            let mut found = false;
            for (key, value) in map {
                let secret = is_secret_name(key)
                    || (condition && matches!(key.as_str(), "values" | "notValues"));
                found |= if secret {
                    redact_all(value)
                } else {
                    redact(value)
                };
            }
            found
        }
        _ => false,
    }
}

/// Every text below.
fn redact_all(value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            REDACTED.clone_into(text);
            true
        }
        Value::Array(items) => items.iter_mut().map(redact_all).fold(false, |a, b| a | b),
        Value::Object(map) => map.values_mut().map(redact_all).fold(false, |a, b| a | b),
        _ => false,
    }
}

/// A JSON Web Key with a secret part: `k` of a symmetric one, `d` of a private one (RFC 7518).
fn is_private_key_set(text: &str) -> bool {
    let Ok(Value::Object(set)) = serde_json::from_str(text) else {
        return false;
    };
    let private = |key: &Value| {
        key.get("kty").is_some() && (key.get("k").is_some() || key.get("d").is_some())
    };
    let keys = set.get("keys").and_then(Value::as_array);
    keys.is_some_and(|keys| keys.iter().any(private)) || private(&Value::Object(set))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let mut value = json!({
            "spec": {
                "headers": {"request": {"set": {"Authorization": "Basic c2VjcmV0", "x-version": "v1"}}},
                "match": [{"headers": {"cookie": {"regex": "sid=s3cr3t"}, "x-api-key": {"exact": "k"}}}],
                "when": [
                    {"key": "request.headers[authorization]", "values": ["Bearer s3cr3t"]},
                    {"key": "request.headers[x-team]", "values": ["red"]},
                ],
                "jwtRules": [
                    {"jwks": "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}", "forwardOriginalToken": true},
                    {"jwks": "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"public\"}]}"},
                ],
                "pem": "-----BEGIN PRIVATE KEY-----\nx",
            }
        });
        assert!(redact(&mut value));
        assert_eq!(
            value,
            json!({
                "spec": {
                    "headers": {"request": {"set": {"Authorization": REDACTED, "x-version": "v1"}}},
                    "match": [{"headers": {"cookie": {"regex": REDACTED}, "x-api-key": {"exact": REDACTED}}}],
                    "when": [
                        {"key": "request.headers[authorization]", "values": [REDACTED]},
                        {"key": "request.headers[x-team]", "values": ["red"]},
                    ],
                    "jwtRules": [
                        {"jwks": REDACTED, "forwardOriginalToken": true},
                        {"jwks": "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"public\"}]}"},
                    ],
                    "pem": REDACTED,
                }
            })
        );
        assert!(!redact(
            &mut json!({"spec": {"selectors": ["join_token:order"]}})
        ));
    }
}
