//! Texts of a certain form that several kinds share: not empty, header names, URLs, services.

use super::{Cursor, Decode, is_host_name};

/// A text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NonEmpty(pub(crate) String);

impl Decode for NonEmpty {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.text()? {
            "" => cursor.invalid("a value: it is empty"),
            text => Some(Self(text.to_owned())),
        }
    }
}

/// The name of a header, in lower case: what Istio allows of RFC 9110's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderNameText(pub(crate) String);

impl Decode for HeaderNameText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let lawful = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !text.is_empty() && text.bytes().all(lawful) {
            return Some(Self(text.to_ascii_lowercase()));
        }
        let help = "letters, digits, `-` and `_`, as in `x-request-id`";
        cursor.invalid_with("the name of a header", Some(help.to_owned()))
    }
}

/// A URL of scheme `http` or `https` with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl(pub(crate) String);

impl Decode for HttpUrl {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let url = http::Uri::try_from(text).ok();
        let good = url.is_some_and(|url| {
            let authority = url.authority().map_or("", http::uri::Authority::as_str);
            let host = url.host().unwrap_or_default();
            let port = authority.strip_prefix(host).unwrap_or("@");
            let good_port = port
                .strip_prefix(':')
                .map_or(port.is_empty(), |port| port.parse::<u16>().is_ok());
            matches!(url.scheme_str(), Some("http" | "https"))
                && good_port
                && (host.starts_with('[') || is_host_name(host))
        });
        if good {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a URL",
            Some(
                "write `https://` and a host, as in `https://example.com/.well-known/jwks.json`"
                    .to_owned(),
            ),
        )
    }
}

/// An RFC 1123 label: what a namespace or a port is called.
pub(crate) fn is_label(text: &str) -> bool {
    is_host_name(text) && !text.contains(|c: char| c == '.' || c == '_' || c.is_ascii_uppercase())
}
