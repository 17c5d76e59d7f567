//! Comments in the style of other languages: `// text` at the beginning of a line.

use super::Position;

/// The first line of a text whose content begins with `//`, counted from 1.
pub(super) fn slash_comment(text: &str) -> Option<Position> {
    text.lines().enumerate().find_map(|(number, line)| {
        let content = line.trim_start();
        content.starts_with("//").then(|| {
            let indent = line.chars().count() - content.chars().count();
            Position {
                line: u32::try_from(number + 1).unwrap_or(u32::MAX),
                column: u32::try_from(indent + 1).unwrap_or(u32::MAX),
            }
        })
    })
}
