//! What a route answers itself.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Response};
use policies::route::{DirectResponse, Redirect};

use super::Routed;
use super::remembered::Remembered;
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
    change(routed, &mut response);
    Ok(response)
}

/// The answer of a direct response.
pub(super) fn direct<B>(direct: &DirectResponse, routed: &Routed<'_, B>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(&direct.body));
    *response.status_mut() = direct.status;
    if !direct.body.is_empty() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    change(routed, &mut response);
    response
}

/// The answer to a preflight (Envoy's CORS filter): no body.
pub(super) fn preflight(permission: HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = permission;
    response
}

fn change<B>(routed: &Routed<'_, B>, response: &mut Response<Bytes>) {
    let head = Remembered::of(&routed.request);
    routed.route.response_headers.apply_to_response(
        response.headers_mut(),
        routed.request.headers(),
        &head.facts(&routed.origin),
    );
}
