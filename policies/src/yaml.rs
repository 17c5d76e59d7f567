//! A YAML tree with positions, read within budgets.

mod anchors;
mod builder;
mod characters;
mod chunks;
mod comments;
mod extents;
mod parse;

pub(crate) use crate::source::Position;
pub(crate) use chunks::count;
pub(crate) use extents::extents;
pub(crate) use parse::documents;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) position: Position,
    /// The first position behind it: its last character, quote or bracket, no comment and no line break.
    pub(crate) end: Position,
}

impl Position {
    /// The beginning of a text.
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// A YAML value; plain scalars keep their text until the schema says what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A scalar.
    Scalar {
        /// The text after unescaping.
        text: String,
        /// Quoted, block, or tagged as a string: never anything else than a string.
        quoted: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the text; keys are unique.
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    /// The first position behind the key, before its colon.
    pub(crate) end: Position,
    pub(crate) value: Node,
}

impl Node {
    /// `null`, `~` or nothing at all.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if is_null(text))
    }

    /// What it is, in the words of an error message.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar { text, quoted: true } => format!("the text `{}`", shortened(text)),
            Value::Scalar { text, .. } if is_null(text) => "nothing".to_owned(),
            Value::Scalar { text, .. } if is_bool(text) => format!("the boolean `{text}`"),
            Value::Scalar { text, .. } if is_number(text) => {
                format!("the number `{}`", shortened(text))
            }
            Value::Scalar { text, .. } => format!("the text `{}`", shortened(text)),
        }
    }
}

/// Whether a plain scalar is null (YAML 1.2 core schema).
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether a plain scalar is a boolean for any YAML reader: YAML 1.1 also takes `yes`, `no`, `on`, `off`, `y` and `n`.
pub(crate) fn is_bool(text: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether a plain scalar is a number (YAML 1.2 core schema, and YAML 1.1's separators left out).
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x") {
        return !hex.is_empty() && hex.chars().all(|c| c.is_ascii_hexdigit());
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return !octal.is_empty() && octal.chars().all(|c| ('0'..='7').contains(&c));
    }
    if digits.eq_ignore_ascii_case(".inf") || digits.eq_ignore_ascii_case(".nan") {
        return true;
    }
    // Rust's grammar of floats beyond "inf" and "nan" is that of YAML.
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

/// At most 60 characters of somebody's text, control characters escaped, for a message.
pub(crate) fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(escaped).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, escape) = if c.is_control() {
        (None, Some(c.escape_default()))
    } else {
        (Some(c), None)
    };
    plain.into_iter().chain(escape.into_iter().flatten())
}
