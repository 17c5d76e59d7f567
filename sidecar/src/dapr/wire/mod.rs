//! Dapr's messages of service invocation, generated from `sidecar/proto`.
//!
//! The generated files are checked in, so that no build needs `protoc`; `tests/wire_is_current.rs` renews and compares them.

/// Declares a module of generated code; the packages refer to each other by their nesting.
macro_rules! generated {
    ($name:ident, $file:literal) => {
        pub(crate) mod $name {
            #![allow(
                clippy::all,
                clippy::pedantic,
                clippy::restriction,
                missing_docs,
                unreachable_pub,
                unused_qualifications,
                reason = "generated code"
            )]
            include!($file);
        }
    };
}

pub(crate) mod dapr {
    pub(crate) mod proto {
        pub(crate) mod common {
            generated!(v1, "dapr.proto.common.v1.rs");
        }
        pub(crate) mod runtime {
            generated!(v1, "dapr.proto.runtime.v1.rs");
        }
    }
}

#[cfg(test)]
pub(crate) use dapr::proto::common::v1::{HttpExtension, InvokeRequest};
pub(crate) use dapr::proto::common::v1::{InvokeResponse, http_extension::Verb};
pub(crate) use dapr::proto::runtime::v1::InvokeServiceRequest;
