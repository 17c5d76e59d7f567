//! What a document is called and carries besides its `spec`.

use std::collections::BTreeMap;
use std::fmt;

use super::Kind;
use crate::source::Location;

/// Kubernetes' object metadata, as far as policies use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The kind of the document.
    pub kind: Kind,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, or the process's default namespace; empty for kinds that belong to no namespace.
    pub namespace: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Where the document starts.
    pub at: Location,
}

impl Meta {
    /// `namespace/name`, or `name` for kinds that belong to no namespace.
    pub fn qualified(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

/// ``VirtualService `my-app/product-service` `` without the back-ticks.
impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.qualified())
    }
}
