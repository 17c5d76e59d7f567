//! Response flags: Envoy's short codes for what a proxy itself did to a response, and two of ours.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of response flags; prints as Envoy does: `UH`, `UF,URX`, or `-` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        impl ResponseFlags {
            flags!(@consts 0u32; $($(#[$doc])* $name,)*);
            const CODES: &'static [(Self, &'static str)] = &[$((Self::$name, $code)),*];
        }
    };
    (@consts $bit:expr; $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
        $(#[$doc])*
        pub const $name: Self = Self(1 << ($bit));
        flags!(@consts $bit + 1; $($rest)*);
    };
    (@consts $bit:expr;) => {};
}

flags! {
    /// No healthy endpoint to send to.
    NO_HEALTHY_UPSTREAM = "UH",
    /// Connecting to the endpoint failed.
    UPSTREAM_CONNECTION_FAILURE = "UF",
    /// A connection-pool limit was hit.
    UPSTREAM_OVERFLOW = "UO",
    /// No route matches.
    NO_ROUTE_FOUND = "NR",
    /// Retries or connection attempts are used up.
    UPSTREAM_RETRY_LIMIT_EXCEEDED = "URX",
    /// The endpoint closed the connection.
    UPSTREAM_CONNECTION_TERMINATION = "UC",
    /// The deadline passed before the response was complete.
    UPSTREAM_REQUEST_TIMEOUT = "UT",
    /// The endpoint reset the stream.
    UPSTREAM_REMOTE_RESET = "UR",
    /// A local reset of the connection.
    LOCAL_RESET = "LR",
    /// A failed health check answered.
    FAILED_LOCAL_HEALTH_CHECK = "LH",
    /// The client went away.
    DOWNSTREAM_CONNECTION_TERMINATION = "DC",
    /// The client broke the protocol.
    DOWNSTREAM_PROTOCOL_ERROR = "DPE",
    /// The endpoint broke the protocol.
    UPSTREAM_PROTOCOL_ERROR = "UPE",
    /// The longest stream duration was reached.
    UPSTREAM_MAX_STREAM_DURATION_REACHED = "UMSDR",
    /// The external authorization service refused.
    UNAUTHORIZED_EXTERNAL_SERVICE = "UAEX",
    /// Rate limited.
    RATE_LIMITED = "RL",
    /// The rate limit service failed.
    RATE_LIMIT_SERVICE_ERROR = "RLSE",
    /// A strictly checked header was invalid.
    INVALID_ENVOY_REQUEST_HEADERS = "IH",
    /// A stream idled for too long.
    STREAM_IDLE_TIMEOUT = "SI",
    /// The request itself was not complete in time.
    DOWNSTREAM_TIMEOUT = "DT",
    /// The route's cluster does not exist.
    NO_CLUSTER_FOUND = "NC",
    /// A filter's configuration is missing.
    NO_FILTER_CONFIG_FOUND = "NFCF",
    /// The overload manager stopped the request.
    OVERLOAD_MANAGER = "OM",
    /// A name could not be resolved.
    DNS_RESOLUTION_FAILED = "DF",
    /// A delay was injected.
    DELAY_INJECTED = "DI",
    /// A fault was injected.
    FAULT_INJECTED = "FI",
    /// The answer came from a cache.
    RESPONSE_FROM_CACHE_FILTER = "RFCF",
    /// The client reset its stream.
    DOWNSTREAM_REMOTE_RESET = "DR",
    /// Ours: an authorization policy refused the request (Envoy says it in the response code details only).
    POLICY_DENIED = "PD",
    /// Ours: a Fallback answered in place of a failure.
    FALLBACK = "FB",
}

impl ResponseFlags {
    /// Nothing noteworthy.
    pub const NONE: Self = Self(0);

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every flag of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for ResponseFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ResponseFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut first = true;
        for (_, code) in Self::CODES.iter().filter(|(flag, _)| self.contains(*flag)) {
            if !std::mem::take(&mut first) {
                f.write_str(",")?;
            }
            f.write_str(code)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseFlags as F;

    #[test]
    fn prints_as_envoy_does() {
        assert_eq!(F::NONE.to_string(), "-");
        assert_eq!(F::NO_HEALTHY_UPSTREAM.to_string(), "UH");
        let both = F::UPSTREAM_RETRY_LIMIT_EXCEEDED | F::UPSTREAM_CONNECTION_FAILURE;
        assert_eq!(both.to_string(), "UF,URX");
        assert!(both.contains(F::UPSTREAM_CONNECTION_FAILURE));
        assert!(!both.contains(F::NO_ROUTE_FOUND));
    }

    #[test]
    fn every_flag_has_a_bit_of_its_own() {
        let all = F::CODES.iter().fold(F::NONE, |all, (flag, _)| {
            assert!(!all.contains(*flag));
            all | *flag
        });
        assert_eq!(all.to_string().split(',').count(), F::CODES.len());
    }
}
