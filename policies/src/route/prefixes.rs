//! The prefixes of a text among very many: sorted, each knowing the next shorter prefix of itself.

use std::cmp::Ordering;

/// Rule numbers, ascending.
type Numbers = Box<[u32]>;

/// Prefixes with the numbers of their rules.
#[derive(Clone, Debug)]
pub(super) struct Prefixes {
    case: Case,
    /// Sorted by text.
    entries: Box<[Entry]>,
}

/// Whether ASCII case counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Counts,
    Ignored,
}

#[derive(Clone, Debug)]
struct Entry {
    text: Box<str>,
    rules: Numbers,
    /// The longest shorter prefix of the text among the entries.
    parent: Option<u32>,
    /// A prefix further up, so that a long way up takes few steps (Myers' skip pointers).
    jump: Option<u32>,
    /// How many entries stand above this one.
    depth: u32,
    /// The lowest rule number here and further up.
    lowest: u32,
}

impl Prefixes {
    pub(super) fn new(case: Case, rules: impl IntoIterator<Item = (Box<str>, Vec<u32>)>) -> Self {
        let mut texts: Vec<(Box<str>, Vec<u32>)> = rules.into_iter().collect();
        texts.sort_by(|(one, _), (two, _)| compare(case, one.as_bytes(), two.as_bytes()));
        let mut entries: Vec<Entry> = Vec::with_capacity(texts.len());
        for (text, rules) in texts {
            let above = entries.len().checked_sub(1).and_then(index);
            let of = |number: u32| entries.get(position(number));
            // What is a prefix of this text and sorts before it is the entry before, or stands above that.
            let parent = ancestors(&entries, above).find(|number| {
                of(*number).is_some_and(|entry| starts_with(case, text.as_bytes(), &entry.text))
            });
            let (jump, depth, above) = match parent.and_then(|number| Some((number, of(number)?))) {
                None => (None, 0, u32::MAX),
                Some((number, parent)) => {
                    let near = parent.jump.and_then(of);
                    let far = near.and_then(|near| near.jump.and_then(of));
                    let jump = match (near, far) {
                        (Some(near), Some(far))
                            if parent.depth - near.depth == near.depth - far.depth =>
                        {
                            near.jump
                        }
                        _ => Some(number),
                    };
                    (jump, parent.depth + 1, parent.lowest)
                }
            };
            let lowest = rules.first().copied().unwrap_or(u32::MAX).min(above);
            entries.push(Entry {
                text,
                rules: rules.into(),
                parent,
                jump,
                depth,
                lowest,
            });
        }
        Self {
            case,
            entries: entries.into(),
        }
    }

    /// The prefixes of a text, longest first.
    pub(super) fn of<'a>(&'a self, text: &str) -> impl Iterator<Item = Found<'a>> {
        let text = text.as_bytes();
        let behind = self
            .entries
            .partition_point(|entry| compare(self.case, entry.text.as_bytes(), text).is_le());
        let before = behind.checked_sub(1).and_then(index);
        let longest = before.and_then(|number| {
            let entry = self.entries.get(position(number))?;
            let common = common(self.case, entry.text.as_bytes(), text);
            self.no_longer_than(number, common)
        });
        ancestors(&self.entries, longest).filter_map(|number| {
            let entry = self.entries.get(position(number))?;
            Some(Found {
                rules: &entry.rules,
                lowest: entry.lowest,
            })
        })
    }

    /// The first on the way up whose text is no longer than `length`: as all of them are prefixes of one text, it is one
    /// of everything that agrees with that text so far.
    fn no_longer_than(&self, from: u32, length: usize) -> Option<u32> {
        let of = |number: u32| self.entries.get(position(number));
        let mut number = from;
        loop {
            let entry = of(number)?;
            if entry.text.len() <= length {
                return Some(number);
            }
            let jump = entry
                .jump
                .filter(|jump| of(*jump).is_some_and(|entry| entry.text.len() > length));
            number = jump.or(entry.parent)?;
        }
    }
}

/// A prefix of a text.
pub(super) struct Found<'a> {
    /// Its rules.
    pub(super) rules: &'a [u32],
    /// The lowest rule number among its rules and those of the shorter prefixes.
    pub(super) lowest: u32,
}

/// An entry and what stands above it.
fn ancestors(entries: &[Entry], from: Option<u32>) -> impl Iterator<Item = u32> {
    std::iter::successors(from, |number| entries.get(position(*number))?.parent)
}

fn index(position: usize) -> Option<u32> {
    u32::try_from(position).ok()
}

fn position(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn compare(case: Case, one: &[u8], two: &[u8]) -> Ordering {
    match case {
        Case::Counts => one.cmp(two),
        Case::Ignored => {
            let one = one.iter().map(u8::to_ascii_lowercase);
            one.cmp(two.iter().map(u8::to_ascii_lowercase))
        }
    }
}

fn starts_with(case: Case, text: &[u8], prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| match case {
        Case::Counts => start == prefix.as_bytes(),
        Case::Ignored => start.eq_ignore_ascii_case(prefix.as_bytes()),
    })
}

/// How many bytes two texts have in common at the beginning.
fn common(case: Case, one: &[u8], two: &[u8]) -> usize {
    let same = |(a, b): &(&u8, &u8)| match case {
        Case::Counts => a == b,
        Case::Ignored => a.eq_ignore_ascii_case(b),
    };
    one.iter().zip(two).take_while(same).count()
}
