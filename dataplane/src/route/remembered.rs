//! What is kept of a request's head for changes that come when the request itself is gone.

use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use policies::route::HeaderFacts;

use super::Origin;

/// The first line of a request before it was rewritten; cheap to make.
#[derive(Debug)]
pub(super) struct Remembered {
    method: Method,
    uri: Uri,
}

impl Remembered {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
        }
    }

    /// What format strings may say.
    pub(super) fn facts<'a>(&'a self, origin: &Origin<'a>) -> HeaderFacts<'a> {
        HeaderFacts {
            method: self.method.as_str(),
            target: self.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            host: origin.host,
            scheme: origin.scheme,
            version: origin.version,
            remote: origin.remote,
        }
    }
}
