//! Which headers and claims the policies look at: all that a record of a decision needs to keep.

use http::HeaderName;

use crate::policy_set::PolicySet;

/// Claims that fields without a bracket look at: `requestPrincipals`, `request.auth.audiences`, `request.auth.presenter`.
const STANDARD_CLAIMS: [&str; 4] = ["iss", "sub", "aud", "azp"];

/// The headers and claims that rules name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Names of headers, each once.
    pub headers: Vec<HeaderName>,
    /// Names of top-level claims, each once; always with those that identify a token.
    pub claims: Vec<String>,
}

impl PolicySet {
    /// What the rules of the set look at.
    pub fn named(&self) -> Named {
        let mut named = Named {
            headers: Vec::new(),
            claims: STANDARD_CLAIMS.map(str::to_owned).into(),
        };
        for rule in self.every_rule() {
            let checks = rule.sources.iter().chain(&rule.operations).flatten();
            for check in checks.chain(&rule.conditions) {
                named.add(&check.written.field);
            }
        }
        named
    }
}

impl Named {
    fn add(&mut self, field: &str) {
        if let Some(name) = bracketed(field, "request.headers[") {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
                && !self.headers.contains(&name)
            {
                self.headers.push(name);
            }
        } else if let Some(name) = bracketed(field, "request.auth.claims[")
            && !self.claims.iter().any(|known| known == name)
        {
            self.claims.push(name.to_owned());
        }
    }
}

/// The text in the first brackets behind `key[`.
fn bracketed<'a>(field: &'a str, key: &str) -> Option<&'a str> {
    field
        .strip_prefix(key)?
        .split_once(']')
        .map(|(name, _)| name)
}
