//! Who signs: the workload certificate authority.

pub mod attest;
pub mod authority;
pub mod bundle;
pub mod command;
pub mod config;
pub mod csr;
pub mod edge;
pub mod entries;
pub mod issuance;
pub mod issue;
pub mod limits;
pub mod metrics;
pub mod program;
pub mod refusal;
pub mod registry;
pub mod server;
pub mod store;
pub mod token;
