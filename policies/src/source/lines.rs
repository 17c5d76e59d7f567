//! From positions to bytes: where the lines of a text begin.

use std::borrow::Cow;
use std::ops::Range;

use super::Position;

/// A text with its line starts, so that many positions are found without reading the text again for each.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Cow<'a, [usize]>,
}

impl<'a> Lines<'a> {
    /// Reads the text once.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            starts: Self::starts(text).into(),
        }
    }

    /// The same, with [`starts`](Self::starts) from earlier.
    pub(crate) fn with_starts(text: &'a str, starts: &'a [usize]) -> Self {
        Self {
            text,
            starts: starts.into(),
        }
    }

    /// Where lines begin; they end as YAML's do: with a line feed, a carriage return, or both.
    pub(crate) fn starts(text: &str) -> Vec<usize> {
        // A byte order mark belongs to the encoding and is no column.
        let first = text.len() - text.trim_start_matches('\u{feff}').len();
        let mut starts = vec![first.min('\u{feff}'.len_utf8())];
        let bytes = text.as_bytes();
        for (offset, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' => starts.push(offset + 1),
                b'\r' if bytes.get(offset + 1) != Some(&b'\n') => starts.push(offset + 1),
                _ => {}
            }
        }
        starts
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The bytes of a line from 1, without its break; the line behind the last break is empty.
    pub(crate) fn line(&self, number: u32) -> Option<Range<usize>> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let next = self.starts.get(index + 1).copied();
        let line = self.text.get(start..next.unwrap_or(self.text.len()))?;
        Some(start..start + line.trim_end_matches(['\n', '\r']).len())
    }

    /// The byte where a line begins, or the end of the text behind the last one.
    pub(crate) fn start_of(&self, number: u32) -> usize {
        let index = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .saturating_sub(1);
        self.starts.get(index).copied().unwrap_or(self.text.len())
    }

    /// The byte of a position; `None` if the text has no such place.
    pub(crate) fn offset(&self, position: Position) -> Option<usize> {
        let column = usize::try_from(position.column).ok()?.checked_sub(1)?;
        let Some(line) = self.line(position.line) else {
            let behind = usize::try_from(position.line).ok()? == self.starts.len() + 1;
            return (behind && column == 0).then_some(self.text.len());
        };
        let content = self.text.get(line.clone())?;
        let mut characters = content.char_indices().map(|(offset, _)| offset);
        match characters.nth(column) {
            Some(offset) => Some(line.start + offset),
            None => (content.chars().count() == column).then_some(line.end),
        }
    }

    /// The bytes between two positions.
    pub(crate) fn range(&self, start: Position, end: Position) -> Option<Range<usize>> {
        let range = self.offset(start)?..self.offset(end)?;
        (range.start <= range.end).then_some(range)
    }

    /// The position of a byte, the other way round.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let index = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(index - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Position {
            line: number(index),
            column: number(before.chars().count() + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32, column: u32) -> Position {
        Position { line, column }
    }

    #[test]
    fn positions_are_found_and_named_again() {
        let text = "\u{feff}ä: 1\r\nb: 2\rc\n";
        let lines = Lines::new(text);
        for (position, rest) in [
            (at(1, 1), "ä: 1\r\nb: 2\rc\n"),
            (at(1, 2), ": 1\r\nb: 2\rc\n"),
            (at(1, 5), "\r\nb: 2\rc\n"),
            (at(2, 1), "b: 2\rc\n"),
            (at(3, 2), "\n"),
            (at(4, 1), ""),
        ] {
            let offset = lines.offset(position).unwrap();
            assert_eq!(text.get(offset..), Some(rest), "{position:?}");
            assert_eq!(lines.position(offset), position);
        }
        for nowhere in [at(0, 1), at(1, 0), at(1, 6), at(4, 2), at(6, 1)] {
            assert_eq!(lines.offset(nowhere), None, "{nowhere:?}");
        }
        assert_eq!(lines.line(2), Some(10..14));
        assert_eq!(lines.start_of(3), text.len() - 2);
    }

    #[test]
    fn a_range_never_runs_backwards() {
        let lines = Lines::new("abc");
        assert_eq!(lines.range(at(1, 1), at(1, 3)), Some(0..2));
        assert_eq!(lines.range(at(1, 3), at(1, 1)), None);
    }
}
