//! What a route changes in a request on its way to the upstream, and in the response on its way back.

use std::time::Duration;

use authz::path::normalize_rewritten;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use policies::mesh::PathNormalization;
use policies::route::{HeaderFacts, HeaderOps, HttpRoute, WeightedCluster};

use super::Origin;
use crate::headers::{Upgrades, strip_hop_by_hop};
use crate::local_reply::LocalReply;

/// How long the application took, in milliseconds; Envoy's name for it.
static SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// Rewrites the request; then come the route's header changes and those of the destination, whose word is the last.
pub(super) fn change_request<B>(
    request: &mut Request<B>,
    route: &HttpRoute,
    destination: &WeightedCluster,
    origin: &Origin<'_>,
    facts: &HeaderFacts<'_>,
    normalization: PathNormalization,
) -> Result<(), Box<LocalReply>> {
    let rewrite = route.rewrite.as_ref();
    match rewrite.and_then(|rewrite| rewrite.path.as_ref()) {
        Some(change) => {
            let path = normalize_rewritten(change.apply(request.uri().path()), normalization)
                .map_err(refused("the rewritten path is malformed"))?;
            set_path(request, path)?;
        }
        None => {
            if let Some(sent) = origin.sent_path {
                set_path(request, sent.to_owned())?;
            }
        }
    }
    let mut authority = rewrite.and_then(|rewrite| rewrite.authority.as_ref());
    for ops in [&route.request_headers, &destination.request_headers] {
        ops.apply_to_request(request.headers_mut(), facts);
        authority = ops.authority.as_ref().or(authority);
    }
    if let Some(authority) = authority {
        request.headers_mut().insert(HOST, authority.clone());
    }
    Ok(())
}

/// Replaces the path; the query stays.
fn set_path<B>(request: &mut Request<B>, path: String) -> Result<(), Box<LocalReply>> {
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target = PathAndQuery::try_from(target)
        .map_err(refused("the request target is not a valid path"))?;
    *request.uri_mut() = Uri::from(target);
    Ok(())
}

fn refused<E>(why: &'static str) -> impl FnOnce(E) -> Box<LocalReply> {
    move |_| Box::new(LocalReply::bad_request(why))
}

/// Removes what ends at this hop, says how long the upstream took, and makes the changes of route and destination.
/// `request` has the headers of the request as it was sent.
pub(super) fn change_response<B>(
    response: &mut Response<B>,
    changes: [&HeaderOps; 2],
    request: &HeaderMap,
    facts: &HeaderFacts<'_>,
    service_time: Option<Duration>,
) {
    let upgrades = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        Upgrades::Keep
    } else {
        Upgrades::Strip
    };
    let headers = response.headers_mut();
    strip_hop_by_hop(headers, upgrades);
    if let Some(took) = service_time {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        headers.insert(&SERVICE_TIME, HeaderValue::from(millis));
    }
    for ops in changes {
        ops.apply_to_response(headers, request, facts);
    }
}
