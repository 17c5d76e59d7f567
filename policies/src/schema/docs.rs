//! What the reference says about fields, so that editors show the same words.

use std::collections::HashMap;

/// The tables of `docs/policies.md`, by kind and field.
#[derive(Clone, Debug, Default)]
pub struct Docs {
    fields: HashMap<(String, String), String>,
}

impl Docs {
    /// What it says about a field, such as `spec.http[].timeout`.
    pub(super) fn field(&self, kind: &str, path: &str) -> Option<&str> {
        self.fields
            .get(&(kind.to_owned(), path.to_owned()))
            .map(String::as_str)
    }
}
