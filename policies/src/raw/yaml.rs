//! JSON as YAML that reads back as the same JSON, for YAML 1.1 readers too.

use std::fmt::Write as _;

use serde_json::Value;

use crate::yaml::{is_bool, is_null, is_number};

/// The YAML of a value, in the block style of kubectl, with an end of line.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    if let Some(line) = on_one_line(value) {
        text.push_str(&line);
        text.push('\n');
    } else {
        block(value, 0, &mut text);
    }
    text
}

fn block(value: &Value, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (position, (key, value)) in map.iter().enumerate() {
                // The first key of a list's item stands behind its dash.
                if position > 0 || text.is_empty() || text.ends_with('\n') {
                    text.push_str(&pad);
                }
                text.push_str(&scalar(key));
                text.push(':');
                if let Some(line) = on_one_line(value) {
                    text.push(' ');
                    text.push_str(&line);
                    text.push('\n');
                } else {
                    text.push('\n');
                    let deeper = if value.is_array() { indent } else { indent + 2 };
                    block(value, deeper, text);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                text.push_str(&pad);
                text.push_str("- ");
                match on_one_line(item) {
                    Some(line) => {
                        text.push_str(&line);
                        text.push('\n');
                    }
                    // A list directly in a list begins on a line of its own.
                    None if item.is_array() => {
                        text.truncate(text.len() - 1);
                        text.push('\n');
                        block(item, indent + 2, text);
                    }
                    None => block(item, indent + 2, text),
                }
            }
        }
        _ => {}
    }
}

/// What needs no lines of its own.
fn on_one_line(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) if map.is_empty() => Some("{}".to_owned()),
        Value::Array(items) if items.is_empty() => Some("[]".to_owned()),
        Value::Object(_) | Value::Array(_) => None,
        Value::String(text) => Some(scalar(text)),
        other => Some(other.to_string()),
    }
}

/// A text, quoted unless every reader takes it for a text as it stands.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            // YAML's next line, line and paragraph separators would be folded; a byte order mark is no text.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a String does not fail.
                write!(quoted, "\\u{:04x}", u32::from(c)).ok();
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn is_plain(text: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    let inner = |c: char| c.is_ascii_alphanumeric() || "_/.-:@+=~".contains(c);
    // Dates, times and numbers with separators are more than texts to YAML 1.1.
    let numeric = text.starts_with(|c: char| c.is_ascii_digit())
        && !text.chars().all(|c| c.is_ascii_alphanumeric());
    text.starts_with(begins)
        && text.chars().all(inner)
        && !text.ends_with(':')
        && !numeric
        && !is_null(text)
        && !is_bool(text)
        && !matches!(text, "y" | "Y" | "n" | "N")
        && !is_number(text)
}
