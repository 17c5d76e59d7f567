//! Fixes that a program can make: edits of the text, made whole or not at all.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::source::{Lines, Location, Position};

/// A cure for a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, as an order: ``rename to `retries` ``.
    pub title: String,
    /// What changes; all of it or nothing.
    pub edits: Vec<Edit>,
}

/// One replaced stretch of text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edit {
    /// The name of the source text.
    pub file: Arc<str>,
    /// Where the old text starts.
    pub start: Position,
    /// The first position behind it; the start for an insertion.
    pub end: Position,
    /// What stands there instead.
    pub text: String,
}

impl Fix {
    /// A fix of one edit.
    pub fn new(title: impl Into<String>, edit: Edit) -> Self {
        Self {
            title: title.into(),
            edits: vec![edit],
        }
    }

    /// Writes another text where a value stands. Good for the place of a [`Spanned`](crate::document::Spanned) value.
    pub fn replace(title: impl Into<String>, place: &Location, text: impl Into<String>) -> Self {
        Self::new(title, Edit::replace(place, text))
    }
}

impl Edit {
    /// Another text at a place whose end is known.
    pub fn replace(place: &Location, text: impl Into<String>) -> Self {
        Self {
            file: Arc::clone(&place.file),
            start: place.start(),
            end: place.end,
            text: text.into(),
        }
    }
}

/// Makes the fixes of one text, in the given order, and counts those that were left out: a fix whose edits overlap
/// those of an earlier one, or do not lie in the text. A fix that says what an earlier one says counts as made.
///
/// The result is text, not yet a good document set: load it again.
pub fn apply(text: &str, fixes: &[Fix]) -> (String, usize) {
    let lines = Lines::new(text);
    let mut accepted = Accepted::default();
    let skipped = fixes
        .iter()
        .filter(|fix| accepted.take(fix, &lines).is_none())
        .count();
    let mut fixed = String::with_capacity(text.len());
    let mut copied = 0;
    for (start, (end, replacement)) in accepted.0 {
        fixed.push_str(text.get(copied..start).unwrap_or_default());
        fixed.push_str(replacement);
        copied = end;
    }
    fixed.push_str(text.get(copied..).unwrap_or_default());
    (fixed, skipped)
}

/// Edits that do not touch each other: end and text by start. Two insertions at one place have no order, so a start is
/// taken once.
#[derive(Debug, Default)]
struct Accepted<'a>(BTreeMap<usize, (usize, &'a str)>);

impl<'a> Accepted<'a> {
    fn take(&mut self, fix: &'a Fix, lines: &Lines<'_>) -> Option<()> {
        let mut own = Vec::with_capacity(fix.edits.len());
        let taken = !fix.edits.is_empty()
            && fix.edits.iter().all(|edit| {
                let Some(range) = lines.range(edit.start, edit.end) else {
                    return false;
                };
                if self.0.get(&range.start) == Some(&(range.end, edit.text.as_str())) {
                    return true;
                }
                let free = self.is_free(&range);
                if free {
                    own.push(range.start);
                    self.0.insert(range.start, (range.end, &edit.text));
                }
                free
            });
        if !taken {
            for start in own {
                self.0.remove(&start);
            }
        }
        taken.then_some(())
    }

    fn is_free(&self, range: &Range<usize>) -> bool {
        let before = self.0.range(..=range.start).next_back();
        let behind = self.0.range(range.start..).next();
        before.is_none_or(|(start, (end, _))| *end <= range.start && *start < range.start)
            && behind.is_none_or(|(start, _)| *start >= range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(start: (u32, u32), end: (u32, u32), text: &str) -> Edit {
        let at = |(line, column)| Position { line, column };
        Edit {
            file: "a.yaml".into(),
            start: at(start),
            end: at(end),
            text: text.to_owned(),
        }
    }

    fn fix(edits: &[Edit]) -> Fix {
        Fix {
            title: "test".to_owned(),
            edits: edits.to_vec(),
        }
    }

    #[test]
    fn edits_are_made_in_any_order_and_keep_the_rest() {
        let fixes = [
            fix(&[edit((2, 1), (2, 2), "B")]),
            fix(&[edit((1, 1), (1, 2), "A"), edit((1, 7), (1, 7), "!")]),
        ];
        let (fixed, skipped) = apply("ä: 1 #\r\nb: 2", &fixes);
        assert_eq!((fixed.as_str(), skipped), ("A: 1 #!\r\nB: 2", 0));
    }

    #[test]
    fn what_overlaps_or_lies_outside_is_left_out_whole() {
        let fixes = [
            fix(&[edit((1, 1), (1, 3), "x")]),
            fix(&[edit((1, 2), (1, 4), "y"), edit((1, 5), (1, 6), "z")]),
            fix(&[edit((9, 1), (9, 2), "w")]),
            fix(&[]),
        ];
        assert_eq!(apply("abcdef", &fixes), ("xcdef".to_owned(), 3));
        let twice = [
            fix(&[edit((1, 1), (1, 1), "x")]),
            fix(&[edit((1, 1), (1, 2), "y")]),
        ];
        assert_eq!(apply("abc", &twice), ("xabc".to_owned(), 1));
    }

    #[test]
    fn the_same_fix_twice_is_made_once() {
        let same = fix(&[edit((1, 1), (1, 2), "x")]);
        assert_eq!(apply("abc", &[same.clone(), same]), ("xbc".to_owned(), 0));
    }
}
