//! The line that a finding is about, with the line before it, and which part of it is underlined.

use std::ops::Range;

use crate::source::{Lines, Location};

/// A small part of a text: rendering a whole large file per finding would be quadratic.
pub(super) struct Excerpt<'a> {
    pub(super) text: &'a str,
    pub(super) first_line: usize,
    /// What to underline, in bytes of `text`.
    pub(super) marked: Range<usize>,
}

impl<'a> Excerpt<'a> {
    /// `None` if the text has no such line.
    pub(super) fn of(at: &Location, lines: &Lines<'a>) -> Option<Self> {
        let start = lines.offset(at.start())?;
        let line = lines.line(at.line).unwrap_or(start..start);
        let end = match lines.offset(at.end) {
            Some(end) if end > start => end.min(line.end),
            _ => start + word(lines.text().get(start..line.end)?),
        };
        let first = at.line.saturating_sub(1).max(1);
        let begin = lines.start_of(first).min(line.start);
        Some(Self {
            text: lines.text().get(begin..line.end)?,
            first_line: usize::try_from(first).ok()?,
            marked: start - begin..end - begin,
        })
    }
}

/// How long the word is that a text begins with: what to underline if nobody knows better.
fn word(text: &str) -> usize {
    let end = text.find([' ', ',', ']', '}']).filter(|end| *end > 0);
    let word = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    word.trim_end_matches(':').len()
}
