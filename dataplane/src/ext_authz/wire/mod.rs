//! Envoy's messages of external authorization, and gRPC client and server, generated from `dataplane/proto`.
//!
//! The generated files are checked in, so that no build needs `protoc`; `tests/wire_is_current.rs` renews and compares them.

/// Declares a module of generated code; the packages refer to each other by their nesting.
macro_rules! generated {
    ($name:ident, $file:literal) => {
        pub mod $name {
            #![allow(
                clippy::all,
                clippy::pedantic,
                clippy::restriction,
                missing_docs,
                unused_qualifications,
                reason = "generated code"
            )]
            include!($file);
        }
    };
}

#[expect(missing_docs, reason = "the packages' names")]
pub mod envoy {
    pub mod config {
        pub mod core {
            generated!(v3, "envoy.config.core.v3.rs");
        }
    }
    pub mod service {
        pub mod auth {
            generated!(v3, "envoy.service.auth.v3.rs");
        }
    }
    pub mod r#type {
        generated!(v3, "envoy.r#type.v3.rs");
    }
}

#[expect(missing_docs, reason = "the packages' names")]
pub mod google {
    generated!(rpc, "google.rpc.rs");
}

pub use envoy::config::core::v3 as core;
pub use envoy::service::auth::v3 as auth;
pub use envoy::r#type::v3::HttpStatus;
pub use google::rpc::Status;

/// The encoded `FileDescriptorSet` of the service, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("ext_authz.bin");
