//! Moves a field that stands beside `http` into its only rule, where it was meant to be.

use super::Cursor;
use crate::diagnostic::Fix;
use crate::yaml::{Entry, Value};

/// Fields of an HTTP rule that people write directly below `spec`.
const FIELDS: &[&str] = &["retries", "timeout", "fault", "corsPolicy", "rewrite"];

/// The move of `entry` into the one rule of `http`, if `http` stands beside it, in block style, and its rule has no such
/// field yet. With several rules nobody knows which one is meant.
pub(super) fn to_the_only_rule(
    mapping: &Cursor<'_>,
    entries: &[Entry],
    entry: &Entry,
) -> Option<Fix> {
    if !FIELDS.contains(&&*entry.key) || mapping.path.to_string() != "spec" {
        return None;
    }
    let Value::Sequence(rules) = &entries
        .iter()
        .find(|entry| &*entry.key == "http")?
        .value
        .value
    else {
        return None;
    };
    let [rule] = rules.as_slice() else {
        return None;
    };
    let Value::Mapping(fields) = &rule.value else {
        return None;
    };
    if fields.is_empty() || fields.iter().any(|field| field.key == entry.key) {
        return None;
    }
    let context = mapping.context;
    let lines = context.lines();
    let inside = |position| {
        let offset = lines.offset(position)?;
        lines.text().get(offset..)?.chars().next()
    };
    // A rule in brackets needs commas instead of lines.
    if inside(rule.position)? == '{' || inside(mapping.node.position)? == '{' {
        return None;
    }
    let removed = context.removal(entry.position, entry.value.end)?;
    let written = lines
        .text()
        .get(lines.range(entry.position, entry.value.end)?)?;
    let width = usize::try_from(rule.position.column).ok()? - 1;
    let old_width = usize::try_from(entry.position.column).ok()? - 1;
    let indent = " ".repeat(width);
    let mut text = String::new();
    for (number, line) in written.lines().enumerate() {
        let own = line.len() - line.trim_start_matches(' ').len();
        if number > 0 {
            text.push_str(&indent);
            text.push_str(&" ".repeat(own.checked_sub(old_width)?));
        }
        text.push_str(line.trim_start_matches(' '));
        text.push('\n');
    }
    text.push_str(&indent);
    let inserted = context.edit(rule.position, rule.position, text);
    Some(Fix {
        title: format!("move `{}` into the rule", entry.key),
        edits: vec![removed, inserted],
    })
}
