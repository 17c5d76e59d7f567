//! What a change does to the files, as a unified diff.

use std::path::Path;

use super::plan::Plan;
use crate::directory::MeshDir;
use crate::mesh_set::shown;

/// Lines of context around a change, as diff(1) has them.
const CONTEXT: usize = 3;

/// The diff of all files of a plan.
pub(super) fn unified(dir: &MeshDir, plan: &Plan) -> String {
    let mut text = String::new();
    for set in &plan.sets {
        for (path, after) in &set.files {
            let before = set.text_before(path).map(|text| &**text);
            text.push_str(&of_file(
                &shown(dir, path).to_string(),
                before,
                after.as_deref(),
            ));
        }
    }
    text
}

fn of_file(name: &str, before: Option<&str>, after: Option<&str>) -> String {
    let named = |there: bool, side: &str| {
        if there {
            format!("{side}/{name}")
        } else {
            Path::new("/dev/null").display().to_string()
        }
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (
        before.unwrap_or_default().lines().collect(),
        after.unwrap_or_default().lines().collect(),
    );
    let mut text = format!(
        "--- {}\n+++ {}\n",
        named(before.is_some(), "a"),
        named(after.is_some(), "b")
    );
    for hunk in hunks(&script(&old, &new)) {
        text.push_str(&hunk);
    }
    text
}

/// One line of the script that turns the old text into the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Kept(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The script: what both have at the beginning and the end, and between them the longest common subsequence.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (
        old.get(head..).unwrap_or_default(),
        new.get(head..).unwrap_or_default(),
    );
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let middle = |lines: &[&'a str]| -> Vec<&'a str> {
        lines.get(..lines.len() - tail).unwrap_or_default().to_vec()
    };
    let (a, b) = (middle(old_rest), middle(new_rest));
    let mut lines: Vec<Line<'a>> = old.iter().take(head).map(|line| Line::Kept(line)).collect();
    lines.extend(common(&a, &b));
    lines.extend(
        old.iter()
            .skip(old.len() - tail)
            .map(|line| Line::Kept(line)),
    );
    lines
}

/// More cells than this are not worth the time: everything between is replaced.
const MOST_CELLS: usize = 4_000_000;

fn common<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Line<'a>> {
    let width = b.len() + 1;
    if a.len().saturating_mul(b.len()) > MOST_CELLS {
        let gone = a.iter().map(|line| Line::Gone(line));
        return gone.chain(b.iter().map(|line| Line::New(line))).collect();
    }
    // How many lines the rests from (i, j) on have in common.
    let mut length = vec![0_u32; (a.len() + 1) * width];
    let at = |length: &[u32], i: usize, j: usize| length.get(i * width + j).copied().unwrap_or(0);
    for (i, one) in a.iter().enumerate().rev() {
        for (j, other) in b.iter().enumerate().rev() {
            let best = if one == other {
                at(&length, i + 1, j + 1) + 1
            } else {
                at(&length, i + 1, j).max(at(&length, i, j + 1))
            };
            if let Some(cell) = length.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    loop {
        match (a.get(i), b.get(j)) {
            (Some(one), Some(other)) if one == other => {
                lines.push(Line::Kept(one));
                i += 1;
                j += 1;
            }
            (Some(one), other)
                if other.is_none() || at(&length, i + 1, j) >= at(&length, i, j + 1) =>
            {
                lines.push(Line::Gone(one));
                i += 1;
            }
            (_, Some(other)) => {
                lines.push(Line::New(other));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

/// The script in pieces with a few lines of context, each with the place where it stands.
fn hunks(script: &[Line<'_>]) -> Vec<String> {
    let changed = |line: &Line<'_>| !matches!(line, Line::Kept(_));
    let near = |position: usize| {
        let from = position.saturating_sub(CONTEXT);
        script
            .iter()
            .skip(from)
            .take(position - from + CONTEXT + 1)
            .any(changed)
    };
    let (mut old, mut new) = (1_usize, 1_usize);
    let mut hunks = Vec::new();
    let mut open: Option<Hunk> = None;
    for (position, line) in script.iter().enumerate() {
        if near(position) {
            open.get_or_insert_with(|| Hunk::at(old, new)).push(*line);
        } else {
            hunks.extend(open.take().map(Hunk::close));
        }
        old += usize::from(!matches!(line, Line::New(_)));
        new += usize::from(!matches!(line, Line::Gone(_)));
    }
    hunks.extend(open.map(Hunk::close));
    hunks
}

struct Hunk {
    starts: (usize, usize),
    lengths: (usize, usize),
    text: String,
}

impl Hunk {
    fn at(old: usize, new: usize) -> Self {
        Self {
            starts: (old, new),
            lengths: (0, 0),
            text: String::new(),
        }
    }

    fn push(&mut self, line: Line<'_>) {
        let (sign, text) = match line {
            Line::Kept(text) => (' ', text),
            Line::Gone(text) => ('-', text),
            Line::New(text) => ('+', text),
        };
        self.lengths.0 += usize::from(sign != '+');
        self.lengths.1 += usize::from(sign != '-');
        self.text.push(sign);
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn close(self) -> String {
        // Nothing begins before its first line.
        let side = |start: usize, length: usize| match length {
            0 => format!("{},0", start - 1),
            1 => start.to_string(),
            _ => format!("{start},{length}"),
        };
        format!(
            "@@ -{} +{} @@\n{}",
            side(self.starts.0, self.lengths.0),
            side(self.starts.1, self.lengths.1),
            self.text
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_what_diff_prints() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
        let after = "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\nk2\nl\n";
        assert_eq!(
            of_file("x.yaml", Some(before), Some(after)),
            "--- a/x.yaml\n+++ b/x.yaml\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -9,4 +9,5 @@\n i\n j\n k\n+k2\n l\n"
        );
        assert_eq!(
            of_file("x.yaml", None, Some("a\n")),
            "--- /dev/null\n+++ b/x.yaml\n@@ -0,0 +1 @@\n+a\n"
        );
        assert_eq!(
            of_file("x.yaml", Some("a\nb\n"), None),
            "--- a/x.yaml\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
        );
    }

    #[test]
    fn lines_in_common_stay() {
        let old: Vec<&str> = "one two three four five".split(' ').collect();
        let new: Vec<&str> = "zero two four 4 five six".split(' ').collect();
        let kept: Vec<_> = script(&old, &new)
            .into_iter()
            .filter(|line| matches!(line, Line::Kept(_)))
            .collect();
        assert_eq!(kept, ["two", "four", "five"].map(Line::Kept));
    }
}
