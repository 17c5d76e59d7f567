//! From a request's host to its list of rules: exact, then the longest wildcard, then `*`.

use std::collections::HashMap;

use super::rule_list::RuleList;
use super::{HttpRoute, RequestView, RouteTable, TableKind};
use crate::host::{HostPattern, split_port};

/// Where a rule list stands in its table.
pub(crate) type ListIndex = u32;

/// Rule lists by host.
#[derive(Debug, Default)]
pub(crate) struct HostTable {
    exact: HashMap<Box<str>, ListIndex>,
    /// By the text behind the star, with its dot.
    suffixes: HashMap<Box<str>, ListIndex>,
    any: Option<ListIndex>,
}

impl HostTable {
    /// Gives a pattern its list; the list that was there before, if any, stays.
    pub(crate) fn insert(&mut self, pattern: &HostPattern, list: ListIndex) {
        match pattern {
            HostPattern::Exact(host) => {
                self.exact.entry(host.clone()).or_insert(list);
            }
            HostPattern::Suffix(suffix) => {
                self.suffixes.entry(suffix.clone()).or_insert(list);
            }
            HostPattern::Any => {
                self.any.get_or_insert(list);
            }
        }
    }

    /// Every pattern with its list, the more exact ones first.
    pub(crate) fn patterns(&self) -> Vec<(HostPattern, ListIndex)> {
        let mut exact: Vec<_> = self.exact.iter().collect();
        let mut suffixes: Vec<_> = self.suffixes.iter().collect();
        exact.sort();
        suffixes.sort_by(|(a, _), (b, _)| (b.len(), a).cmp(&(a.len(), b)));
        let exact = exact
            .into_iter()
            .map(|(host, list)| (HostPattern::Exact(host.clone()), *list));
        let suffixes = suffixes
            .into_iter()
            .map(|(suffix, list)| (HostPattern::Suffix(suffix.clone()), *list));
        let any = self.any.map(|list| (HostPattern::Any, list));
        exact.chain(suffixes).chain(any).collect()
    }

    /// The list of a host in lower case without port.
    pub(crate) fn get(&self, host: &str) -> Option<ListIndex> {
        if let Some(list) = self.exact.get(host) {
            return Some(*list);
        }
        if !self.suffixes.is_empty() {
            // From left to right the suffixes grow shorter, so the first hit is the longest. A star stands for one
            // character at least.
            let dots = host.char_indices().skip(1).filter(|(_, c)| *c == '.');
            for (dot, _) in dots {
                if let Some(list) = host.get(dot..).and_then(|suffix| self.suffixes.get(suffix)) {
                    return Some(*list);
                }
            }
        }
        self.any
    }
}

/// The route of a request.
pub(super) fn find<'a>(table: &'a RouteTable, request: &RequestView<'_>) -> Option<&'a HttpRoute> {
    rules(table, request)?
        .find(request)
        .map(|rule| &*rule.route)
}

/// The rules of a request's host on its port, in order.
pub(super) fn rules<'a>(table: &'a RouteTable, request: &RequestView<'_>) -> Option<&'a RuleList> {
    let (host, named_port) = split_port(request.host);
    let port = match table.kind {
        TableKind::Gateway => Some(request.port),
        TableKind::Sidecar => named_port,
    };
    let of_port = port.and_then(|port| {
        let position = table
            .listeners
            .binary_search_by_key(&port, |(number, _)| *number)
            .ok()?;
        table.listeners.get(position)?.1.get(host)
    });
    let list = match (of_port, table.kind, port) {
        (Some(list), _, _) => list,
        // On a sidecar: hosts without a port, and hosts that are no declared service.
        (None, TableKind::Sidecar, None) => table
            .portless
            .get(host)
            .or_else(|| table.anywhere.get(host))?,
        (None, TableKind::Sidecar, Some(_)) => table.anywhere.get(host)?,
        (None, TableKind::Gateway, _) => return None,
    };
    table
        .rules
        .get(usize::try_from(list).ok()?)
        .map(|rules| &**rules)
}
