//! Fixes at a place in a document: another value, another key, nothing at all.

use std::ops::Range;
use std::sync::Arc;

use super::{Context, Cursor};
use crate::diagnostic::{Edit, Fix};
use crate::source::Position;
use crate::yaml::{Entry, Value};

impl Cursor<'_> {
    /// Another text where the value stands.
    pub(crate) fn fix_value(&self, title: impl Into<String>, text: impl Into<String>) -> Fix {
        let Self { context, node, .. } = self;
        Fix::new(title, context.edit(node.position, node.end, text))
    }

    /// Another name for the field.
    pub(crate) fn fix_key(&self, title: impl Into<String>, name: impl Into<String>) -> Fix {
        Fix::new(title, self.context.edit(self.key, self.key_end, name))
    }

    /// Another field with another value.
    pub(crate) fn fix_entry(&self, title: impl Into<String>, text: impl Into<String>) -> Fix {
        let Self { context, node, .. } = self;
        Fix::new(title, context.edit(self.key, node.end, text))
    }

    /// No such field: its lines go, or its part of a line; a comment behind it goes with it.
    pub(crate) fn fix_remove(&self, title: impl Into<String>) -> Option<Fix> {
        let edit = self.context.removal(self.key, self.node.end)?;
        Some(Fix::new(title, edit))
    }

    /// The text before a comment that starts with `//` in a plain value, and the whole value with `#` instead.
    pub(super) fn fix_slash_comment(&self) -> Option<Fix> {
        let Value::Scalar {
            text,
            quoted: false,
        } = &self.node.value
        else {
            return None;
        };
        let (value, comment) = text.split_once(" //")?;
        // A value of several lines would swallow the lines behind the comment.
        let one_line = self.node.position.line == self.node.end.line;
        one_line.then(|| self.fix_value("write `#` instead of `//`", format!("{value} #{comment}")))
    }
}

impl Context<'_> {
    /// An edit of this file.
    pub(crate) fn edit(&self, start: Position, end: Position, text: impl Into<String>) -> Edit {
        Edit {
            file: Arc::clone(self.file),
            start,
            end,
            text: text.into(),
        }
    }

    /// The edit that renames a key.
    pub(super) fn rename(&self, entry: &Entry, name: &str) -> Edit {
        self.edit(entry.position, entry.end, name)
    }

    /// The edit that takes an entry away.
    pub(super) fn removal(&self, start: Position, end: Position) -> Option<Edit> {
        let lines = self.lines();
        let range = widened(lines.text(), lines.range(start, end)?);
        let (start, end) = (lines.position(range.start), lines.position(range.end));
        Some(self.edit(start, end, ""))
    }
}

/// What to take away with an entry so that the rest is still YAML: its whole lines, the comma beside it, or what stands
/// between it and the next key of a list's element.
fn widened(text: &str, entry: Range<usize>) -> Range<usize> {
    let before = text.get(..entry.start).unwrap_or_default();
    let behind = text.get(entry.end..).unwrap_or_default();
    let blank = |c: char| c == ' ' || c == '\t';
    let line = before.rfind(['\n', '\r']).map_or(0, |at| at + 1);
    let indent = text.get(line..entry.start).unwrap_or_default();

    let after = behind.trim_start_matches(blank);
    if let Some(next) = after.strip_prefix(',') {
        return entry.start..text.len() - next.trim_start_matches(blank).len();
    }
    if let Some(rest) = before.trim_end().strip_suffix(',') {
        return rest.len()..entry.end;
    }
    let rest_of_line = after.find(['\n', '\r']).unwrap_or(after.len());
    let (tail, next_line) = after.split_at_checked(rest_of_line).unwrap_or((after, ""));
    if !(tail.is_empty() || tail.starts_with('#')) {
        return entry;
    }
    let next_line = next_line
        .strip_prefix("\r\n")
        .or_else(|| next_line.strip_prefix(['\n', '\r']))
        .unwrap_or(next_line);
    let next = text.len() - next_line.len();
    if indent.chars().all(|c| c == ' ') {
        return line..next;
    }
    // Behind a dash: the next key of the same element moves up.
    let width = indent.chars().count();
    let spaces = next_line.chars().take_while(|c| *c == ' ').count();
    let key = next_line.get(spaces..).unwrap_or_default();
    let sibling = spaces == width && !key.starts_with(['#', '-', '\n', '\r']) && !key.is_empty();
    if sibling && indent.trim_start_matches([' ', '-']).is_empty() {
        return entry.start..next + spaces;
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str, entry: &str) -> String {
        let start = text.find(entry).unwrap();
        let range = widened(text, start..start + entry.len());
        format!(
            "{}{}",
            text.get(..range.start).unwrap(),
            text.get(range.end..).unwrap()
        )
    }

    #[test]
    fn what_is_left_is_still_yaml() {
        for (text, entry, left) in [
            ("a: 1\nb: 2 # why\nc: 3\n", "b: 2", "a: 1\nc: 3\n"),
            (
                "a:\n  b: 1\n  c:\n    d: 2\n",
                "c:\n    d: 2",
                "a:\n  b: 1\n",
            ),
            ("x: {a: 1, b: 2, c: 3}\n", "b: 2", "x: {a: 1, c: 3}\n"),
            ("x: {a: 1, b: 2}\n", "b: 2", "x: {a: 1}\n"),
            ("x: {a: 1}\n", "a: 1", "x: {}\n"),
            ("- a: 1\n  b: 2\n", "a: 1", "- b: 2\n"),
            ("- a: 1\r\n  b: 2\r\n", "a: 1", "- b: 2\r\n"),
            ("- a: 1\n- b: 2\n", "a: 1", "- \n- b: 2\n"),
            ("a: 1\nb: 2", "b: 2", "a: 1\n"),
        ] {
            assert_eq!(without(text, entry), left, "{text:?} without {entry:?}");
        }
    }
}
