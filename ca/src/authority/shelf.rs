//! Where authorities lie on disk.
/// A.
pub const ROOT: &str = "root.pem";
/// A.
pub const ROOT_KEY: &str = "root.key";
/// A.
pub const INTERMEDIATE: &str = "intermediate.pem";
/// A.
pub const EDGE_ROOT: &str = "edge-root.pem";
