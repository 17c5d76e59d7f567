//! A tidy request as both proxies have it, each in its own form.

use std::io;
use std::sync::Arc;

use authz::jwt::VerifiedToken;
use bytes::Bytes;
use http::{HeaderMap, Method, Version};

/// A request that is judged, and changed by providers and token rules, before it is routed and forwarded.
pub trait Judged: Send {
    /// The version of HTTP that the client speaks.
    fn version(&self) -> Version;

    /// The method.
    fn method(&self) -> &Method;

    /// The authority, with the port if one was sent.
    fn host(&self) -> &str;

    /// The canonical path.
    fn path(&self) -> &str;

    /// What follows the question mark.
    fn query(&self) -> Option<&str>;

    /// The headers as they will be forwarded.
    fn headers(&self) -> &HeaderMap;

    /// The same, to be changed.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    /// Replaces what follows the question mark.
    fn set_query(&mut self, query: Option<String>);

    /// A token that whoever asks has verified already; then the request's own is not looked at.
    fn verified(&self) -> Option<Arc<VerifiedToken>> {
        None
    }

    /// The beginning of the body, at most `max` bytes of it; it is still forwarded whole.
    fn peek(&mut self, max: usize) -> impl Future<Output = io::Result<Peeked>> + Send;
}

/// The beginning of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// At most as many bytes as were asked for.
    pub bytes: Bytes,
    /// Whether this is the whole body.
    pub whole: bool,
}

impl Peeked {
    /// No body.
    pub const fn nothing() -> Self {
        Self {
            bytes: Bytes::new(),
            whole: true,
        }
    }
}
