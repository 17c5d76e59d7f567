//! Names that documents are made of: DNS labels, hosts, label keys and values, header names, URLs, Unix sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Cursor, Decode, Fields, is_host_name};
use crate::diagnostic::{Diagnostic, codes};
use crate::yaml::shortened;

/// Longest part of a label's key or value, and longest DNS label, in bytes.
const MAX_NAME: usize = 63;
/// Longest prefix of a label's key, in bytes.
const MAX_PREFIX: usize = 253;

/// An RFC 1123 label as Istio reads it: letters of either case, digits, hyphens inside.
pub(crate) fn is_dns_label(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether the last label is only digits, which no domain is: usually a mistyped IP address.
pub(crate) fn ends_in_a_number(host: &str) -> bool {
    host.rsplit('.')
        .next()
        .is_some_and(|label| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()))
}

/// A name of one DNS label: ports, subsets, namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DnsLabel(pub(crate) String);

impl Decode for DnsLabel {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if is_dns_label(text) {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a name of one DNS label",
            Some("use at most 63 letters, digits and inner `-`".to_owned()),
        )
    }
}

/// A host name without wildcard, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostOrIp(pub(crate) String);

impl Decode for HostOrIp {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let name = is_host_name(text) && !ends_in_a_number(text);
        if name || text.parse::<IpAddr>().is_ok() {
            Some(Self(text.to_owned()))
        } else {
            cursor.invalid("a host name or an IP address")
        }
    }
}

/// A label's value: empty, or up to 63 letters, digits, `-`, `_` and `.` between letters or digits.
struct LabelValue(String);

impl Decode for LabelValue {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if text.is_empty() || is_qualified_name(text) {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a label value",
            Some("use at most 63 letters, digits and inner `-`, `_` and `.`".to_owned()),
        )
    }
}

fn is_qualified_name(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= MAX_NAME
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
}

/// `name` or `prefix/name`.
fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= MAX_PREFIX
                && prefix.split('.').all(is_dns_label)
                && is_qualified_name(name)
        }
        None => is_qualified_name(key),
    }
}

/// Labels of Kubernetes' syntax, by key.
pub(crate) fn labels(f: &mut Fields<'_>, name: &'static str) -> BTreeMap<String, String> {
    let entries = f
        .get(name)
        .and_then(|cursor| cursor.entries())
        .unwrap_or_default();
    let mut labels = BTreeMap::new();
    for (key, cursor) in entries {
        let value = LabelValue::decode(&cursor);
        if !is_label_key(key) {
            let message = format!("`{}` is not a label key", shortened(key));
            let help = "write `name` or `prefix.example.com/name`";
            let at = cursor.key_at();
            let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &cursor.path, message);
            f.report(diagnostic.with_help(help));
        } else if let Some(LabelValue(value)) = value {
            labels.insert(key.to_owned(), value);
        }
    }
    labels
}

/// What is wrong with the path behind `unix://`, if anything is: it is absolute and a file, or abstract (`@…`).
pub(crate) fn unix_path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("the path is empty")
    } else if path.starts_with('@') {
        None
    } else if !path.starts_with('/') {
        Some("the path is relative")
    } else if path.ends_with('/') {
        Some("the path is a directory")
    } else {
        None
    }
}

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

/// A reference to a service as extension providers have it: `[<namespace>/]<host>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceText(pub(crate) String);

impl Decode for ServiceText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let (namespace, host) = text
            .split_once('/')
            .map_or((None, text), |(namespace, host)| (Some(namespace), host));
        let good_host = is_host_name(host) || host.parse::<IpAddr>().is_ok();
        if good_host && namespace.is_none_or(is_label) {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a service",
            Some("write `[<namespace>/]<host>` without a port, as in `foo/my-service.foo.svc.cluster.local`".to_owned()),
        )
    }
}

/// An RFC 1123 label: what a namespace or a port is called.
pub(crate) fn is_label(text: &str) -> bool {
    is_host_name(text) && !text.contains(|c: char| c == '.' || c == '_' || c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels() {
        for good in ["a", "http-1", "A9", &"x".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a_b", "@", &"x".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
    }

    #[test]
    fn label_keys_and_values() {
        for good in ["app", "a.b_c-d", "topology.istio.io/network", "9"] {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "/a", "a/", ".", "-a", "a b", "a/b/c", "*", "a..b/c"] {
            assert!(!is_label_key(bad), "{bad}");
        }
        assert!(!is_qualified_name("~"));
        assert!(is_qualified_name("v1.2_rc-1"));
    }

    #[test]
    fn unix_paths() {
        for good in ["/run/app.sock", "@abstract"] {
            assert_eq!(unix_path_problem(good), None, "{good}");
        }
        for bad in ["", "app.sock", "./app.sock", "/run/"] {
            assert!(unix_path_problem(bad).is_some(), "{bad}");
        }
    }
}
