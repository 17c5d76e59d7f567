//! How large requests and responses may be.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;
use serde::Deserialize;

use crate::local_reply::LocalReply;
use crate::telemetry::ResponseFlags;

/// `limits.requestBytes` and `limits.responseBytes` of a process file: the longest bodies, in bytes; none is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SizeLimits {
    /// Of requests that come in.
    pub request_bytes: Option<u64>,
    /// Of responses to them.
    pub response_bytes: Option<u64>,
}

impl SizeLimits {
    /// Whether a request may be so long as its head says.
    ///
    /// # Errors
    /// 413.
    pub fn check_request(&self, headers: &HeaderMap) -> Result<(), LocalReply> {
        check(headers, self.request_bytes).map_err(|()| Self::request_too_large())
    }

    /// Whether a response may be so long as its head says. One without a body, as to HEAD, may say anything.
    ///
    /// # Errors
    /// 502.
    pub fn check_response<B: Body>(&self, response: &Response<B>) -> Result<(), LocalReply> {
        if response.body().is_end_stream() {
            return Ok(());
        }
        check(response.headers(), self.response_bytes).map_err(|()| {
            LocalReply::new(
                StatusCode::BAD_GATEWAY,
                "the response is too large",
                ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
                "response_payload_too_large",
            )
        })
    }

    /// 413, for a body that turned out to be too long.
    pub const fn request_too_large() -> LocalReply {
        LocalReply::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request body is too large",
            ResponseFlags::NONE,
            "request_payload_too_large",
        )
    }
}

fn check(headers: &HeaderMap, most: Option<u64>) -> Result<(), ()> {
    let Some(most) = most else { return Ok(()) };
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // Without a length the body itself is watched.
    if length.is_some_and(|length| length > most) {
        return Err(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn what_the_head_says() {
        let limits = SizeLimits {
            request_bytes: Some(10),
            response_bytes: Some(10),
        };
        for (length, good) in [("10", true), ("11", false), ("99999999999999999999", true)] {
            let headers = HeaderMap::from_iter([(CONTENT_LENGTH, length.parse().unwrap())]);
            assert_eq!(limits.check_request(&headers).is_ok(), good, "{length}");
            let mut response = Response::new(Full::new(Bytes::from_static(b"a")));
            response.headers_mut().clone_from(&headers);
            assert_eq!(limits.check_response(&response).is_ok(), good, "{length}");
            let to_head = response.map(|_| Full::new(Bytes::new()));
            assert!(limits.check_response(&to_head).is_ok(), "{length}");
            assert!(SizeLimits::default().check_request(&headers).is_ok());
        }
        assert!(limits.check_request(&HeaderMap::new()).is_ok());
    }
}
