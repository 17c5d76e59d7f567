//! `claims`: the payload of a token, written in YAML.

use serde_json::{Map, Number, Value as Json};

use crate::decode::Cursor;
use crate::diagnostic::codes;
use crate::yaml::{Value, is_bool, is_null, is_number};

/// The claims of a token; every value that a JSON object can have.
pub(super) fn claims(cursor: &Cursor<'_>) -> Option<Map<String, Json>> {
    let entries = cursor.entries()?;
    let pairs: Vec<_> = entries
        .iter()
        .filter_map(|(name, cursor)| Some(((*name).to_owned(), value(cursor)?)))
        .collect();
    (pairs.len() == entries.len()).then(|| pairs.into_iter().collect())
}

/// The depth is bounded by the YAML budget.
fn value(cursor: &Cursor<'_>) -> Option<Json> {
    if cursor.is_recording() {
        // Anything may stand here.
        return None;
    }
    match &cursor.node.value {
        Value::Mapping(_) => claims(cursor).map(Json::Object),
        Value::Sequence(items) => {
            let values: Vec<Json> = cursor.items()?.iter().filter_map(value).collect();
            (values.len() == items.len()).then(|| values.into())
        }
        Value::Scalar { text, quoted: true } => Some(text.as_str().into()),
        Value::Scalar { text, .. } if is_null(text) => Some(Json::Null),
        Value::Scalar { text, .. } if is_number(text) => match number(text) {
            Some(number) => Some(number.into()),
            None => ambiguous(cursor, "a number of JSON"),
        },
        Value::Scalar { text, .. } => match text.as_str() {
            "true" | "True" | "TRUE" => Some(true.into()),
            "false" | "False" | "FALSE" => Some(false.into()),
            other if is_bool(other) => ambiguous(cursor, "the same to every YAML reader"),
            other => Some(other.into()),
        },
    }
}

/// A value that one reader takes for a text and the next for something else.
fn ambiguous(cursor: &Cursor<'_>, expected: &str) -> Option<Json> {
    let shown = match &cursor.node.value {
        Value::Scalar { text, .. } => text.as_str(),
        Value::Sequence(_) | Value::Mapping(_) => "",
    };
    cursor.error(
        codes::INVALID_VALUE,
        format!("`{shown}` is not {expected}"),
        Some(format!("write `\"{shown}\"` for a text")),
    );
    None
}

/// A number that reads the same in JSON: no octal, no hexadecimal, no infinity.
fn number(text: &str) -> Option<Number> {
    match serde_json::from_str(text) {
        Ok(Json::Number(number)) => Some(number),
        _ => None,
    }
}
