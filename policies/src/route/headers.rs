//! Header changes of a route, ready to apply.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::document::HeaderRules;

/// Header changes; removals come before additions.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    /// Taken away.
    pub remove: Box<[HeaderName]>,
    /// Overwritten.
    pub set: Box<[(HeaderName, HeaderValue)]>,
    /// Appended.
    pub add: Box<[(HeaderName, HeaderValue)]>,
    /// `set` of `host` or `:authority`: the Host to forward.
    pub authority: Option<HeaderValue>,
}

impl HeaderOps {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.authority.is_none()
    }

    /// Changes headers; the authority is the caller's to change.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }

    /// Ready-made changes; names and values are known to be good since load.
    pub(crate) fn compile(rules: &HeaderRules) -> Self {
        let pair = |(name, value): (&String, &crate::document::Spanned<String>)| {
            let name: HeaderName = name.parse().ok()?;
            Some((name, unescape(value)?))
        };
        let is_authority = |name: &str| name == "host" || name == ":authority";
        Self {
            remove: rules
                .remove
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            set: rules
                .set
                .iter()
                .filter(|(name, _)| !is_authority(name))
                .filter_map(pair)
                .collect(),
            add: rules.add.iter().filter_map(pair).collect(),
            authority: rules
                .set
                .iter()
                .find(|(name, _)| is_authority(name))
                .and_then(|(_, value)| unescape(value)),
        }
    }
}

/// `%%` is Envoy's `%`; other format strings are refused at load.
fn unescape(value: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&value.replace("%%", "%")).ok()
}
