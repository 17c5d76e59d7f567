//! The claims of a verified token, as rules look at them.

use serde_json::{Map, Value};

/// Claims that are lists in one text, split at spaces before they are matched (Istio, RFC 8693 §4.2).
const SPACE_DELIMITED: [&str; 2] = ["scope", "permission"];

/// The claims of one verified token. Looking at them allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Takes a token's payload. `scope`, `permission` and the `space_delimited` claims become lists; the unsplit text
    /// no longer matches (Istio's `spaceDelimitedClaims`).
    pub fn new(mut payload: Map<String, Value>, space_delimited: &[String]) -> Self {
        let named = space_delimited.iter().map(String::as_str);
        for name in SPACE_DELIMITED.into_iter().chain(named) {
            if let Some(claim) = payload.get_mut(name)
                && let Value::String(text) = claim
            {
                let parts = text.split(' ').filter(|part| !part.is_empty());
                *claim = parts.map(Value::from).collect();
            }
        }
        Self(payload)
    }

    /// `iss`, if it is a text.
    pub fn issuer(&self) -> Option<&str> {
        self.0.get("iss")?.as_str()
    }

    /// `sub`, if it is a text.
    pub fn subject(&self) -> Option<&str> {
        self.0.get("sub")?.as_str()
    }

    /// Whether the claim at `path` is a text that passes `test`, or a list with a text that does. Numbers, booleans
    /// and objects never match (Istio).
    pub fn any<'a, P>(&self, path: P, mut test: impl FnMut(&str) -> bool) -> bool
    where
        P: IntoIterator<Item = &'a str>,
    {
        let mut path = path.into_iter();
        let first = path.next().and_then(|name| self.0.get(name));
        let found = path.try_fold(first, |value, name| value.map(|value| value.get(name)));
        match found.flatten() {
            Some(Value::String(text)) => test(text),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(test),
            _ => false,
        }
    }

    /// The claims by name, split as they are matched.
    pub const fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl policies::route::TokenClaims for Claims {
    fn any(&self, path: &[Box<str>], test: &mut dyn FnMut(&str) -> bool) -> bool {
        Self::any(self, path.iter().map(|name| &**name), test)
    }
}
