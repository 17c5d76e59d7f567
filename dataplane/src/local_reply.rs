//! Answers a proxy gives itself: Istio's plain texts, and for gRPC the matching status in an HTTP 200.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::telemetry::ResponseFlags;
use crate::upstream::UpstreamErrorKind;

/// gRPC status codes (grpc/doc/statuscodes.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcStatus(u16);

impl GrpcStatus {
    /// 0.
    pub const OK: Self = Self(0);
    /// 1.
    pub const CANCELLED: Self = Self(1);
    /// 2.
    pub const UNKNOWN: Self = Self(2);
    /// 3.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// 4.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// 5.
    pub const NOT_FOUND: Self = Self(5);
    /// 6.
    pub const ALREADY_EXISTS: Self = Self(6);
    /// 7.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// 8.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// 9.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// 10.
    pub const ABORTED: Self = Self(10);
    /// 11.
    pub const OUT_OF_RANGE: Self = Self(11);
    /// 12.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// 13.
    pub const INTERNAL: Self = Self(13);
    /// 14.
    pub const UNAVAILABLE: Self = Self(14);
    /// 15.
    pub const DATA_LOSS: Self = Self(15);
    /// 16.
    pub const UNAUTHENTICATED: Self = Self(16);

    /// The status of a number.
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The HTTP status that stands for it where the caller does not speak gRPC (Envoy's `grpcToHttpStatus`).
    pub fn as_http(self) -> StatusCode {
        let status = match self.0 {
            0 => 200,
            1 => 499,
            3 | 9 | 11 => 400,
            4 => 504,
            5 => 404,
            6 | 10 => 409,
            7 => 403,
            8 => 429,
            12 => 501,
            14 => 503,
            16 => 401,
            _ => 500,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The status that stands for an HTTP status (grpc/doc/http-grpc-status-mapping.md, as Envoy applies it);
    /// a timeout is DEADLINE_EXCEEDED, so that clients do not repeat it as they would UNAVAILABLE.
    pub fn of_http(status: StatusCode) -> Self {
        match status.as_u16() {
            400 | 431 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 => Self::UNAVAILABLE,
            504 => Self::DEADLINE_EXCEEDED,
            _ => Self::UNKNOWN,
        }
    }
}

/// An answer of the proxy's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: StatusCode,
    /// Plain text; also the gRPC message.
    pub body: Cow<'static, str>,
    /// What the log and the metrics show.
    pub flags: ResponseFlags,
    /// Response code details of the log, as Envoy's.
    pub details: Cow<'static, str>,
    /// More headers, where the answer calls for them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What callers of gRPC get, where it is not what stands for `status`.
    pub grpc: Option<GrpcStatus>,
}

impl LocalReply {
    /// A reply with the given parts.
    pub const fn new(
        status: StatusCode,
        body: &'static str,
        flags: ResponseFlags,
        details: &'static str,
    ) -> Self {
        Self {
            status,
            body: Cow::Borrowed(body),
            flags,
            details: Cow::Borrowed(details),
            headers: Vec::new(),
            grpc: None,
        }
    }

    /// 404: no route matches.
    pub const fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no route",
            ResponseFlags::NO_ROUTE_FOUND,
            "route_not_found",
        )
    }

    /// 403 with Istio's text; `details` is for the log only: what `authz::Decision::denial_details` says, as
    /// `rbac_access_denied_matched_policy[none]`.
    pub fn denied(details: impl fmt::Display) -> Self {
        Self {
            details: Cow::Owned(details.to_string()),
            ..Self::new(
                StatusCode::FORBIDDEN,
                "RBAC: access denied",
                ResponseFlags::POLICY_DENIED,
                "",
            )
        }
    }

