//! The rules of a host in order, and which of them answers a request: the first that matches, found by its path.

use std::collections::HashMap;
use std::sync::Arc;

use super::matching::{Condition, Text};
use super::prefixes::{Case, Prefixes};
use super::{HttpRoute, RequestView};

/// Up to so many rules it is quicker to look at one after the other.
const FEW: usize = 12;

/// One match of one rule.
#[derive(Clone, Debug)]
pub(crate) struct CompiledRule {
    pub(crate) condition: Condition,
    /// Shared by the alternatives of a rule that do the same.
    pub(crate) route: Arc<HttpRoute>,
}

/// The rules of a host, in order.
#[derive(Debug)]
pub(crate) struct RuleList {
    rules: Box<[CompiledRule]>,
    by_path: Option<ByPath>,
}

/// Rule numbers, ascending.
type Numbers = Box<[u32]>;

/// Rule numbers by what their condition on the path is, each list ascending.
///
/// A list ends with the first rule that asks for nothing but the path: what follows there never answers.
#[derive(Debug)]
struct ByPath {
    exact: HashMap<Box<str>, Numbers>,
    /// In lower case.
    exact_ignore_case: Box<[(Box<str>, Numbers)]>,
    prefix: Prefixes,
    prefix_ignore_case: Prefixes,
    /// Any path, and regular expressions.
    others: Numbers,
}

impl RuleList {
    pub(crate) fn new(rules: Vec<CompiledRule>) -> Self {
        Self {
            by_path: (rules.len() > FEW).then(|| ByPath::new(&rules)),
            rules: rules.into(),
        }
    }

    /// Every rule, in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, CompiledRule> {
        self.rules.iter()
    }

    /// The first rule that matches. Allocates nothing.
    pub(crate) fn find(&self, request: &RequestView<'_>) -> Option<&CompiledRule> {
        match &self.by_path {
            Some(by_path) => {
                let number = by_path.first(&self.rules, request)?;
                self.rules.get(usize::try_from(number).ok()?)
            }
            None => self.find_one_by_one(request),
        }
    }

    fn find_one_by_one(&self, request: &RequestView<'_>) -> Option<&CompiledRule> {
        self.rules
            .iter()
            .find(|rule| rule.condition.matches(request))
    }
}

impl ByPath {
    fn new(rules: &[CompiledRule]) -> Self {
        let mut exact: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut exact_ignore_case: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut prefix: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut prefix_ignore_case: HashMap<Box<str>, Vec<u32>> = HashMap::new();
        let mut others = Vec::new();
        for (number, rule) in (0_u32..).zip(rules) {
            let numbers = match &rule.condition.uri {
                Some(Text::Exact(text)) => exact.entry(text.clone()).or_default(),
                Some(Text::ExactIgnoreCase(text)) => {
                    exact_ignore_case.entry(lower(text)).or_default()
                }
                Some(Text::Prefix(text)) => prefix.entry(text.clone()).or_default(),
                Some(Text::PrefixIgnoreCase(text)) => {
                    prefix_ignore_case.entry(lower(text)).or_default()
                }
                None | Some(Text::Regex(_) | Text::Present | Text::Never) => &mut others,
            };
            let ended = |last: &u32| {
                let last = usize::try_from(*last).ok().and_then(|last| rules.get(last));
                last.is_some_and(|rule| answers_all(&rule.condition))
            };
            if !numbers.last().is_some_and(ended) {
                numbers.push(number);
            }
        }
        let boxed = |(text, numbers): (Box<str>, Vec<u32>)| (text, numbers.into_boxed_slice());
        let mut exact_ignore_case: Vec<_> = exact_ignore_case.into_iter().map(boxed).collect();
        exact_ignore_case.sort();
        Self {
            exact: exact.into_iter().map(boxed).collect(),
            exact_ignore_case: exact_ignore_case.into(),
            prefix: Prefixes::new(Case::Counts, prefix),
            prefix_ignore_case: Prefixes::new(Case::Ignored, prefix_ignore_case),
            others: others.into(),
        }
    }

    /// The number of the first rule that matches.
    fn first(&self, rules: &[CompiledRule], request: &RequestView<'_>) -> Option<u32> {
        let condition = |number: u32| {
            let rule = rules.get(usize::try_from(number).ok()?)?;
            Some(&rule.condition)
        };
        let beyond_path =
            |number: u32| condition(number).is_some_and(|found| found.matches_beyond_path(request));
        let mut best = u32::MAX;
        let consider = |numbers: &[u32], best: &mut u32| {
            let mut earlier = numbers.iter().copied().take_while(|number| *number < *best);
            if let Some(number) = earlier.find(|number| beyond_path(*number)) {
                *best = number;
            }
        };
        if let Some(numbers) = self.exact.get(request.path) {
            consider(numbers, &mut best);
        }
        if let Some(numbers) = self.exact_in_any_case(request.path) {
            consider(numbers, &mut best);
        }
        for prefixes in [&self.prefix, &self.prefix_ignore_case] {
            for found in prefixes.of(request.path) {
                if found.lowest >= best {
                    break;
                }
                // Where the lowest of all matches, nothing else is asked.
                if beyond_path(found.lowest) {
                    best = found.lowest;
                    break;
                }
                consider(found.rules, &mut best);
            }
        }
        let mut earlier = self
            .others
            .iter()
            .copied()
            .take_while(|number| *number < best);
        let other =
            earlier.find(|number| condition(*number).is_some_and(|found| found.matches(request)));
        other.or_else(|| Some(best).filter(|best| *best < u32::MAX))
    }

    fn exact_in_any_case(&self, path: &str) -> Option<&[u32]> {
        let lower = || path.bytes().map(|byte| byte.to_ascii_lowercase());
        let position = self
            .exact_ignore_case
            .binary_search_by(|(text, _)| text.bytes().cmp(lower()))
            .ok()?;
        Some(&self.exact_ignore_case.get(position)?.1)
    }
}

/// Whether a condition takes every request with a path of its list.
fn answers_all(condition: &Condition) -> bool {
    condition.is_path_only() && !matches!(condition.uri, Some(Text::Regex(_) | Text::Never))
}

fn lower(text: &str) -> Box<str> {
    text.to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests;
