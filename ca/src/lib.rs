//! Who signs: the workload certificate authority.
