//! Changes to a file of documents that leave everything else in it as it is.

use std::ops::Range;

use super::Extent;

/// What happens to one document of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// These lines stand in its place.
    Replace(Extent, String),
    /// It goes, with the comment directly above it.
    Remove(Extent),
}

impl Edit {
    fn extent(&self) -> Extent {
        match self {
            Self::Replace(extent, _) | Self::Remove(extent) => *extent,
        }
    }
}

/// The text of a document without the comments and markers around it, with an end of line.
pub fn extract(text: &str, extent: Extent) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (begin, end) = indices(extent);
    let lines = text.split_inclusive('\n').take(end).skip(begin);
    let cut: String = lines.collect();
    let mut found = match cut.strip_prefix("---").filter(|_| is_marker(&cut)) {
        Some(rest) => rest.trim_start_matches([' ', '\t']).to_owned(),
        None => cut,
    };
    if !found.ends_with('\n') {
        found.push('\n');
    }
    found
}

/// The text after some edits; documents that none of them is about stay byte for byte.
pub fn change(text: &str, edits: &[Edit]) -> String {
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let mut lines: Vec<&str> = body.split_inclusive('\n').collect();
    let mut edits: Vec<&Edit> = edits.iter().collect();
    // From the end, so that the line numbers before it stay right.
    edits.sort_by_key(|edit| std::cmp::Reverse(edit.extent()));
    for edit in edits {
        match edit {
            Edit::Replace(extent, with) => replace(&mut lines, *extent, with),
            Edit::Remove(extent) => remove(&mut lines, *extent),
        }
    }
    format!("{mark}{}", lines.concat())
}

/// Other bytes in the place of some bytes of a file; an empty range is a place where they come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) at: Range<usize>,
    pub(super) with: String,
}

/// The text after some patches; every byte that none of them is about stays. None if two of them say different things
/// about the same bytes, or one is about bytes that are not there.
pub(super) fn patch(text: &str, patches: &[Patch]) -> Option<String> {
    let mut patches: Vec<&Patch> = patches.iter().collect();
    patches.sort_by_key(|patch| (patch.at.start, patch.at.end));
    // What a YAML alias repeats is asked for once for each of its places.
    patches.dedup();
    let mut after = String::with_capacity(text.len());
    let mut done = 0;
    for patch in patches {
        after.push_str(text.get(done..patch.at.start)?);
        after.push_str(&patch.with);
        done = patch.at.end;
    }
    after.push_str(text.get(done..)?);
    Some(after)
}

fn indices(extent: Extent) -> (usize, usize) {
    let index = |line: u32| usize::try_from(line).unwrap_or(usize::MAX);
    (index(extent.first).saturating_sub(1), index(extent.last))
}

fn replace<'a>(lines: &mut Vec<&'a str>, extent: Extent, with: &'a str) {
    let (begin, end) = indices(extent);
    let end = end.min(lines.len());
    if begin >= end {
        return;
    }
    let marker = lines.get(begin).is_some_and(|line| is_marker(line));
    let new = with.split_inclusive('\n');
    lines.splice(begin..end, marker.then_some("---\n").into_iter().chain(new));
}

fn remove(lines: &mut Vec<&str>, extent: Extent) {
    let (begin, end) = indices(extent);
    let end = end.min(lines.len());
    if begin >= end {
        return;
    }
    let line =
        |lines: &[&str], index: usize| lines.get(index).map_or("", |line| line.trim()).to_owned();
    let is_blank = |lines: &[&str], index: usize| line(lines, index).is_empty();
    // A content on the marker's own line takes the marker along.
    let mut marker_gone = lines.get(begin).is_some_and(|line| is_marker(line));
    let mut from = begin;
    while !marker_gone && from > 0 && line(lines, from - 1).starts_with('#') {
        from -= 1;
    }
    let mut before = from;
    while before > 0 && is_blank(lines, before - 1) {
        before -= 1;
    }
    if !marker_gone && before > 0 && lines.get(before - 1).is_some_and(|line| is_marker(line)) {
        from = before - 1;
        marker_gone = true;
    }
    let mut to = end;
    if !marker_gone && (0..from).all(|index| is_blank(lines, index)) {
        // The first document of the file: the marker behind it separates nothing any more.
        let mut after = end;
        while after < lines.len() && is_blank(lines, after) {
            after += 1;
        }
        let only_marker = lines.get(after).is_some_and(|line| line.trim() == "---");
        if only_marker {
            to = after + 1;
        }
    }
    lines.drain(from..to);
}

