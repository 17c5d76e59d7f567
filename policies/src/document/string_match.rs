//! Istio's `StringMatch`.

use crate::decode::{Cursor, Decode, RegexText};

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// The same text.
    Exact(String),
    /// A plain string prefix, not by path segment.
    Prefix(String),
    /// RE2 syntax over the whole text; compiled once at load, so known to be good.
    Regex(String),
    /// `{}`: there at all (headers and query parameters).
    Present,
}

impl StringMatch {
    fn decode_with(cursor: &Cursor<'_>, presence: Presence) -> Option<Self> {
        cursor.fields(|f| {
            let exact = f.optional("exact").map(Self::Exact);
            let prefix = f.optional("prefix").map(Self::Prefix);
            let regex = f
                .optional::<RegexOrStar>("regex")
                .map(|RegexOrStar(found)| found);
            if !f.exclusive(&["exact", "prefix", "regex"]) {
                return None;
            }
            match (exact.or(prefix).or(regex), presence) {
                (Some(found), _) => Some(found),
                (None, Presence::Meant) => Some(Self::Present),
                (None, Presence::Refused) => {
                    f.any_of(&["exact", "prefix", "regex"]);
                    None
                }
            }
        })
    }
}

/// Whether `{}` means that the value is there.
#[derive(Clone, Copy)]
enum Presence {
    Meant,
    Refused,
}

impl Decode for StringMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        Self::decode_with(cursor, Presence::Refused)
    }
}

/// A match on a header or query parameter: `{}` asks for its presence.
#[derive(Clone, Debug)]
pub(crate) struct ValueMatch(pub(crate) StringMatch);

impl Decode for ValueMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        StringMatch::decode_with(cursor, Presence::Meant).map(Self)
    }
}

/// Istio reads the regular expression `*`, which is none, as presence.
struct RegexOrStar(StringMatch);

impl Decode for RegexOrStar {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        if cursor.text()? == "*" {
            return Some(Self(StringMatch::Present));
        }
        RegexText::decode(cursor).map(|RegexText(text)| Self(StringMatch::Regex(text)))
    }
}
