//! What a page of the admin port receives and answers.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

/// A request whose head and body were read whole.
#[derive(Clone, Debug)]
pub struct AdminRequest {
    /// GET, HEAD or POST.
    pub method: Method,
    /// The path without query.
    pub path: String,
    /// The query without `?`.
    pub query: Option<String>,
    /// The body, bounded.
    pub body: Bytes,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct AdminResponse {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl AdminRequest {
    /// A parameter of the query, or else of a form body. Only `%XX` of plain names is not decoded: what the admin port
    /// takes needs no escapes.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let body = std::str::from_utf8(&self.body).unwrap_or_default();
        [self.query.as_deref().unwrap_or_default(), body.trim()]
            .into_iter()
            .flat_map(|form| form.split('&'))
            .filter_map(|pair| pair.split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.replace("%2C", ",").replace("%3D", "="))
    }
}

impl AdminResponse {
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }

    /// JSON, indented for people.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Self {
        match serde_json::to_vec_pretty(body) {
            Ok(mut text) => {
                text.push(b'\n');
                Self {
                    status,
                    content_type: "application/json",
                    body: text.into(),
                }
            }
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}
