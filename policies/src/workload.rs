//! The workload that a proxy stands in front of.

use std::collections::BTreeMap;

/// A workload as its process configuration declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name, such as `order-service-v1`.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account: the last part of its identity.
    pub service_account: String,
    /// The labels that selectors look at.
    pub labels: BTreeMap<String, String>,
}
