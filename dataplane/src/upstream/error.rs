//! Why a request got no response, classified where the fact is known.

use std::fmt;
use std::sync::Arc;

use http::Request;

use crate::telemetry::ResponseFlags;

/// What kept a request from being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpstreamErrorKind {
    /// A limit of the cluster's connections is reached (`connectionPool`): nothing was sent.
    Overflow,
    /// The endpoint's name has no address.
    Resolve,
    /// TCP could not connect: refused, unreachable.
    Connect,
    /// Connect, TLS handshake and HTTP preface together took longer than the connect timeout.
    ConnectTimeout,
    /// This process has no TLS material yet, so it cannot prove who it is.
    NoIdentity,
    /// The peer's certificate is not one we accept: wrong identity, untrusted, expired.
    Identity,
    /// TLS failed otherwise; among other things the peer may have refused our certificate.
    Tls,
    /// The peer speaks, but not the protocol we need.
    Protocol,
    /// The peer refused the stream before it looked at the request (RFC 9113 §8.7), or goes away without it (§6.8).
    Refused,
    /// The connection or stream ended before a response came, after (part of) the request was sent.
    Reset,
    /// The request's own body failed: the client went away in the middle of its upload.
    Upload,
    /// The request cannot be expressed upstream (no authority, CONNECT).
    Request,
}

impl UpstreamErrorKind {
    /// Whether no connection to the endpoint came about, so that another endpoint may be tried
    /// (Istio's `connect-failure`).
    pub const fn is_connect_failure(self) -> bool {
        matches!(
            self,
            Self::Resolve | Self::Connect | Self::ConnectTimeout | Self::Identity | Self::Tls
        )
    }

    /// The response flag that the access log and the metrics show.
    pub const fn flags(self) -> ResponseFlags {
        match self {
            Self::Overflow => ResponseFlags::UPSTREAM_OVERFLOW,
            Self::Resolve
            | Self::Connect
            | Self::ConnectTimeout
            | Self::NoIdentity
            | Self::Identity
            | Self::Tls => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Self::Protocol => ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
            Self::Refused => ResponseFlags::UPSTREAM_REMOTE_RESET,
            Self::Reset => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::Upload => ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
            Self::Request => ResponseFlags::NONE,
        }
    }

    /// Envoy-style response code detail.
    pub const fn details(self) -> &'static str {
        match self {
            Self::Overflow => "upstream_reset_before_response_started{overflow}",
            Self::Resolve => "upstream_reset_before_response_started{dns_resolution_failure}",
            Self::Connect => "upstream_reset_before_response_started{remote_connection_failure}",
            Self::ConnectTimeout => "upstream_reset_before_response_started{connection_timeout}",
            Self::NoIdentity => "upstream_reset_before_response_started{no_workload_certificate}",
            Self::Identity => "upstream_reset_before_response_started{peer_identity_refused}",
            Self::Tls => "upstream_reset_before_response_started{tls_failure}",
            Self::Protocol => "upstream_reset_before_response_started{protocol_error}",
            Self::Refused => "upstream_reset_before_response_started{remote_refused_stream_reset}",
            Self::Reset => "upstream_reset_before_response_started{connection_termination}",
            Self::Upload => "downstream_remote_disconnect",
            Self::Request => "request_not_forwardable",
        }
    }
}

impl fmt::Display for UpstreamErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "too many connections or waiting requests",
            Self::Resolve => "the endpoint's name has no address",
            Self::Connect => "cannot connect",
            Self::ConnectTimeout => "connecting took too long",
            Self::NoIdentity => "no workload certificate yet",
            Self::Identity => "the peer's identity is refused",
            Self::Tls => "the TLS handshake failed",
            Self::Protocol => "the peer broke the protocol",
            Self::Refused => "the peer refused the stream unseen",
            Self::Reset => "the connection ended before a response",
            Self::Upload => "the request body failed",
            Self::Request => "the request cannot be forwarded",
        })
    }
}

