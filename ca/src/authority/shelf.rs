//! x
/// a
pub const INTERMEDIATE: &str = "intermediate.pem";
/// b
pub const EDGE_ROOT: &str = "edge-root.pem";
