//! Who signs: the workload certificate authority.

pub mod command;
