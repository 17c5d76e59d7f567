//! The part of Envoy's format strings that header values may use: `%REQ(x?y):8%`, `%RESP(x)%`, `%PROTOCOL%`,
//! `%DOWNSTREAM_REMOTE_ADDRESS%`, `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`, and `%%` for a percent sign.

use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use super::HeaderFacts;

/// A header's value: the same for every request, or made for each.
#[derive(Clone, Debug)]
pub enum HeaderText {
    /// The same for every request.
    Fixed(HeaderValue),
    /// Made for each.
    Made(Format),
}

/// A format string.
#[derive(Clone, Debug)]
pub struct Format {
    written: Box<str>,
    pieces: Box<[Piece]>,
}

/// Why a text is no header value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// A single `%`.
    #[error("a `%` without its partner")]
    Unclosed,
    /// A command that is not of the subset.
    #[error("`%{0}%` is not supported")]
    Unknown(String),
    /// A header name inside of `REQ` or `RESP` that is none.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// Bytes that no header may have.
    #[error("the text has characters that no header may have")]
    Text,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<[u8]>),
    Field {
        of: Message,
        first: Field,
        otherwise: Option<Field>,
        at_most: usize,
    },
    Protocol,
    RemoteAddress,
    RemoteIp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

#[derive(Clone, Debug)]
enum Field {
    Header(HeaderName),
    Method,
    Path,
    Authority,
    Scheme,
}

impl HeaderText {
    /// Reads a value as documents write it.
    ///
    /// # Errors
    /// The text is neither plain nor a format string of the subset.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let pieces = pieces(text)?;
        if let [] | [Piece::Text(_)] = pieces.as_slice() {
            let bytes = match pieces.first() {
                Some(Piece::Text(bytes)) => bytes,
                _ => &Box::default(),
            };
            let value = HeaderValue::from_bytes(bytes).map_err(|_| FormatError::Text)?;
            return Ok(Self::Fixed(value));
        }
        Ok(Self::Made(Format {
            written: text.into(),
            pieces: pieces.into(),
        }))
    }

    /// Whether the response is looked at.
    pub fn reads_response(&self) -> bool {
        let Self::Made(format) = self else {
            return false;
        };
        let response =
            |piece: &Piece| matches!(piece, Piece::Field { of, .. } if *of == Message::Response);
        format.pieces.iter().any(response)
    }
}

impl Format {
    /// As it was written.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The value for one request; none if it comes out empty, or as no header value. What is missing is empty.
    pub(super) fn make(
        &self,
        facts: &HeaderFacts<'_>,
        request: &HeaderMap,
        response: Option<&HeaderMap>,
    ) -> Option<HeaderValue> {
        let mut value = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => value.extend_from_slice(text),
                Piece::Protocol => value.extend_from_slice(protocol(facts.version)),
                Piece::RemoteAddress => append(&mut value, facts.remote),
                Piece::RemoteIp => append(&mut value, facts.remote.ip()),
                Piece::Field {
                    of,
                    first,
                    otherwise,
                    at_most,
                } => {
                    let headers = match of {
                        Message::Request => Some(request),
                        Message::Response => response,
                    };
                    let read = |field: &Field| field.read(*of, facts, headers?);
                    let found = read(first).or_else(|| read(otherwise.as_ref()?));
                    if let Some(found) = found {
                        let end = found.len().min(*at_most);
                        value.extend_from_slice(found.get(..end).unwrap_or_default());
                    }
                }
            }
        }
        if value.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(&value).ok()
    }
}

impl Field {
    fn parse(name: &str) -> Result<Self, FormatError> {
        Ok(match name {
            ":method" | ":METHOD" => Self::Method,
            ":path" | ":PATH" => Self::Path,
            ":authority" | ":AUTHORITY" => Self::Authority,
            ":scheme" | ":SCHEME" => Self::Scheme,
            name => Self::Header(
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_| FormatError::Name(name.to_owned()))?,
            ),
        })
    }

    fn read<'a>(
        &self,
        of: Message,
        facts: &HeaderFacts<'a>,
        headers: &'a HeaderMap,
    ) -> Option<&'a [u8]> {
        let pseudo = |text: &'a str| (of == Message::Request).then_some(text.as_bytes());
        match self {
            Self::Header(name) => headers.get(name).map(HeaderValue::as_bytes),
            Self::Method => pseudo(facts.method),
            Self::Path => pseudo(facts.target),
            Self::Authority => pseudo(facts.host),
            Self::Scheme => pseudo(facts.scheme),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut plain: Vec<u8> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.extend_from_slice(before.as_bytes());
        if let Some(after) = after.strip_prefix('%') {
            plain.push(b'%');
            rest = after;
            continue;
        }
        let (command, after) = after.split_once('%').ok_or(FormatError::Unclosed)?;
        if !plain.is_empty() {
            pieces.push(literal(std::mem::take(&mut plain))?);
        }
        pieces.push(piece(command)?);
        rest = after;
    }
    plain.extend_from_slice(rest.as_bytes());
    if !plain.is_empty() {
        pieces.push(literal(plain)?);
    }
    Ok(pieces)
}

fn literal(text: Vec<u8>) -> Result<Piece, FormatError> {
    if HeaderValue::from_bytes(&text).is_err() {
        return Err(FormatError::Text);
    }
    Ok(Piece::Text(text.into()))
}

fn piece(command: &str) -> Result<Piece, FormatError> {
    let unknown = || FormatError::Unknown(command.to_owned());
    match command {
        "PROTOCOL" => return Ok(Piece::Protocol),
        "DOWNSTREAM_REMOTE_ADDRESS" => return Ok(Piece::RemoteAddress),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => return Ok(Piece::RemoteIp),
        _ => {}
    }
    let (name, rest) = command.split_once('(').ok_or_else(unknown)?;
    let of = match name {
        "REQ" => Message::Request,
        "RESP" => Message::Response,
        _ => return Err(unknown()),
    };
    let (names, rest) = rest.split_once(')').ok_or_else(unknown)?;
    let at_most = match rest.strip_prefix(':') {
        Some(length) => length.parse().map_err(|_| unknown())?,
        None if rest.is_empty() => usize::MAX,
        None => return Err(unknown()),
    };
    let (first, otherwise) = match names.split_once('?') {
        Some((first, otherwise)) => (first, Some(otherwise)),
        None => (names, None),
    };
    Ok(Piece::Field {
        of,
        first: Field::parse(first)?,
        otherwise: otherwise.map(Field::parse).transpose()?,
        at_most,
    })
}

fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2",
        _ => b"HTTP/1.1",
    }
}

fn append(value: &mut Vec<u8>, shown: impl std::fmt::Display) {
    value.extend_from_slice(shown.to_string().as_bytes());
}