    /// 503: the route names a cluster that does not exist.
    pub const fn no_cluster() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "",
            ResponseFlags::NO_CLUSTER_FOUND,
            "cluster_not_found",
        )
    }

    /// 400: the request is malformed; `why` is told to the client.
    pub const fn bad_request(why: &'static str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            why,
            ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
            "http1.codec_error",
        )
    }

    /// 421: the connection's server name does not cover the request's host (RFC 9110 §15.5.20).
    pub const fn misdirected() -> Self {
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected request",
            ResponseFlags::NO_ROUTE_FOUND,
            "misdirected_request",
        )
    }

    /// 503: the cluster has no endpoint to send to.
    pub const fn no_healthy_upstream() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no healthy upstream",
            ResponseFlags::NO_HEALTHY_UPSTREAM,
            "no_healthy_upstream",
        )
    }

    /// 503: a limit of the connection pool is reached.
    pub fn overflow() -> Self {
        let name = HeaderName::from_static("x-envoy-overloaded");
        Self {
            headers: vec![(name, HeaderValue::from_static("true"))],
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "upstream connect error or disconnect/reset before headers. reset reason: overflow",
                ResponseFlags::UPSTREAM_OVERFLOW,
                "upstream_reset_before_response_started{overflow}",
            )
        }
    }

    /// 503: the process has no good policy generation yet.
    pub const fn not_ready() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready",
            ResponseFlags::NO_ROUTE_FOUND,
            "no_policy_generation",
        )
    }

    /// 504: the deadline passed before the response's head.
    pub const fn timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream request timeout",
            ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            "response_timeout",
        )
    }

    /// 504: one try took too long, and there is no other.
    pub const fn try_timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream request timeout",
            ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            "upstream_per_try_timeout",
        )
    }

    /// 504: nothing moved for too long.
    pub const fn idle() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "stream timeout",
            ResponseFlags::STREAM_IDLE_TIMEOUT,
            "stream_idle_timeout",
        )
    }

    /// 503 when no connection came about, 502 when the peer is bad: wrong identity, broken TLS or protocol,
    /// no response. The cause stays in the log.
    pub fn upstream(kind: UpstreamErrorKind) -> Self {
        use UpstreamErrorKind as Kind;
        let (status, body) = match kind {
            Kind::Overflow => return Self::overflow(),
            Kind::NoIdentity => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no workload certificate yet: this proxy cannot prove who it is",
            ),
            Kind::Resolve | Kind::Connect => (
                StatusCode::SERVICE_UNAVAILABLE,
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
            ),
            Kind::ConnectTimeout => (
                StatusCode::SERVICE_UNAVAILABLE,
                "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
            ),
            Kind::Identity | Kind::Tls => (
                StatusCode::BAD_GATEWAY,
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: TLS error",
            ),
            Kind::Protocol => (
                StatusCode::BAD_GATEWAY,
                "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
            ),
            Kind::Refused => (
                StatusCode::SERVICE_UNAVAILABLE,
                "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset",
            ),
            Kind::Reset => (
                StatusCode::BAD_GATEWAY,
                "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            ),
            Kind::Upload => (StatusCode::BAD_REQUEST, "the request body ended early"),
            Kind::Request => (StatusCode::BAD_REQUEST, "the request cannot be forwarded"),
        };
        Self::new(status, body, kind.flags(), kind.details())
    }

    /// The response for the given request headers: gRPC callers get a gRPC status.
    pub fn response(&self, request: &HeaderMap) -> Response<Bytes> {
        if is_grpc(request) {
            self.grpc()
        } else {
            self.plain()
        }
    }

    /// The plain text form.
    pub fn plain(&self) -> Response<Bytes> {
        let body = match &self.body {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => Bytes::copy_from_slice(text.as_bytes()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response
    }

    /// The gRPC form: trailers only (gRPC over HTTP/2, "Responses").
    pub fn grpc(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert("grpc-status", HeaderValue::from(self.grpc_status().code()));
        if let Ok(message) = HeaderValue::from_str(&percent_encode(&self.body)) {
            headers.insert("grpc-message", message);
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response
    }

    /// The status that gRPC callers see.
    pub fn grpc_status(&self) -> GrpcStatus {
        self.grpc
            .unwrap_or_else(|| GrpcStatus::of_http(self.status))
    }
}

/// Whether a request or response is gRPC by its content type: `application/grpc`, alone or with `+` or `;`.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .split_at_checked(PREFIX.len())
            .is_some_and(|(start, rest)| {
                start.eq_ignore_ascii_case(PREFIX)
                    && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
            })
    })
}

/// `grpc-message` encoding: everything but printable ASCII, and `%` itself, becomes `%XX`.
fn percent_encode(text: &str) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let digit = |n: u8| DIGITS.get(usize::from(n & 0xf)).copied().unwrap_or('0');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | ..b' ' | 0x7f.. => out.extend(['%', digit(byte >> 4), digit(byte)]),
            _ => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn plain_text_as_istio() {
        let details = "rbac_access_denied_matched_policy[ns[my-app]-policy[x]-rule[0]]";
        let reply = LocalReply::denied(details);
        let response = reply.response(&request("application/json"));
        assert_eq!(response.status(), 403);
        assert_eq!(response.body().as_ref(), b"RBAC: access denied");
        assert_eq!(response.headers()["content-length"], "19");
        assert_eq!(reply.details, details);
        assert_eq!(
            LocalReply::timeout().plain().body().as_ref(),
            b"upstream request timeout"
        );
        assert_eq!(
            LocalReply::no_healthy_upstream().plain().body().as_ref(),
            b"no healthy upstream"
        );
        let without = LocalReply::upstream(UpstreamErrorKind::NoIdentity).plain();
        assert_eq!(without.status(), 503);
        assert!(without.body().starts_with(b"no workload certificate yet"));
        assert_eq!(
            LocalReply::overflow().plain().headers()["x-envoy-overloaded"],
            "true"
        );
    }

    #[test]
    fn grpc_callers_get_a_grpc_status() {
        for (reply, status) in [
            (LocalReply::denied("none"), "7"),
            (LocalReply::no_route(), "12"),
            (LocalReply::no_healthy_upstream(), "14"),
            (LocalReply::upstream(UpstreamErrorKind::Identity), "14"),
            (LocalReply::timeout(), "4"),
            (LocalReply::bad_request("bad path"), "13"),
        ] {
            let response = reply.response(&request("application/grpc+proto"));
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], status, "{reply:?}");
            assert!(response.body().is_empty());
        }
        let response = LocalReply::denied("none").grpc();
        assert_eq!(response.headers()["grpc-message"], "RBAC: access denied");
    }

    #[test]
    fn grpc_messages_are_percent_encoded() {
        assert_eq!(percent_encode("50% off\n\u{e9}"), "50%25 off%0A%C3%A9");
    }

    #[test]
    fn content_types_of_grpc() {
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC;x=y",
        ] {
            assert!(is_grpc(&request(yes)), "{yes}");
        }
        for no in [
            "application/grpc-web",
            "application/json",
            "application/grp",
        ] {
            assert!(!is_grpc(&request(no)), "{no}");
        }
    }
}
