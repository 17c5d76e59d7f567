//! Routes that no request reaches, since earlier ones take every request that they match.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::implication::{covers, is_any_path, literal_start};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{CompiledRegexes, DocumentSet, HttpMatch, HttpRule, VirtualService};
use crate::route::{Condition, Listener, MESH, Text, condition, qualified_gateway};
use crate::source::Location;

/// So many earlier matches are compared with a later one; what lies beyond is not looked at.
const MOST_COMPARED: usize = 1_000;
/// So many characters of a path are looked up as prefixes.
const LONGEST_PREFIX: usize = 512;

/// Finds rules and matches that are never reached.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for document in &documents.virtual_services {
        in_document(document, &documents.regexes, found);
    }
}

/// One match of one rule.
struct Entry<'a> {
    rule: usize,
    /// Its place in the rule's `match`; none for a rule without.
    position: Option<usize>,
    found: Option<&'a HttpMatch>,
    condition: Condition,
    gateways: BTreeSet<String>,
    callers: Option<Callers<'a>>,
}

/// The callers that a match is for.
struct Callers<'a> {
    labels: &'a BTreeMap<String, String>,
    namespace: Option<&'a str>,
}

impl Entry<'_> {
    /// Whether every request of `other` would be one of this match.
    fn covers(&self, other: &Self) -> bool {
        let callers = match (&self.callers, &other.callers) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => {
                own.labels
                    .iter()
                    .all(|(name, value)| theirs.labels.get(name) == Some(value))
                    && own
                        .namespace
                        .is_none_or(|own| theirs.namespace == Some(own))
            }
        };
        callers
            && other.gateways.is_subset(&self.gateways)
            && covers(&self.condition, &other.condition)
    }

    fn at(&self, rule: &HttpRule) -> Location {
        let found = self.found;
        let uri = found
            .and_then(|found| found.uri.as_ref())
            .map(|uri| &uri.at);
        let method = found
            .and_then(|found| found.method.as_ref())
            .map(|method| &method.at);
        let header = found
            .and_then(|found| found.headers.values().next())
            .map(|header| &header.at);
        uri.or(method).or(header).unwrap_or(&rule.at).clone()
    }
}

fn in_document(document: &VirtualService, regexes: &CompiledRegexes, found: &mut Vec<Diagnostic>) {
    if document.http.len() < 2 && document.http.iter().all(|rule| rule.matches.len() < 2) {
        return;
    }
    let entries = entries(document, regexes);
    let mut earlier = Earlier::default();
    // Which entry takes the requests of each, if one does.
    let mut taken: Vec<Option<usize>> = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let by = earlier.candidates(&entry.condition, |candidate| {
            entries
                .get(candidate)
                .is_some_and(|earlier| earlier.covers(entry))
        });
        taken.push(by);
        if by.is_none() {
            earlier.add(number, &entry.condition);
        }
    }
    report(document, &entries, &taken, found);
}

fn entries<'a>(document: &'a VirtualService, regexes: &CompiledRegexes) -> Vec<Entry<'a>> {
    let namespace = &document.meta.namespace;
    let qualified = |names: &[crate::document::Spanned<String>]| -> BTreeSet<String> {
        let name = |name: &crate::document::Spanned<String>| {
            if name.value == MESH {
                MESH.to_owned()
            } else {
                qualified_gateway(name, namespace)
            }
        };
        names.iter().map(name).collect()
    };
    let mut own = qualified(&document.gateways);
    if own.is_empty() {
        own.insert(MESH.to_owned());
    }
    let listener = Listener {
        port: None,
        gateway: "",
        source: None,
    };
    let mut entries = Vec::new();
    for (rule, document_rule) in document.http.iter().enumerate() {
        if document_rule.matches.is_empty() {
            entries.push(Entry {
                rule,
                position: None,
                found: None,
                condition: Condition::default(),
                gateways: own.clone(),
                callers: None,
            });
        }
        for (position, matched) in document_rule.matches.iter().enumerate() {
            let named = !matched.gateways.is_empty();
            let restricted =
                !matched.source_labels.is_empty() || matched.source_namespace.is_some();
            entries.push(Entry {
                rule,
                position: Some(position),
                found: Some(matched),
                condition: condition(matched, listener, &regexes.0),
                gateways: if named {
                    qualified(&matched.gateways)
                } else {
                    own.clone()
                },
                // A match that names gateways is not asked about its caller.
                callers: (restricted && !named).then_some(Callers {
                    labels: &matched.source_labels,
                    namespace: matched.source_namespace.as_deref(),
                }),
            });
        }
    }
    entries
}

