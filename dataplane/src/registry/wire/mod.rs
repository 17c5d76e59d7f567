//! The registry's messages, gRPC client and server, generated from `dataplane/proto/portcullis/registry/v1/registry.proto`.
//!
//! The generated files are checked in, so that no build needs `protoc`; `tests/wire_is_current.rs` renews and compares them.

mod generated {
    #![allow(
        clippy::all,
        clippy::pedantic,
        clippy::restriction,
        missing_docs,
        unused_qualifications,
        reason = "generated code"
    )]
    include!("portcullis.registry.v1.rs");
}

pub use generated::*;

/// The encoded `FileDescriptorSet` of the service, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("registry.bin");
