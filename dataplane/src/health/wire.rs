//! The messages of the gRPC health protocol (`grpc.health.v1`, `grpc/grpc-proto`); written by hand, since they are few.

use prost::{Enumeration, Message};

/// The method that is asked.
pub const CHECK: &str = "/grpc.health.v1.Health/Check";

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckRequest {
    /// Whose health; empty: the whole server's.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckResponse {
    /// The answer.
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub status: i32,
}

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    /// No word.
    Unknown = 0,
    /// It is well.
    Serving = 1,
    /// It is not.
    NotServing = 2,
    /// Nobody knows the service.
    ServiceUnknown = 3,
}

impl ServingStatus {
    /// As the protocol has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Serving => "SERVING",
            Self::NotServing => "NOT_SERVING",
            Self::ServiceUnknown => "SERVICE_UNKNOWN",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        let request = HealthCheckRequest {
            service: "a.B".to_owned(),
        };
        assert_eq!(request.encode_to_vec(), b"\x0a\x03a.B");
        let answer = HealthCheckResponse::decode(&b"\x08\x02"[..]).unwrap();
        assert_eq!(answer.status(), ServingStatus::NotServing);
        let nothing = HealthCheckResponse::decode(&b""[..]).unwrap();
        assert_eq!(nothing.status(), ServingStatus::Unknown);
    }
}