/// Whether a line begins a document.
fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# The file.\n\n# First.\na: 1\nb: |\n  # text\n# Between.\n---\n# Second.\na: 2\n\n# After.\n---\na: 3 # three\n";
    const FIRST: Extent = Extent { first: 4, last: 6 };
    const SECOND: Extent = Extent {
        first: 10,
        last: 10,
    };
    const THIRD: Extent = Extent {
        first: 14,
        last: 14,
    };

    #[test]
    fn a_replaced_document_leaves_the_rest_as_it_is() {
        let edits = [
            Edit::Replace(FIRST, "new: 1\n".to_owned()),
            Edit::Replace(THIRD, "new: 3\nmore: true\n".to_owned()),
        ];
        assert_eq!(
            change(FILE, &edits),
            "# The file.\n\n# First.\nnew: 1\n# Between.\n---\n# Second.\na: 2\n\n# After.\n---\nnew: 3\nmore: true\n"
        );
    }

    #[test]
    fn a_removed_document_takes_its_comment_and_marker() {
        assert_eq!(
            change(FILE, &[Edit::Remove(SECOND)]),
            "# The file.\n\n# First.\na: 1\nb: |\n  # text\n# Between.\n\n# After.\n---\na: 3 # three\n"
        );
        assert_eq!(
            change(FILE, &[Edit::Remove(FIRST)]),
            "# The file.\n\n# Between.\n---\n# Second.\na: 2\n\n# After.\n---\na: 3 # three\n"
        );
        assert_eq!(
            change(
                "a: 1\n---\nb: 2\n",
                &[Edit::Remove(Extent { first: 1, last: 1 })]
            ),
            "b: 2\n"
        );
        assert_eq!(
            change("---\na: 1\n", &[Edit::Remove(Extent { first: 2, last: 2 })]),
            ""
        );
        let all = [FIRST, SECOND, THIRD].map(Edit::Remove);
        assert_eq!(
            change(FILE, &all),
            "# The file.\n\n# Between.\n\n# After.\n"
        );
    }

    #[test]
    fn a_document_on_its_markers_line() {
        let text = "--- {a: 1}\n--- {b: 2}\n";
        let (one, two) = (Extent { first: 1, last: 1 }, Extent { first: 2, last: 2 });
        assert_eq!(extract(text, two), "{b: 2}\n");
        assert_eq!(change(text, &[Edit::Remove(one)]), "--- {b: 2}\n");
        assert_eq!(
            change(text, &[Edit::Replace(one, "a: 3\n".to_owned())]),
            "---\na: 3\n--- {b: 2}\n"
        );
    }

    #[test]
    fn byte_order_mark_and_line_ends_stay() {
        let text = "\u{feff}a: 1\r\n---\r\nb: 2";
        let (one, two) = (Extent { first: 1, last: 1 }, Extent { first: 3, last: 3 });
        assert_eq!(extract(text, one), "a: 1\r\n");
        assert_eq!(extract(text, two), "b: 2\n");
        assert_eq!(
            change(text, &[Edit::Replace(one, "a: 3\n".to_owned())]),
            "\u{feff}a: 3\n---\r\nb: 2"
        );
    }

    #[test]
    fn patches_change_their_bytes_and_no_others() {
        let at = |at: Range<usize>, with: &str| Patch {
            at,
            with: with.to_owned(),
        };
        let text = "a: 10\r\nb: 20 # b\n";
        assert_eq!(
            patch(text, &[at(10..12, "5"), at(3..5, "95"), at(5..5, " # a")]).unwrap(),
            "a: 95 # a\r\nb: 5 # b\n"
        );
        assert_eq!(patch(text, &[]).unwrap(), text);
        assert_eq!(patch(text, &[at(3..5, "1"), at(4..6, "2")]), None);
        assert_eq!(patch(text, &[at(3..99, "1")]), None);
    }
}
