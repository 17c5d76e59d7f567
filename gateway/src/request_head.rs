//! A request head after the first look at it: unambiguous, or refused.

use dataplane::headers::{plain_content_length, underscore_name};
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use policies::host::split_port;

/// Why a request head is refused before anything is decided about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// RFC 9112 §3.2; over HTTP/2, neither `:authority` nor `Host`.
    Host,
    /// Both framings at once: a smuggling attempt (RFC 9112 §6.1).
    Framing,
    /// A length that is no plain number, or said twice.
    Length,
    /// Only `chunked` is understood.
    TransferEncoding,
    /// A request target that is not a path, or not UTF-8.
    Target,
    /// `a_b` and `a-b` are one name to many an application.
    Underscore,
    /// RFC 9110 §10.1.1.
    Expectation,
    /// This proxy opens no tunnels for strangers.
    Connect,
    /// Neither HTTP/1.0, HTTP/1.1 nor HTTP/2.
    Version,
}

impl BadRequest {
    /// What the client is told.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Host => "missing or malformed host",
            Self::Length => "malformed content-length",
            Self::Framing => "both content-length and transfer-encoding",
            Self::TransferEncoding => "transfer-encoding is not chunked",
            Self::Target => "the request target is not a valid path",
            Self::Underscore => "a header name has an underscore",
            Self::Expectation => "the expectation cannot be met",
            Self::Connect => "CONNECT is not served",
            Self::Version => "the HTTP version is not supported",
        }
    }

    /// The status to answer with.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The parts of a request head that everything later builds on. The path is still as it was sent.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// The method.
    pub(crate) method: Method,
    /// The version the client used for this request.
    pub(crate) version: Version,
    /// The host, lower case, with the port if one was sent, without the root's dot.
    pub(crate) host: String,
    /// The path, before normalization.
    pub(crate) raw_path: String,
    /// What follows the question mark.
    pub(crate) query: Option<String>,
    /// The headers, as they were sent.
    pub(crate) headers: HeaderMap,
    /// The client waits for `100 Continue` before it sends its body.
    pub(crate) expects_continue: bool,
}

impl RequestHead {
    /// Looks at the head that `session` has just read.
    pub(crate) fn of(session: &ServerSession) -> Result<Self, BadRequest> {
        let header = session.req_header();
        check_version(header)?;
        check_framing(session, header)?;
        check_names(&header.headers)?;
        if header.method == Method::CONNECT {
            return Err(BadRequest::Connect);
        }
        let (raw_path, query) = target(header)?;
        Ok(Self {
            method: header.method.clone(),
            version: header.version,
            host: host(header)?,
            raw_path,
            query,
            expects_continue: expectation(header)?,
            headers: header.headers.clone(),
        })
    }
}

fn check_version(header: &RequestHeader) -> Result<(), BadRequest> {
    match header.version {
        Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2 => Ok(()),
        _ => Err(BadRequest::Version),
    }
}

/// Pingora lets `transfer-encoding` win over `content-length` and drops the latter; what came over
/// the wire is still in the raw head.
fn check_framing(session: &ServerSession, header: &RequestHeader) -> Result<(), BadRequest> {
    if !plain_content_length(&header.headers) {
        return Err(BadRequest::Length);
    }
    let mut encodings = header.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return Ok(());
    };
    if encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(BadRequest::TransferEncoding);
    }
    let ServerSession::H1(http1) = session else {
        return Err(BadRequest::TransferEncoding);
    };
    let raw = http1.get_headers_raw_bytes();
    let lengths = raw.split(|byte| *byte == b'\n').skip(1).filter(|line| {
        line.get(..CONTENT_LENGTH.as_str().len())
            .is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
    });
    if lengths.count() > 0 {
        Err(BadRequest::Framing)
    } else {
        Ok(())
    }
}

fn check_names(headers: &HeaderMap) -> Result<(), BadRequest> {
    match underscore_name(headers) {
        Some(_) => Err(BadRequest::Underscore),
        None => Ok(()),
    }
}

fn host(header: &RequestHeader) -> Result<String, BadRequest> {
    let host = match (header.headers.get(HOST), header.uri.authority()) {
        (Some(host), _) => host.to_str().map_err(|_| BadRequest::Host)?,
        (None, Some(authority)) if header.version == Version::HTTP_2 => authority.as_str(),
        (None, _) => return Err(BadRequest::Host),
    };
    let mut host = host.to_ascii_lowercase();
    let name = split_port(&host).0;
    if name.ends_with('.') {
        // The root's dot: `example.com.` is `example.com`.
        host.remove(name.len() - 1);
    }
    let valid = !host.is_empty()
        && host.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        })
        && !host.starts_with(':');
    if valid {
        Ok(host)
    } else {
        Err(BadRequest::Host)
    }
}

/// Path and query. Pingora has brought absolute form to origin form in `uri`, and compared its
/// authority with `Host`.
fn target(header: &RequestHeader) -> Result<(String, Option<String>), BadRequest> {
    if !header.raw_path_is_utf8() {
        return Err(BadRequest::Target);
    }
    let path = header.uri.path();
    if !path.starts_with('/') {
        return Err(BadRequest::Target);
    }
    Ok((path.to_owned(), header.uri.query().map(str::to_owned)))
}

fn expectation(header: &RequestHeader) -> Result<bool, BadRequest> {
    match header.headers.get(EXPECT) {
        None => Ok(false),
        // HTTP/1.0 clients cannot mean it (RFC 9110 §10.1.1).
        Some(_) if header.version == Version::HTTP_10 => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(BadRequest::Expectation),
    }
}
