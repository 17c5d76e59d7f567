//! The line that a finding is about, with the line before it, and which part of it is underlined.

use std::borrow::Cow;
use std::ops::Range;

use crate::diagnostic::{is_disguise, is_unseen};
use crate::source::{Lines, Location};

/// How much of one line is shown, in bytes; what stands further right is named by its column only.
const WIDEST: usize = 2_000;

/// A small part of a text: rendering a whole large file per finding would be quadratic.
pub(super) struct Excerpt<'a> {
    pub(super) text: Cow<'a, str>,
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
        // A carriage return that ends the line before would steer the terminal.
        let alone = lines.text().get(..line.start)?.ends_with('\r');
        let first = if alone {
            at.line
        } else {
            at.line.saturating_sub(1).max(1)
        };
        let begin = lines.start_of(first).min(line.start);
        let shown = lines.text().get(begin..line.end)?;
        if start - line.start > WIDEST || line.start - begin > WIDEST {
            return None;
        }
        let cut = shown.floor_char_boundary(line.start - begin + 2 * WIDEST);
        let shown = shown.get(..cut)?;
        let marked = start - begin..(end - begin).min(cut);
        let (text, marked) = visible(shown, marked);
        Some(Self {
            text,
            first_line: usize::try_from(first).ok()?,
            marked,
        })
    }
}

/// Whether a text can be shown as it is.
pub(super) fn is_honest(text: &str) -> bool {
    !text.chars().any(deceives)
}

fn deceives(character: char) -> bool {
    !matches!(character, '\t' | '\r') && (is_disguise(character) || is_unseen(character))
}

/// The text with a visible sign in the place of every character that would steer a terminal or hide.
fn visible(text: &str, marked: Range<usize>) -> (Cow<'_, str>, Range<usize>) {
    if is_honest(text) {
        return (Cow::Borrowed(text), marked);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut moved = marked.clone();
    for (offset, character) in text.char_indices() {
        if offset == marked.start {
            moved.start = shown.len();
        }
        if offset == marked.end {
            moved.end = shown.len();
        }
        shown.push(if deceives(character) {
            '\u{fffd}'
        } else {
            character
        });
    }
    if marked.start >= text.len() {
        moved.start = shown.len();
    }
    if marked.end >= text.len() {
        moved.end = shown.len();
    }
    (Cow::Owned(shown), moved)
}

/// How long the word is that a text begins with: what to underline if nobody knows better.
fn word(text: &str) -> usize {
    let end = text.find([' ', ',', ']', '}']).filter(|end| *end > 0);
    let word = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    word.trim_end_matches(':').len()
}
