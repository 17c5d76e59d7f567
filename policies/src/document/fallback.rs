//! Fallback (`portcullis.dev`): what is answered where a service fails.

use http::HeaderValue;

use super::{Destination, Meta, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields, HostText, Standing};
use crate::diagnostic::codes;

/// Largest body of a response, in bytes.
const MAX_BODY: usize = 1 << 20;

/// What is answered instead of a failure of a service.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// What it is called.
    pub meta: Meta,
    /// `spec.host`: the service that fails, as written.
    pub host: Spanned<String>,
    /// `spec.when`: the failures that it is about, at least one.
    pub when: Vec<FallbackWhen>,
    /// `spec.response` or `spec.destination`.
    pub answer: FallbackAnswer,
}

/// A failure of a service, as its callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallbackWhen {
    /// `overflow`: a limit of requests or connections was reached, and nothing was sent.
    Overflow,
    /// `noHealthyUpstream`: no endpoint is there, or every one is ejected.
    NoHealthyUpstream,
    /// `timeout`: no answer began in time.
    Timeout,
    /// `connectFailure`: no connection came about.
    ConnectFailure,
    /// `5xx`: any answer of 500 to 599, of the service or in place of one; so all of the others too.
    ServerError,
}

impl FallbackWhen {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::NoHealthyUpstream => "noHealthyUpstream",
            Self::Timeout => "timeout",
            Self::ConnectFailure => "connectFailure",
            Self::ServerError => "5xx",
        }
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum FallbackAnswer {
    /// `response`: always the same.
    Response(FallbackResponse),
    /// `destination`: what another service or subset says.
    Destination(Box<Destination>),
}

/// `response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackResponse {
    /// `status`, 200 to 599; default 200.
    pub status: u16,
    /// `body`, at most 1 MiB; default empty.
    pub body: String,
    /// `contentType`, default `text/plain`.
    pub content_type: HeaderValue,
}

impl Document for Fallback {
    const STANDING: Standing = Standing::InForce;

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let host = f.required::<Spanned<HostText>>("host");
        let when = f.non_empty("when");
        let response = f.optional::<FallbackResponse>("response");
        let destination = f.optional::<Destination>("destination");
        f.exclusive(&["response", "destination"]);
        f.any_of(&["response", "destination"]);
        let response = response.map(FallbackAnswer::Response);
        let destination = destination.map(|to| FallbackAnswer::Destination(Box::new(to)));
        Some(Self {
            meta,
            host: host?.map(|HostText(text)| text),
            when: when?,
            answer: response.or(destination)?,
        })
    }
}

impl Decode for FallbackWhen {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let names = [
            Self::Overflow,
            Self::NoHealthyUpstream,
            Self::Timeout,
            Self::ConnectFailure,
            Self::ServerError,
        ];
        cursor.one_of(&names.map(|when| (when.as_str(), when)))
    }
}

impl Decode for FallbackResponse {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let status = f.optional::<AnswerStatus>("status");
            let body = f.or_default::<String>("body");
            let content_type = f.optional::<ContentType>("contentType");
            let status = status.map_or(200, |AnswerStatus(status)| status);
            if body.len() > MAX_BODY {
                let message = "the body is longer than 1 MiB";
                f.error_at("body", codes::INVALID_VALUE, message, None);
            }
            if matches!(status, 204 | 205 | 304) && !body.is_empty() {
                let message = format!("an answer of status {status} has no body (RFC 9110)");
                f.error_at("body", codes::INVALID_VALUE, message, None);
            }
            Some(Self {
                status,
                body,
                content_type: content_type.map_or_else(
                    || HeaderValue::from_static("text/plain"),
                    |ContentType(value)| value,
                ),
            })
        })
    }
}

/// A status that ends an exchange.
struct AnswerStatus(u16);

impl Decode for AnswerStatus {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u16::try_from(u32::decode(cursor)?) {
            Ok(status @ 200..=599) => Some(Self(status)),
            _ => cursor.invalid("a status from 200 to 599"),
        }
    }
}

struct ContentType(HeaderValue);

impl Decode for ContentType {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        match HeaderValue::from_str(text) {
            Ok(value) if text.contains('/') => Some(Self(value)),
            _ => cursor.invalid("a media type such as `application/json`"),
        }
    }
}