/// Earlier matches by what they ask of the path.
#[derive(Default)]
struct Earlier {
    exact: HashMap<Box<str>, Vec<usize>>,
    prefix: HashMap<Box<str>, Vec<usize>>,
    others: Vec<usize>,
}

impl Earlier {
    fn add(&mut self, number: usize, condition: &Condition) {
        let list = match &condition.uri {
            Some(Text::Exact(path)) => self.exact.entry(path.clone()).or_default(),
            Some(Text::Prefix(path)) if !is_any_path(condition) => {
                self.prefix.entry(path.clone()).or_default()
            }
            _ => &mut self.others,
        };
        list.push(number);
    }

    /// The first of those that might cover a condition that does.
    fn candidates(&self, condition: &Condition, does: impl Fn(usize) -> bool) -> Option<usize> {
        let exact = match &condition.uri {
            Some(Text::Exact(path)) => self.exact.get(path),
            _ => None,
        };
        let start = condition
            .uri
            .as_ref()
            .and_then(literal_start)
            .unwrap_or_default();
        let prefixes = (1..=start.len().min(LONGEST_PREFIX))
            .filter_map(|end| self.prefix.get(start.get(..end)?));
        let lists = exact.into_iter().chain(prefixes).chain([&self.others]);
        let candidates = lists.flatten().copied().take(MOST_COMPARED);
        candidates.filter(|candidate| does(*candidate)).min()
    }
}

fn report(
    document: &VirtualService,
    entries: &[Entry<'_>],
    taken: &[Option<usize>],
    found: &mut Vec<Diagnostic>,
) {
    for (number, rule) in document.http.iter().enumerate() {
        let own = || {
            entries
                .iter()
                .zip(taken)
                .filter(|(entry, _)| entry.rule == number)
        };
        // A match beside which another one of the same rule has no effect is no reason to call the rule unreachable.
        let by_earlier = |by: usize| {
            entries
                .get(by)
                .filter(|earlier| earlier.rule < number)
                .and_then(|earlier| document.http.get(earlier.rule))
        };
        let takers: Option<Vec<&HttpRule>> = own().map(|(_, by)| by_earlier((*by)?)).collect();
        if let Some([first, ..]) = takers.as_deref() {
            found.push(unreachable(rule, first));
            continue;
        }
        for (entry, by) in own() {
            let Some(by) = by.and_then(|by| entries.get(by)) else {
                continue;
            };
            let Some(taker) = document.http.get(by.rule) else {
                continue;
            };
            let place = if by.rule == number {
                "another match of this rule".to_owned()
            } else {
                format!("the route at {}", taker.at)
            };
            let message =
                format!("this match has no effect: {place} takes every request that it matches");
            let path = rule
                .path
                .field("match")
                .index(entry.position.unwrap_or_default());
            found.push(
                Diagnostic::warning(codes::SHADOWED_MATCH, entry.at(rule), path, message)
                    .with_help("move it in front, or remove it"),
            );
        }
    }
}

fn unreachable(rule: &HttpRule, by: &HttpRule) -> Diagnostic {
    let everything = by.matches.is_empty();
    let why = if everything {
        format!("the route at {} takes every request", by.at)
    } else {
        format!("the route at {} takes every request that it matches", by.at)
    };
    let message = format!("this route is never reached: {why}");
    Diagnostic::warning(
        codes::UNREACHABLE_ROUTE,
        rule.at.clone(),
        &rule.path,
        message,
    )
    .with_help("the first match wins: put the more special route in front, or remove it")
}
