//! The rules under one name, by path.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::{
    candidate::{Candidate, Search},
    paths::{Beginnings, PathKey},
};
use crate::facts::Facts;

/// So few rules are tried one by one.
const FEW: usize = 4;

/// Candidates on their way onto a shelf.
pub(super) type Unsorted<'r> = Vec<(PathKey<'r>, Candidate)>;

/// The rules under one name.
#[derive(Debug, Clone)]
pub(super) enum Shelf {
    /// In ascending order.
    Few(Box<[Candidate]>),
    Sorted(Box<Sorted>),
}

/// Many rules, found by the path of the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorted {
    exact: HashMap<Box<str>, Box<[Candidate]>, FixedState>,
    prefixes: Beginnings,
    /// The texts are reversed.
    suffixes: Beginnings,
    any: Box<[Candidate]>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::Few(Box::default())
    }
}

impl Shelf {
    /// Takes candidates in ascending order; one may come several times.
    pub(super) fn new(mut entries: Unsorted<'_>) -> Self {
        let mut few: Vec<Candidate> = entries.iter().map(|(_, candidate)| *candidate).collect();
        few.dedup();
        if few.len() <= FEW {
            return Self::Few(few.into());
        }
        let mut exact: BTreeMap<&str, Vec<Candidate>> = BTreeMap::new();
        let mut prefixes: BTreeMap<Vec<u8>, Vec<Candidate>> = BTreeMap::new();
        let mut suffixes: BTreeMap<Vec<u8>, Vec<Candidate>> = BTreeMap::new();
        let mut any = Vec::new();
        for (key, candidate) in entries.drain(..) {
            let place = match key {
                PathKey::Exact(path) => exact.entry(path).or_default(),
                PathKey::Prefix(text) => prefixes.entry(text.bytes().collect()).or_default(),
                PathKey::Suffix(text) => suffixes.entry(text.bytes().rev().collect()).or_default(),
                PathKey::Any => &mut any,
            };
            if place.last() != Some(&candidate) {
                place.push(candidate);
            }
        }
        Self::Sorted(Box::new(Sorted {
            exact: exact
                .into_iter()
                .map(|(path, candidates)| (path.into(), candidates.into()))
                .collect(),
            prefixes: Beginnings::new(prefixes),
            suffixes: Beginnings::new(suffixes),
            any: any.into(),
        }))
    }

    /// Tries what the path leaves.
    pub(super) fn search(&self, facts: &Facts<'_>, search: &mut Search<'_, '_, '_>) {
        let sorted = match self {
            Self::Few(candidates) => return search.try_each(candidates),
            Self::Sorted(sorted) => sorted,
        };
        if let Some(http) = &facts.http {
            if let Some(candidates) = sorted.exact.get(http.path) {
                search.try_each(candidates);
            }
            if !sorted.prefixes.is_empty() {
                let prefixes = &sorted.prefixes;
                prefixes.of_start(http.path, |candidates| search.try_each(candidates));
            }
            if !sorted.suffixes.is_empty() {
                let suffixes = &sorted.suffixes;
                suffixes.of_end(http.path, |candidates| search.try_each(candidates));
            }
        }
        search.try_each(&sorted.any);
    }
}
