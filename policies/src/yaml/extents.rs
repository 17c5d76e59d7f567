//! Which lines each document of a text has.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::chunks::chunks;
use crate::raw::Extent;

/// The documents of a text by their lines, in order; those with bad YAML are left out.
pub(crate) fn extents(text: &str) -> Vec<Extent> {
    // As in the reading itself: a byte order mark is no content.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    for chunk in chunks(text, usize::MAX) {
        let mut parser = Parser::new_from_str(chunk.text);
        let lines: Vec<&str> = chunk.text.lines().collect();
        let mut open: Option<Extent> = None;
        let line = |number: usize| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            number.saturating_add(chunk.lines_before)
        };
        while let Some(Ok((event, span))) = parser.next_event() {
            match event {
                Event::DocumentStart(_) => open = None,
                Event::DocumentEnd => found.extend(open.take()),
                Event::Scalar(..)
                | Event::Alias(..)
                | Event::SequenceStart(..)
                | Event::MappingStart(..)
                | Event::SequenceEnd
                | Event::MappingEnd => {
                    let first = line(span.start.line());
                    let extent = open.get_or_insert(Extent { first, last: first });
                    if let Some(last) = last_line(&event, &span, &lines) {
                        extent.last = extent.last.max(line(last));
                    }
                }
                _ => {}
            }
        }
    }
    found
}

/// The last line of what an event is about, from 1; none if the event is only a place.
fn last_line(event: &Event<'_>, span: &Span, lines: &[&str]) -> Option<usize> {
    match event {
        Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
            Some(end_of_block(span.start.line(), lines))
        }
        Event::Scalar(..) | Event::Alias(..) => Some(span.end.line()),
        // The end of a flow collection is its bracket, that of a block one is where something else begins.
        Event::SequenceEnd | Event::MappingEnd => {
            let line = lines.get(span.start.line().checked_sub(1)?)?;
            let bracket = line.chars().nth(span.start.col())?;
            matches!(bracket, ']' | '}').then(|| span.start.line())
        }
        _ => None,
    }
}

/// The last line with a text of a block scalar: as far as lines are as deep as its first one. The scanner's own end
/// stands behind the comments that follow.
fn end_of_block(header: usize, lines: &[&str]) -> usize {
    let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut least = None;
    let mut last = header;
    for (number, line) in (1..).zip(lines).skip(header) {
        if line.trim().is_empty() {
            continue;
        }
        if depth(line) < *least.get_or_insert_with(|| depth(line).max(1)) {
            break;
        }
        last = number;
    }
    last
}
