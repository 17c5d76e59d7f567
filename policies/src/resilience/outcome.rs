//! How one try ended, as the breaker and the retry policy see it.

/// How one try of a request at one endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryOutcome {
    /// The endpoint answered.
    Answered {
        /// The HTTP status of the response's head.
        status: u16,
        /// The `grpc-status` of the head or, when it came before anything was passed on, of the trailers.
        grpc: Option<u16>,
    },
    /// No connection: refused, unreachable, connect timeout, TLS or identity failure. Nothing was sent.
    ConnectFailure,
    /// The endpoint refused the stream before it looked at the request (`REFUSED_STREAM`, GOAWAY). Nothing was processed.
    Refused,
    /// The connection broke before a response's head. `sent`: whether bytes of the request may have been sent.
    Reset {
        /// Whether bytes of the request may have reached the endpoint.
        sent: bool,
    },
    /// `perTryTimeout` passed before the response's head.
    PerTryTimeout,
    /// The whole request's deadline passed during this try.
    DeadlineExceeded,
    /// Nobody waits any more: the client left. Says nothing about the endpoint.
    Cancelled,
}
