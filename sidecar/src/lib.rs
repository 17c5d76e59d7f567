//! The slim mTLS proxy beside a workload.
