//! Istio's `StringMatch`.

use crate::decode::{Cursor, Decode, RegexText};
use crate::diagnostic::codes;

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

/// What is compared, as far as it decides what may be empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// A path: the empty prefix matches everything.
    Path,
    /// Scheme, method, authority.
    Text,
    /// A header or a query parameter: `{}` asks for its presence.
    Value,
    /// An origin: never empty.
    Origin,
}

impl StringMatch {
    fn decode_with(cursor: &Cursor<'_>, subject: Subject) -> Option<Self> {
        cursor.fields(|f| {
            let exact = f.optional("exact").map(Self::Exact);
            let prefix = f.optional("prefix").map(Self::Prefix);
            let regex = f
                .optional::<RegexOrStar>("regex")
                .map(|RegexOrStar(found)| found);
            if !f.exclusive(&["exact", "prefix", "regex"]) {
                return None;
            }
            let found = exact.or(prefix).or(regex);
            let empty = match &found {
                Some(Self::Prefix(text)) => text.is_empty() && subject != Subject::Path,
                Some(Self::Exact(text)) => text.is_empty() && subject == Subject::Origin,
                _ => false,
            };
            if empty {
                let message = "the text to compare with is empty";
                f.cursor().error(codes::INVALID_VALUE, message, None);
                return None;
            }
            if found.is_none() && subject == Subject::Value {
                return Some(Self::Present);
            }
            if found.is_none() {
                f.any_of(&["exact", "prefix", "regex"]);
            }
            found
        })
    }
}

impl Decode for StringMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        Self::decode_with(cursor, Subject::Text)
    }
}

macro_rules! matches_of {
    ($($(#[$doc:meta])* $name:ident = $subject:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub(crate) struct $name(pub(crate) StringMatch);

            impl Decode for $name {
                fn decode(cursor: &Cursor<'_>) -> Option<Self> {
                    StringMatch::decode_with(cursor, $subject).map(Self)
                }
            }
        )*
    };
}

matches_of! {
    /// A match on a path.
    PathMatch = Subject::Path;
    /// A match on a header or query parameter.
    ValueMatch = Subject::Value;
    /// A match on an origin.
    OriginMatch = Subject::Origin;
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
