//! What people write and what it does: policy documents, routes, clusters and resilience, without I/O.
