//! Cuts a text at its document markers, so that an error in one document does not hide the others.

/// A part of a text with at least one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) text: &'a str,
    /// How many lines stand before it.
    pub(super) lines_before: u32,
}

/// Cuts before every line that begins with `---`. YAML 1.2 §9.1.2 forbids such a line inside any scalar, so no document
/// is cut in two. Directives and comments before the first marker stay with the document that follows. Behind `most`
/// chunks the rest stays one.
pub(super) fn chunks(text: &str, most: usize) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut begin = 0;
    let mut lines_before = 0;
    let mut offset = 0;
    let mut substance = false;
    // Behind `...`: directives belong to the next document.
    let mut ended = false;
    let mut line_number = 0_u32;
    for line in text.split_inclusive('\n') {
        let cut = is_marker(line) || (ended && line.starts_with('%'));
        if cut && substance && chunks.len() < most {
            chunks.extend(
                text.get(begin..offset)
                    .map(|text| Chunk { text, lines_before }),
            );
            begin = offset;
            lines_before = line_number;
        }
        let content = line.trim();
        let idle = content.is_empty() || line.starts_with(['#', '%']);
        substance = is_marker(line) || !idle || (substance && begin != offset);
        ended = is_line(line, "...") || (ended && idle);
        offset += line.len();
        line_number = line_number.saturating_add(1 + lone_returns(line));
    }
    chunks.extend(
        text.get(begin..)
            .filter(|rest| !rest.is_empty())
            .map(|text| Chunk { text, lines_before }),
    );
    chunks
}

/// Carriage returns inside a line, each of which ends a line for YAML.
fn lone_returns(line: &str) -> u32 {
    let inside = line.trim_end_matches(['\n', '\r']);
    let ends = line.len() - inside.len();
    let crlf = usize::from(line.ends_with("\r\n"));
    let lone = ends - usize::from(line.ends_with('\n')) - crlf;
    let lone = inside.bytes().filter(|byte| *byte == b'\r').count() + lone;
    u32::try_from(lone).unwrap_or(u32::MAX - 1)
}

/// How many documents a text has: parts between markers that hold more than comments.
pub(crate) fn count(text: &str) -> usize {
    let mut count = 0;
    let mut substance = false;
    for line in text.lines() {
        let marker = is_marker(line);
        if marker {
            count += usize::from(substance);
            substance = false;
        }
        let rest = if marker { line.get(3..) } else { Some(line) };
        let content = rest.unwrap_or_default().trim();
        substance |= !(content.is_empty() || content == "..." || content.starts_with(['#', '%']));
    }
    count + usize::from(substance)
}

fn is_marker(line: &str) -> bool {
    is_line(line, "---")
}

fn is_line(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_documents() {
        for (text, number) in [
            ("", 0),
            ("# a\n\n# b\n", 0),
            ("a: 1\n---\n# only this\n---\nb: 2\n", 2),
            ("---\n--- a\n...\n", 1),
        ] {
            assert_eq!(count(text), number, "{text:?}");
        }
    }

    #[test]
    fn cuts_at_markers_only() {
        let text = "# head\n%YAML 1.2\n---\na: 1\n---\nb: |\n  ---\n  x\n---more: 2\n--- # c\nc: 3\n...\n# e\n%YAML 1.2\n---\nd: 4";
        let cut: Vec<_> = chunks(text, 100)
            .iter()
            .map(|chunk| (chunk.lines_before, chunk.text))
            .collect();
        assert_eq!(
            cut,
            [
                (0, "# head\n%YAML 1.2\n---\na: 1\n"),
                (4, "---\nb: |\n  ---\n  x\n---more: 2\n"),
                (9, "--- # c\nc: 3\n...\n# e\n"),
                (13, "%YAML 1.2\n---\nd: 4"),
            ]
        );
    }
}
