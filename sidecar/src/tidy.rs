//! One form for every request: what is judged, routed and forwarded is the same text.

use authz::{PathError, normalize};
use dataplane::LocalReply;
use dataplane::headers::plain_content_length;
use dataplane::telemetry::ResponseFlags;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, StatusCode, Uri, Version};
use policies::mesh::PathNormalization;

/// Checks the head of a request and brings it into origin form: a canonical path with the query untouched, and the
/// authority in exactly one Host header. An absolute-form target or `:authority` wins over Host (RFC 9112 §3.2.2).
/// Gives back the path as it was sent, where that is another one.
pub(crate) fn tidy<B>(
    request: &mut Request<B>,
    mode: PathNormalization,
) -> Result<Option<SentPath>, Box<LocalReply>> {
    if request.method() == Method::CONNECT {
        return Err(Box::new(CONNECT_REFUSED));
    }
    if !plain_content_length(request.headers()) {
        return refuse("malformed content-length");
    }
    if request.version() < Version::HTTP_2 {
        check_transfer_encoding(request)?;
    }
    settle_authority(request)?;
    settle_path(request, mode)
}

/// The Host of a tidied request.
pub(crate) fn host<B>(request: &Request<B>) -> &str {
    request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
}

const CONNECT_REFUSED: LocalReply = LocalReply::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "CONNECT is not supported: send the request itself to the proxy, as http://host/path",
    ResponseFlags::NONE,
    "connect_refused",
);

fn refuse<T>(why: &'static str) -> Result<T, Box<LocalReply>> {
    Err(Box::new(LocalReply::bad_request(why)))
}

fn check_transfer_encoding<B>(request: &Request<B>) -> Result<(), Box<LocalReply>> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let known = match (codings.next(), codings.next()) {
        (None, _) => return Ok(()),
        (Some(only), None) => only
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    // hyper reads such a message by its chunks, drops the length and closes the connection afterwards; two
    // framings are refused where both are still to be seen (RFC 9112 §6.3).
    if !known || request.headers().contains_key(header::CONTENT_LENGTH) {
        return refuse("unknown or ambiguous transfer coding");
    }
    Ok(())
}

fn settle_authority<B>(request: &mut Request<B>) -> Result<(), Box<LocalReply>> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let sent = hosts.next();
    if hosts.next().is_some() {
        return refuse("more than one Host header");
    }
    let target = request.uri().authority();
    let settled = match (target, sent) {
        (None, None) => return refuse("the request names no host"),
        (None, Some(host)) => {
            check_authority(host.as_bytes())?;
            match without_roots_dot(host.as_bytes()) {
                Some(plain) => malformed(HeaderValue::from_bytes(&plain))?,
                None => return Ok(()),
            }
        }
        (Some(target), sent) => {
            check_authority(target.as_str().as_bytes())?;
            let same = sent.is_none_or(|host| {
                host.as_bytes()
                    .eq_ignore_ascii_case(target.as_str().as_bytes())
            });
            // RFC 9113 §8.3.1 lets a server refuse; on HTTP/1 a proxy must take the target.
            if !same && request.version() == Version::HTTP_2 {
                return refuse("Host differs from :authority");
            }
            let target = target.as_str().as_bytes();
            match without_roots_dot(target) {
                Some(plain) => malformed(HeaderValue::from_bytes(&plain))?,
                None => malformed(HeaderValue::from_bytes(target))?,
            }
        }
    };
    request.headers_mut().insert(header::HOST, settled);
    Ok(())
}

fn malformed<T, E>(host: Result<T, E>) -> Result<T, Box<LocalReply>> {
    host.or_else(|_| refuse("the host is malformed"))
}

/// `a.example.com.` is `a.example.com`: a rule about the one must hold for the other, as it does at the gateway.
fn without_roots_dot(authority: &[u8]) -> Option<Vec<u8>> {
    let (name, port) = match authority.iter().rposition(|byte| *byte == b':') {
        Some(colon) => authority.split_at(colon),
        None => (authority, &[][..]),
    };
    name.strip_suffix(b".").map(|name| [name, port].concat())
}

fn check_authority(host: &[u8]) -> Result<(), Box<LocalReply>> {
    let authority = Authority::try_from(host).or_else(|_| refuse("the host is malformed"))?;
    let text = authority.as_str();
    let name = authority.host();
    let port_is_good = text.len() == name.len() || authority.port_u16().is_some();
    if matches!(name, "" | ".") || text.contains('@') || !port_is_good {
        return refuse("the host is malformed");
    }
    Ok(())
}

/// A path as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentPath(String);

impl SentPath {
    /// The path.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Puts the path back where only its canonical form was to be judged and routed.
    pub(crate) fn restore<B>(self, request: &mut Request<B>) -> Result<(), Box<LocalReply>> {
        let target = match request.uri().query() {
            Some(query) => format!("{}?{query}", self.0),
            None => self.0,
        };
        set_target(request, target)
    }
}

fn settle_path<B>(
    request: &mut Request<B>,
    mode: PathNormalization,
) -> Result<Option<SentPath>, Box<LocalReply>> {
    let uri = request.uri();
    let path = normalize(uri.path(), mode).or_else(|error| {
        refuse(match error {
            PathError::Nul => "the path holds a NUL character",
            PathError::ControlCharacter(_) => "the path holds a control character",
            _ => "the path is malformed",
        })
    })?;
    let canonical = path == uri.path();
    let origin_form = uri.scheme().is_none() && uri.authority().is_none();
    if origin_form && canonical {
        return Ok(None);
    }
    let sent = (!canonical).then(|| SentPath(uri.path().to_owned()));
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    set_target(request, target)?;
    Ok(sent)
}

/// Replaces path and query of a tidied request.
pub(crate) fn set_target<B>(
    request: &mut Request<B>,
    target: String,
) -> Result<(), Box<LocalReply>> {
    let target = PathAndQuery::try_from(target).or_else(|_| refuse("the path is malformed"))?;
    *request.uri_mut() = Uri::from(target);
    Ok(())
}

#[cfg(test)]
mod tests;
