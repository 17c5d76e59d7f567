//! What a provider may change in the query of a request.

use std::fmt::Write as _;

/// One change of a query parameter; names and values are not encoded here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryChange {
    /// The parameter has this value and no other.
    Set(String, String),
    /// The parameter is gone.
    Remove(String),
}

impl QueryChange {
    /// The query after the changes, in order; none if nothing is left. What is not changed stays byte for byte.
    pub fn apply_all(changes: &[Self], query: Option<&str>) -> Option<String> {
        let query = query.unwrap_or_default();
        let mut parts: Vec<String> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        for change in changes {
            let (Self::Set(name, _) | Self::Remove(name)) = change;
            parts.retain(|part| {
                decoded(part.split('=').next().unwrap_or_default()) != name.as_bytes()
            });
            if let Self::Set(name, value) = change {
                parts.push(format!("{}={}", encoded(name), encoded(value)));
            }
        }
        (!parts.is_empty()).then(|| parts.join("&"))
    }
}

/// `%XX` and `+` undone, as an application reads a name.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.split_at_checked(2).and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        match (first, escaped) {
            (b'%', Some((byte, after))) => {
                out.push(byte);
                rest = after;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        rest = tail;
    }
    out
}

/// Everything but unreserved characters escaped (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_set_and_removed_and_the_rest_stays() {
        let set = |name: &str, value: &str| QueryChange::Set(name.to_owned(), value.to_owned());
        let remove = |name: &str| QueryChange::Remove(name.to_owned());
        for (changes, before, after) in [
            (vec![], Some("a=1&b=%2F"), Some("a=1&b=%2F")),
            (vec![set("u", "a b&c")], None, Some("u=a%20b%26c")),
            (
                vec![set("a", "2")],
                Some("a=1&b=%2F&a=3"),
                Some("b=%2F&a=2"),
            ),
            (vec![remove("a")], Some("a=1"), None),
            (
                vec![remove("a b")],
                Some("a%20b=1&a+b=2&ab=3"),
                Some("ab=3"),
            ),
            (
                vec![remove("a"), set("a", "1")],
                Some("%61=0&&c"),
                Some("c&a=1"),
            ),
        ] {
            let got = QueryChange::apply_all(&changes, before);
            assert_eq!(got.as_deref(), after, "{changes:?} {before:?}");
        }
    }
}
