//! What a provider may change in headers: every name it may not touch is refused before anything is changed.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::Fault;

/// One change of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Replaces every value.
    Set(HeaderName, HeaderValue),
    /// Adds a value.
    Append(HeaderName, HeaderValue),
    /// Sets the header unless it is there.
    AddIfAbsent(HeaderName, HeaderValue),
    /// Replaces every value if the header is there.
    SetIfPresent(HeaderName, HeaderValue),
    /// Takes every value away.
    Remove(HeaderName),
}

impl HeaderChange {
    /// Makes the change.
    pub fn apply(&self, headers: &mut HeaderMap) {
        match self {
            Self::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            Self::Append(name, value) => {
                headers.append(name, value.clone());
            }
            Self::AddIfAbsent(name, value) => {
                if !headers.contains_key(name) {
                    headers.insert(name, value.clone());
                }
            }
            Self::SetIfPresent(name, value) => {
                if headers.contains_key(name) {
                    headers.insert(name, value.clone());
                }
            }
            Self::Remove(name) => {
                headers.remove(name);
            }
        }
    }

    /// Makes all changes, in order.
    pub fn apply_all(changes: &[Self], headers: &mut HeaderMap) {
        for change in changes {
            change.apply(headers);
        }
    }

    /// The header with its value, where the change brings one.
    pub(crate) fn into_pair(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Set(name, value)
            | Self::Append(name, value)
            | Self::AddIfAbsent(name, value)
            | Self::SetIfPresent(name, value) => Some((name, value)),
            Self::Remove(_) => None,
        }
    }

    /// The header that is changed.
    pub const fn name(&self) -> &HeaderName {
        match self {
            Self::Set(name, _)
            | Self::Append(name, _)
            | Self::AddIfAbsent(name, _)
            | Self::SetIfPresent(name, _)
            | Self::Remove(name) => name,
        }
    }
}

/// Headers that say where a message ends or how the connection goes on: no provider changes them.
static FRAMING: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a header belongs to the framing of one message or connection.
pub(super) fn is_framing(name: &HeaderName) -> bool {
    FRAMING.contains(name)
}

/// A header that a gRPC provider names; the method, the path and the authority were judged and stay as they are.
pub(super) fn changeable(name: &str) -> Result<HeaderName, Fault> {
    if name.starts_with(':') {
        return Err(Fault::invalid(format_args!("it may not change `{name}`")));
    }
    let bytes = name.as_bytes();
    let name = HeaderName::from_bytes(bytes)
        .map_err(|_| Fault::invalid("it names a header that cannot be one"))?;
    if name == header::HOST || is_framing(&name) {
        return Err(Fault::invalid(format_args!("it may not change `{name}`")));
    }
    Ok(name)
}

/// Adds a value that replaces what the other side sent, but not what the provider itself said before.
pub(super) fn set(changes: &mut Vec<HeaderChange>, name: HeaderName, value: HeaderValue) {
    let again = changes
        .iter()
        .any(|change| matches!(change, HeaderChange::Set(known, _) if *known == name));
    changes.push(if again {
        HeaderChange::Append(name, value)
    } else {
        HeaderChange::Set(name, value)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn each_change_does_what_it_says() {
        let name = || HeaderName::from_static("x-user");
        let value = || HeaderValue::from_static("new");
        for (change, before, after) in [
            (
                HeaderChange::Set(name(), value()),
                &["a", "b"][..],
                &["new"][..],
            ),
            (HeaderChange::Append(name(), value()), &["a"], &["a", "new"]),
            (HeaderChange::AddIfAbsent(name(), value()), &["a"], &["a"]),
            (HeaderChange::AddIfAbsent(name(), value()), &[], &["new"]),
            (
                HeaderChange::SetIfPresent(name(), value()),
                &["a"],
                &["new"],
            ),
            (HeaderChange::SetIfPresent(name(), value()), &[], &[]),
            (HeaderChange::Remove(name()), &["a", "b"], &[]),
        ] {
            let mut map = headers(&before.iter().map(|v| ("x-user", *v)).collect::<Vec<_>>());
            change.apply(&mut map);
            let left: Vec<_> = map.get_all("x-user").iter().collect();
            assert_eq!(left, after, "{change:?} {before:?}");
        }
    }

    #[test]
    fn what_was_judged_and_framing_stay() {
        for name in [
            ":path",
            ":authority",
            "Host",
            "content-length",
            "Transfer-Encoding",
            "a b",
            "",
        ] {
            assert!(changeable(name).is_err(), "{name}");
        }
        assert_eq!(changeable("X-User").unwrap(), "x-user");
    }

    #[test]
    fn two_values_of_one_answer_stand_together() {
        let mut changes = Vec::new();
        for value in ["a", "b"] {
            let name = HeaderName::from_static("set-cookie");
            set(&mut changes, name, HeaderValue::from_static(value));
        }
        let mut map = headers(&[("set-cookie", "old")]);
        HeaderChange::apply_all(&changes, &mut map);
        let left: Vec<_> = map.get_all("set-cookie").iter().collect();
        assert_eq!(left, ["a", "b"]);
    }
}
