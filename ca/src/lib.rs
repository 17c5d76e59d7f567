//! Who signs: the workload certificate authority.

pub mod authority;
pub mod command;
pub mod csr;
pub mod issue;
pub mod store;
