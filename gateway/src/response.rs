//! Writes responses to the client the way its HTTP version wants them.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::response::Parts;
use http::{Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

type Written = Result<(), Box<pingora::Error>>;

/// What follows a response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    End,
    /// A body, perhaps trailers.
    Body,
}

/// Writes the head of a final response.
pub(crate) async fn write_head(
    session: &mut ServerSession,
    mut parts: Parts,
    after: After,
    draining: &ShutdownWatch,
) -> Written {
    if *draining.borrow() {
        // Pingora writes `connection: close` for it.
        session.set_keepalive(None);
    }
    frame(&mut parts, session, after);
    let head = Box::new(ResponseHeader::from(parts));
    match session {
        ServerSession::H2(stream) => stream.write_response_header(head, after == After::End),
        session => session.write_response_header(head).await,
    }
}

/// Settles how the client learns where the body ends.
fn frame(parts: &mut Parts, session: &ServerSession, after: After) {
    parts.headers.remove(TRANSFER_ENCODING);
    if session.is_http2() {
        return;
    }
    parts.version = Version::HTTP_11;
    let request = session.req_header();
    let bodiless = parts.status.is_informational()
        || matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        || request.method == Method::HEAD;
    if bodiless || parts.headers.contains_key(CONTENT_LENGTH) {
        return;
    }
    if after == After::End {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    } else if request.version == Version::HTTP_11 {
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    // HTTP/1.0 reads until the connection closes.
}

/// Writes a whole response that was made here.
pub(crate) async fn write_whole(
    session: &mut ServerSession,
    response: http::Response<Bytes>,
    draining: &ShutdownWatch,
) -> Written {
    let (mut parts, mut body) = response.into_parts();
    parts.headers.remove(CONNECTION);
    if session.req_header().method == Method::HEAD {
        body = Bytes::new();
    }
    let after = if body.is_empty() {
        After::End
    } else {
        After::Body
    };
    write_head(session, parts, after, draining).await?;
    if after == After::Body {
        session.write_response_body(body, true).await?;
    }
    Ok(())
}
