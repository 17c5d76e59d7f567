//! What the path of a request must begin or end with, or be, for a rule to match.

use std::collections::BTreeMap;

use super::{candidate::Candidate, counts::Counts};
use crate::{
    field::{HttpSubject, PathPattern, Subject, Wants},
    matcher::Pattern,
    rule::Rule,
};

/// Rules with more paths are candidates for every path.
const MOST_PATHS: usize = 64;

/// One thing that a path must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PathKey<'r> {
    Exact(&'r str),
    Prefix(&'r str),
    Suffix(&'r str),
    /// There is no such thing.
    Any,
}

/// What a rule's paths must be, one of these; [`PathKey::Any`] alone if they may be anything.
pub(super) fn keys<'r>(rule: &'r Rule, counts: &Counts<'r>) -> Vec<PathKey<'r>> {
    let any = || vec![PathKey::Any];
    let mut all = Vec::new();
    for operation in &rule.operations {
        let mut patterns = operation.iter().filter_map(|check| {
            let Subject::Http(HttpSubject::Path(patterns)) = &check.subject else {
                return None;
            };
            (check.wants == Wants::Match).then_some(patterns)
        });
        let Some(patterns) = patterns.next() else {
            return any();
        };
        for pattern in patterns {
            let offered = offers(pattern).into_iter();
            let offered =
                offered.filter(|key| !matches!(key, PathKey::Prefix("") | PathKey::Suffix("")));
            let Some(key) = offered.min_by_key(|key| (*key == PathKey::Any, counts.of_path(key)))
            else {
                return any();
            };
            if key == PathKey::Any {
                return any();
            }
            all.push(key);
        }
    }
    if all.is_empty() || all.len() > MOST_PATHS {
        return any();
    }
    all
}

/// Each alone must hold where the pattern matches.
pub(super) fn offers(pattern: &PathPattern) -> [PathKey<'_>; 2] {
    match pattern {
        PathPattern::Text(Pattern::Present) => [PathKey::Any; 2],
        PathPattern::Text(Pattern::Exact(path)) => [PathKey::Exact(path); 2],
        PathPattern::Text(Pattern::Prefix(prefix)) => [PathKey::Prefix(prefix); 2],
        PathPattern::Text(Pattern::Suffix(suffix)) => [PathKey::Suffix(suffix); 2],
        PathPattern::Template(template) => [
            PathKey::Prefix(template.literal_start()),
            PathKey::Suffix(template.literal_end()),
        ],
    }
}

/// Texts, each with the nearest shorter one that it begins with; so whatever a path begins with is found by one search
/// for its neighbour and a walk up from there.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginnings(Box<[Beginning]>);

#[derive(Debug, Clone)]
struct Beginning {
    text: Box<[u8]>,
    /// The place of the nearest shorter one.
    within: Option<usize>,
    candidates: Box<[Candidate]>,
}

impl Beginnings {
    pub(super) fn new(texts: BTreeMap<Vec<u8>, Vec<Candidate>>) -> Self {
        let mut all: Vec<Beginning> = Vec::with_capacity(texts.len());
        // The places of the texts that the one before begins with, and its own: shortest first.
        let mut open: Vec<usize> = Vec::new();
        for (text, candidates) in texts {
            while let Some(place) = open.last() {
                if all
                    .get(*place)
                    .is_some_and(|outer| text.starts_with(&outer.text))
                {
                    break;
                }
                open.pop();
            }
            let within = open.last().copied();
            open.push(all.len());
            all.push(Beginning {
                text: text.into(),
                within,
                candidates: candidates.into(),
            });
        }
        Self(all.into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The candidates of every text that the path begins with.
    pub(super) fn of_start(&self, path: &str, found: impl FnMut(&[Candidate])) {
        let path = path.as_bytes();
        self.each(|text| text <= path, |text| path.starts_with(text), found);
    }

    /// The candidates of every text that the path begins with when both are read from their ends.
    pub(super) fn of_end(&self, path: &str, found: impl FnMut(&[Candidate])) {
        let path = || path.bytes().rev();
        let begins = |text: &[u8]| {
            let mut path = path();
            text.iter().all(|byte| path.next() == Some(*byte))
        };
        self.each(|text| text.iter().copied().le(path()), begins, found);
    }

    fn each(
        &self,
        is_not_behind: impl Fn(&[u8]) -> bool,
        begins: impl Fn(&[u8]) -> bool,
        mut found: impl FnMut(&[Candidate]),
    ) {
        // The last text that is not behind the path: whatever the path begins with, it begins with too.
        let behind = self.0.partition_point(|one| is_not_behind(&one.text));
        let mut place = behind.checked_sub(1);
        while let Some(one) = place.and_then(|place| self.0.get(place)) {
            if begins(&one.text) {
                found(&one.candidates);
            }
            place = one.within;
        }
    }
}
