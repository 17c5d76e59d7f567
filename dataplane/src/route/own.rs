//! What a route answers itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response};
use policies::route::{DirectResponse, HttpRoute, Redirect};

use super::Routed;
use crate::local_reply::LocalReply;

/// The answer of a redirect.
pub(super) fn redirect<B>(
    redirect: &Redirect,
    routed: &Routed<'_, B>,
) -> Result<Response<Bytes>, Box<LocalReply>> {
    let location = redirect.location(&routed.origin.view(&routed.request));
    let location = HeaderValue::try_from(location).map_err(|_| {
        Box::new(LocalReply::bad_request(
            "the redirect's location is not a valid header",
        ))
    })?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(LOCATION, location);
    routed.route.response_headers.apply(response.headers_mut());
    Ok(response)
}

/// The answer of a direct response.
pub(super) fn direct(direct: &DirectResponse, route: &HttpRoute) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(&direct.body));
    *response.status_mut() = direct.status;
    if !direct.body.is_empty() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    route.response_headers.apply(response.headers_mut());
    response
}
