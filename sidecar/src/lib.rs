//! The slim mTLS proxy beside a workload.

pub mod command;
