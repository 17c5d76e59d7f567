//! What people bring along from other languages: comments that start with `//`, and tabs.

use super::Position;

/// The lines of a text that are no part of a block scalar (`|`, `>`), with their number from 1.
fn structural_lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    // The indentation of the line that opened a block scalar.
    let mut scalar: Option<usize> = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let indent = line.len() - line.trim_start().len();
        if let Some(outer) = scalar {
            if line.trim().is_empty() || indent > outer {
                return false;
            }
            scalar = None;
        }
        let code = line.split(" #").next().unwrap_or_default().trim_end();
        let header = code.trim_end_matches(['+', '-', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
        if header.ends_with([' ', '|', '>']) && header.trim_end().ends_with(['|', '>']) {
            scalar = Some(indent);
        }
        true
    })
}

/// Where lines begin with `//`.
pub(super) fn slash_comments(text: &str) -> impl Iterator<Item = Position> {
    structural_lines(text).filter_map(|(line, content)| {
        let comment = content.trim_start();
        comment.starts_with("//").then(|| Position {
            line,
            column: column(content, comment),
        })
    })
}

/// The indentations that contain a tab: the line, the column behind it, and the same width in spaces.
pub(super) fn tabbed_lines(text: &str) -> impl Iterator<Item = (u32, u32, String)> {
    structural_lines(text).filter_map(|(line, content)| {
        let code = content.trim_start();
        let indent = content.strip_suffix(code)?;
        let tabbed = indent.contains('\t') && !code.is_empty();
        tabbed.then(|| (line, column(content, code), indent.replace('\t', "  ")))
    })
}

/// The column where the rest of a line starts.
fn column(line: &str, rest: &str) -> u32 {
    let before = line.chars().count() - rest.chars().count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_scalars_may_hold_anything() {
        let text =
            "// head\na: |-\n  // code\n\n\tb\nc: > # why\n  // text\n  // d\n// tail\n\te: 1\n";
        let comments: Vec<u32> = slash_comments(text).map(|at| at.line).collect();
        assert_eq!(comments, [1, 9]);
        let tabs: Vec<_> = tabbed_lines(text).collect();
        assert_eq!(tabs, [(10, 2, "  ".to_owned())]);
    }
}
