//! How many rules have each name and path: of several that a rule offers, the rarest leaves the fewest candidates.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
};

use foldhash::fast::FixedState;

use super::{
    Form,
    names::{self, Name},
    paths::{self, PathKey},
};
use crate::{
    field::{HttpSubject, PathPattern, Subject},
    rule::Rule,
};

/// So many headers are looked up, and so many claims: those that most rules name.
const MOST_FIELDS: usize = 8;

/// How many rules have each name and path.
pub(super) struct Counts<'r> {
    names: HashMap<Name<'r>, u64, FixedState>,
    paths: HashMap<PathKey<'r>, u64, FixedState>,
    headers: HashSet<&'r str>,
    claims: HashSet<&'r [Box<str>]>,
}

impl<'r> Counts<'r> {
    pub(super) fn new(rules: &'r [Rule], form: Form) -> Self {
        let mut names: HashMap<Name<'r>, u64, FixedState> = HashMap::default();
        let mut paths: HashMap<PathKey<'r>, u64, FixedState> = HashMap::default();
        let mut headers: HashMap<&str, u64> = HashMap::new();
        let mut claims: HashMap<&[Box<str>], u64> = HashMap::new();
        for rule in rules {
            let groups = rule.sources.iter().chain(&rule.operations);
            for check in groups.flatten().chain(&rule.conditions) {
                for name in names::of_check(check, form).into_iter().flatten() {
                    if let Name::Header(header, _) = &name {
                        *headers.entry(header.as_str()).or_default() += 1;
                    }
                    if let Name::Claim(path, _) = &name {
                        *claims.entry(path).or_default() += 1;
                    }
                    *names.entry(name).or_default() += 1;
                }
                if let Subject::Http(HttpSubject::Path(patterns)) = &check.subject {
                    let patterns = patterns
                        .iter()
                        .filter(|pattern| matches!(pattern, PathPattern::Template(_)));
                    for key in patterns.flat_map(paths::offers) {
                        *paths.entry(key).or_default() += 1;
                    }
                }
            }
        }
        Self {
            names,
            paths,
            headers: most_named(headers),
            claims: most_named(claims),
        }
    }

    /// How many rules have all these names together; none if one of them is a header or claim that is not looked up.
    pub(super) fn of_names(&self, names: &[Name<'r>]) -> Option<u64> {
        names
            .iter()
            .try_fold(0_u64, |all, name| Some(all.saturating_add(self.of(name)?)))
    }

    fn of(&self, name: &Name<'r>) -> Option<u64> {
        let looked_up = match name {
            Name::Header(header, _) => self.headers.contains(header.as_str()),
            Name::Claim(path, _) => self.claims.contains(path),
            Name::Principal(_)
            | Name::Account(_)
            | Name::Namespace(_)
            | Name::Issuer(_)
            | Name::Subject(_)
            | Name::Host(_) => true,
        };
        looked_up.then(|| self.names.get(name).copied().unwrap_or(0))
    }

    /// How many templates begin or end so; other paths are not counted, they have no choice.
    pub(super) fn of_path(&self, key: &PathKey<'r>) -> u64 {
        self.paths.get(key).copied().unwrap_or(0)
    }
}

/// The fields that most rules name.
fn most_named<K: Copy + Eq + Hash + Ord>(counts: HashMap<K, u64>) -> HashSet<K> {
    let counts: BTreeSet<(Reverse<u64>, K)> = counts
        .into_iter()
        .map(|(key, count)| (Reverse(count), key))
        .collect();
    let most = counts.into_iter().take(MOST_FIELDS);
    most.map(|(_, key)| key).collect()
}
