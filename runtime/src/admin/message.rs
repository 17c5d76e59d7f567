//! What a page of the admin port receives and answers.

use std::sync::Arc;
use std::{fmt, io};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;

/// A request whose head and body were read whole.
#[derive(Clone, Debug)]
pub struct AdminRequest {
    /// GET, HEAD, POST, PUT or DELETE.
    pub method: Method,
    /// The path without query.
    pub path: String,
    /// The query without `?`.
    pub query: Option<String>,
    /// The body, bounded.
    pub body: Bytes,
}

/// What an answer consists of.
#[derive(Clone)]
pub enum AdminBody {
    /// All of it.
    Whole(Bytes),
    /// What this writes, piece by piece: for pages that would be a burden in memory.
    Streamed(Arc<Writing>),
}

/// Writes a page. It runs on a thread of its own and is held up while the client reads slowly.
pub type Writing = dyn Fn(&mut dyn io::Write) -> io::Result<()> + Send + Sync;

impl fmt::Debug for AdminBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Self::Streamed(_) => f.write_str("Streamed"),
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct AdminResponse {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: AdminBody,
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
            body: AdminBody::Whole(body.into()),
        }
    }

    /// JSON, indented for people, written piece by piece: lists that are made while they are written need no room.
    pub fn json_stream(page: impl Serialize + Send + Sync + 'static) -> Self {
        let writing = move |to: &mut dyn io::Write| {
            serde_json::to_writer_pretty(&mut *to, &page)?;
            to.write_all(b"\n")
        };
        Self {
            status: StatusCode::OK,
            content_type: "application/json",
            body: AdminBody::Streamed(Arc::new(writing)),
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
                    body: AdminBody::Whole(text.into()),
                }
            }
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}
