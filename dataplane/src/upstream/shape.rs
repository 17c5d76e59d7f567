//! The same request in the form that HTTP/1.1 or HTTP/2 wants it.

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

/// Why a request cannot be expressed upstream.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum ShapeError {
    #[error("CONNECT requests are not forwarded")]
    Connect,
    #[error("the request names no authority")]
    NoAuthority,
    #[error("the request's authority is malformed")]
    BadAuthority,
}

/// Origin form and a Host header (RFC 9112 §3.2.1).
pub(super) fn for_http1<B>(request: &mut Request<B>) -> Result<(), ShapeError> {
    refuse_connect(request)?;
    if !request.headers().contains_key(header::HOST) {
        let authority = request.uri().authority().ok_or(ShapeError::NoAuthority)?;
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|_| ShapeError::BadAuthority)?;
        request.headers_mut().insert(header::HOST, host);
    }
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        *request.uri_mut() = Uri::from(path_of(request.uri()));
    }
    join_cookies(request.headers_mut());
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// Pseudo-headers from an absolute URI, no Host and no connection headers (RFC 9113 §8.2.2, §8.3.1).
/// The Host header wins over the URI's authority: it is what the caller may have rewritten.
pub(super) fn for_http2<B>(request: &mut Request<B>, scheme: &Scheme) -> Result<(), ShapeError> {
    refuse_connect(request)?;
    let authority = match request.headers_mut().remove(header::HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).map_err(|_| ShapeError::BadAuthority)?,
        None => request
            .uri()
            .authority()
            .cloned()
            .ok_or(ShapeError::NoAuthority)?,
    };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority);
    parts.path_and_query = Some(path_of(request.uri()));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| ShapeError::BadAuthority)?;
    let headers = request.headers_mut();
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    if headers
        .get(header::TE)
        .is_some_and(|te| te.as_bytes() != b"trailers")
    {
        headers.remove(header::TE);
    }
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// Puts the Host header back after [`for_http2`], so that a replay may take the other form.
pub(super) fn restore_host<B>(request: &mut Request<B>) {
    if !request.headers().contains_key(header::HOST)
        && let Some(host) = request
            .uri()
            .authority()
            .and_then(|a| HeaderValue::from_str(a.as_str()).ok())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

fn refuse_connect<B>(request: &Request<B>) -> Result<(), ShapeError> {
    if request.method() == Method::CONNECT {
        Err(ShapeError::Connect)
    } else {
        Ok(())
    }
}

fn path_of(uri: &Uri) -> PathAndQuery {
    match uri.path_and_query() {
        // `http://host?x` has no path; the request line needs one.
        Some(path) if path.as_str().starts_with('/') || path.as_str() == "*" => path.clone(),
        Some(path) => PathAndQuery::try_from(format!("/{path}"))
            .unwrap_or_else(|_| PathAndQuery::from_static("/")),
        None => PathAndQuery::from_static("/"),
    }
}

/// HTTP/2 may split Cookie into several fields; HTTP/1.1 wants one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}