/// A request without a response. When nothing of it was sent, the request itself comes back.
pub struct UpstreamError<B> {
    /// The class of the failure.
    pub kind: UpstreamErrorKind,
    /// What the operating system, TLS or HTTP said; for logs, never for clients.
    pub cause: Arc<str>,
    /// The untouched request, when nothing of it was sent: it may go to another endpoint.
    pub request: Option<Box<Request<B>>>,
    /// The connection had served before, so that the peer may have closed it before it saw the request.
    pub reused: bool,
}

impl<B> UpstreamError<B> {
    pub(crate) fn new(kind: UpstreamErrorKind, cause: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            cause: cause.into(),
            request: None,
            reused: false,
        }
    }

    pub(crate) fn with_request(mut self, request: Request<B>) -> Self {
        self.request = Some(Box::new(request));
        self
    }
}

impl<B> fmt::Debug for UpstreamError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamError")
            .field("kind", &self.kind)
            .field("cause", &self.cause)
            .field("unsent", &self.request.is_some())
            .field("reused", &self.reused)
            .finish()
    }
}

impl<B> fmt::Display for UpstreamError<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.cause)
    }
}

impl<B> std::error::Error for UpstreamError<B> {}

/// A failed dial; cloneable, because every request that waited for a shared dial gets it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}: {cause}")]
pub struct DialError {
    /// The class of the failure.
    pub kind: UpstreamErrorKind,
    /// What the operating system or TLS said; for logs.
    pub cause: Arc<str>,
}

impl DialError {
    pub(crate) fn new(kind: UpstreamErrorKind, cause: impl fmt::Display) -> Self {
        Self {
            kind,
            cause: cause.to_string().into(),
        }
    }

    /// Classifies an I/O error: TLS reports its own errors wrapped in one.
    pub(super) fn from_io(error: &std::io::Error, otherwise: UpstreamErrorKind) -> Self {
        let tls = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        Self::new(tls.map_or(otherwise, tls_kind), error)
    }

    pub(crate) fn into_error<B>(self, request: Option<Request<B>>) -> UpstreamError<B> {
        let error = UpstreamError::new(self.kind, self.cause);
        match request {
            Some(request) => error.with_request(request),
            None => error,
        }
    }
}

fn tls_kind(error: &rustls::Error) -> UpstreamErrorKind {
    match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::UnsupportedNameType => UpstreamErrorKind::Identity,
        _ => UpstreamErrorKind::Tls,
    }
}

/// Classifies what hyper says about a request that got no response.
pub(super) fn exchange_kind(error: &hyper::Error, upload_failed: bool) -> UpstreamErrorKind {
    if upload_failed {
        return UpstreamErrorKind::Upload;
    }
    if error.is_parse() {
        return UpstreamErrorKind::Protocol;
    }
    if chain(error).any(is_refusal) {
        return UpstreamErrorKind::Refused;
    }
    if let Some(kind) = chain(error).find_map(tls_of) {
        return kind;
    }
    UpstreamErrorKind::Reset
}

/// Whether the peer says that it has not looked at the request: `REFUSED_STREAM`, or GOAWAY, which ends only the streams
/// above the last one that the peer takes care of.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<h2::Error>().is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

fn tls_of(error: &(dyn std::error::Error + 'static)) -> Option<UpstreamErrorKind> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_kind(tls));
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(tls) => Some(tls_kind(tls)),
        // h2 keeps only kind and text of what the stream below it said, and this kind is the TLS layer's.
        None => (io.kind() == std::io::ErrorKind::InvalidData).then_some(UpstreamErrorKind::Tls),
    }
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |e| e.source())
}

/// An error with its causes on one line.
pub(super) fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut out = error.to_string();
    for cause in chain(error).skip(1) {
        let text = cause.to_string();
        if !out.ends_with(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
    }
    out
}
