//! Whether a route may hand its requests to the document that it names.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HttpRule, VirtualService};
use crate::nearest::nearest;
use crate::route::merge_matches;

/// After so many findings the cause is a missing file, not a typing mistake.
const MAX_SUGGESTIONS: usize = 50;

/// Finds delegates that do not exist, or that cannot be any.
pub(super) fn check(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    let mut suggestions = MAX_SUGGESTIONS;
    let mut used: HashSet<String> = HashSet::new();
    let mut by_name: Option<HashMap<String, &VirtualService>> = None;
    for document in &documents.virtual_services {
        for rule in &document.http {
            let Some(delegate) = &rule.delegate else {
                continue;
            };
            let by_name = by_name.get_or_insert_with(|| {
                let named = documents.virtual_services.iter();
                named
                    .map(|document| (document.meta.qualified(), &**document))
                    .collect()
            });
            let name = if delegate.contains('/') {
                delegate.value.clone()
            } else {
                format!("{}/{}", document.meta.namespace, delegate.value)
            };
            let (at, path) = (delegate.at.clone(), &delegate.path);
            let Some(target) = by_name.get(&name) else {
                let message = format!("no document declares the delegate `{name}`");
                suggestions = suggestions.saturating_sub(1);
                let near = if suggestions > 0 {
                    let mut delegates: Vec<&str> = by_name
                        .iter()
                        .filter(|(_, document)| document.hosts.is_empty())
                        .map(|(name, _)| name.as_str())
                        .collect();
                    delegates.sort_unstable();
                    nearest(&name, delegates).map(str::to_owned)
                } else {
                    None
                };
                let help = near.map(|name| format!("did you mean `{name}`?"));
                found.push(
                    Diagnostic::error(codes::UNKNOWN_DELEGATE, at, path, message)
                        .with_help_if(help),
                );
                continue;
            };
            let (problem, help) = if !target.hosts.is_empty() {
                (
                    "has hosts of its own",
                    "remove `hosts` and `gateways` from it",
                )
            } else if target.http.iter().any(|rule| rule.delegate.is_some()) {
                (
                    "delegates further",
                    "delegation has one level: write its routes into it",
                )
            } else {
                used.insert(name);
                dropped(rule, document, target, found);
                continue;
            };
            let message = format!(
                "`{name}` at {} is no delegate: it {problem}",
                target.meta.at
            );
            found.push(Diagnostic::error(codes::BAD_DELEGATE, at, path, message).with_help(help));
        }
    }
    for document in &documents.virtual_services {
        // One that names gateways has forgotten its hosts, and an error about that.
        let is_delegate = document.hosts.is_empty() && document.gateways.is_empty();
        if is_delegate && !used.contains(&document.meta.qualified()) {
            let message = format!(
                "{} has no hosts, and no route delegates to it: it has no effect",
                document.meta
            );
            let at = document.meta.at.clone();
            found.push(
                Diagnostic::warning(codes::UNUSED_DELEGATE, at, "", message)
                    .with_help("name it in a route's `delegate`, or give it `hosts`"),
            );
        }
    }
}

/// Rules of a delegate that are for no request of the route that delegates: Istio drops them silently.
fn dropped(
    rule: &HttpRule,
    document: &VirtualService,
    target: &VirtualService,
    found: &mut Vec<Diagnostic>,
) {
    for own in &target.http {
        let merged = merge_matches(
            (&rule.matches, &document.meta.namespace),
            (&own.matches, &target.meta.namespace),
        );
        if merged.is_none() {
            let message = format!(
                "this route gets no request from {} at {}: one of its matches is within none of the matches there",
                document.meta, rule.at
            );
            let help = "each match has to narrow one of the delegating route: the same headers, a longer prefix; \
                        regular expressions cannot be narrowed";
            let at = own.at.clone();
            found.push(
                Diagnostic::warning(codes::DELEGATE_ROUTE_DROPPED, at, &own.path, message)
                    .with_help(help),
            );
        }
    }
}
