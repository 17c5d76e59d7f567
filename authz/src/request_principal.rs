//! `requestPrincipals` and `request.auth.principal`: the issuer and the subject of a verified token.

use crate::{claims::Claims, matcher::Pattern};

/// One value, read as Istio reads it: at its last slash into a pattern for `iss` and one for `sub`.
///
/// So `https://issuer*` is the issuer `https:/` with subjects that begin with `issuer`, which Istio's users fall over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestPrincipal {
    issuer: Pattern,
    subject: Pattern,
}

impl RequestPrincipal {
    pub(crate) fn parse(value: &str) -> Self {
        let (issuer, subject) = match value.rsplit_once('/') {
            Some((issuer, subject)) => (Pattern::parse(issuer), Pattern::parse(subject)),
            None if value == "*" => (Pattern::Present, Pattern::Present),
            None if value.starts_with('*') => (Pattern::Present, Pattern::parse(value)),
            None if value.ends_with('*') => (Pattern::parse(value), Pattern::Present),
            None => (Pattern::parse(value), Pattern::Exact("".into())),
        };
        Self { issuer, subject }
    }

    /// What the issuer must be.
    pub(crate) const fn issuer(&self) -> &Pattern {
        &self.issuer
    }

    /// What the subject must be.
    pub(crate) const fn subject(&self) -> &Pattern {
        &self.subject
    }

    /// Both claims must be texts that match; the star needs a text that is not empty.
    pub(crate) fn matches(&self, claims: &Claims) -> bool {
        let test = |pattern: &Pattern, claim: Option<&str>| {
            claim.is_some_and(|text| pattern.matches(text.as_bytes()))
        };
        test(&self.issuer, claims.issuer()) && test(&self.subject, claims.subject())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    fn claims(issuer: Option<&str>, subject: Option<&str>) -> Claims {
        let claims = [("iss", issuer), ("sub", subject)];
        let claims = claims
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
        Claims::new(claims.collect::<Map<_, _>>(), &[])
    }

    #[test]
    fn values_are_split_at_their_last_slash() {
        for (value, issuer, subject, expected) in [
            ("*", Some("i"), Some("s"), true),
            ("*", Some(""), Some("s"), false),
            ("*", Some("i"), Some(""), false),
            ("*", Some("i"), None, false),
            ("*", None, Some("s"), false),
            ("*/alice", Some("https://a"), Some("alice"), true),
            ("*/alice", Some(""), Some("alice"), false),
            ("*/alice", Some("i"), Some("bob"), false),
            (
                "*.example/alice",
                Some("https://a.example"),
                Some("alice"),
                true,
            ),
            (
                "*.example/alice",
                Some("https://a.other"),
                Some("alice"),
                false,
            ),
            ("https://a/*", Some("https://a"), Some("bob"), true),
            ("https://a/*", Some("https://a"), Some(""), false),
            ("https://a/*", Some("https://a/b"), Some("bob"), false),
            ("https://a/al*", Some("https://a"), Some("alice"), true),
            ("https://a/al*", Some("https://a"), Some("bob"), false),
            ("https://a/alice", Some("https://a"), Some("alice"), true),
            ("https://a/alice", Some("https://A"), Some("alice"), false),
            ("https://a/*ce", Some("https://a"), Some("alice"), true),
            ("*ce", Some("anybody"), Some("alice"), true),
            ("*ce", Some(""), Some("alice"), false),
            ("iss*", Some("issuer"), Some("bob"), true),
            ("iss*", Some("issuer"), Some(""), false),
            ("iss*", Some("other"), Some("bob"), false),
            ("issuer", Some("issuer"), Some(""), true),
            ("issuer", Some("issuer"), Some("bob"), false),
            ("issuer", Some("issuer"), None, false),
            // The trap: a prefix that ends within the last segment.
            (
                "https://issuer*",
                Some("https://issuer.example"),
                Some("x"),
                false,
            ),
            ("https://issuer*", Some("https:/"), Some("issuer-x"), true),
        ] {
            assert_eq!(
                RequestPrincipal::parse(value).matches(&claims(issuer, subject)),
                expected,
                "{value} {issuer:?} {subject:?}"
            );
        }
    }

    #[test]
    fn only_texts_are_principals() {
        let Value::Object(map) = serde_json::json!({"iss": ["i"], "sub": 7}) else {
            return;
        };
        assert!(!RequestPrincipal::parse("*").matches(&Claims::new(map, &[])));
    }
}
