//! What is answered where a cluster fails, compiled for one client.

use http::{HeaderValue, StatusCode};

use super::ClusterIndex;
use crate::document::FallbackWhen;
use crate::source::Location;

/// A Fallback as one proxy carries it out.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Where it is written.
    pub at: Location,
    /// The failures that it is about.
    pub when: Box<[FallbackWhen]>,
    /// What is answered.
    pub answer: FallbackAnswer,
}

/// What is answered in place of a failure.
#[derive(Clone, Debug)]
pub enum FallbackAnswer {
    /// Always the same.
    Response {
        /// Its status.
        status: StatusCode,
        /// `content-type`.
        content_type: HeaderValue,
        /// All of its body.
        body: Box<[u8]>,
    },
    /// What another cluster says.
    Cluster(ClusterIndex),
}

impl Fallback {
    /// Whether it is about a failure, by that name or as `5xx`; the name under which it is.
    pub fn holds(&self, failure: FallbackWhen) -> Option<FallbackWhen> {
        [failure, FallbackWhen::ServerError]
            .into_iter()
            .find(|when| self.when.contains(when))
    }
}
