//! Redirects that lead to themselves, and faults that never happen.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{
    CompiledRegexes, DocumentSet, Gateway, HttpMatch, HttpRedirect, HttpRule, VirtualService,
};
use crate::listener::is_tls;
use crate::registry::Registry;
use crate::route::{Listener, bound_hosts, condition, qualified_gateway};

/// Finds redirects whose answer sends the client to the same route again.
pub(super) fn advise(documents: &DocumentSet, registry: &Registry, found: &mut Vec<Diagnostic>) {
    let gateways: HashMap<String, &Gateway> = documents
        .gateways
        .iter()
        .map(|gateway| (gateway.meta.qualified(), &**gateway))
        .collect();
    for document in &documents.virtual_services {
        for (position, rule) in document.http.iter().enumerate() {
            let Some(redirect) = &rule.redirect else {
                continue;
            };
            let earlier = document.http.get(..position).unwrap_or_default();
            let why = if redirect.authority.is_some() || redirect.port.is_some() {
                None
            } else if redirect.scheme.is_none() {
                same_path(redirect, rule, earlier, &documents.regexes)
            } else {
                same_scheme(redirect, rule, document, &gateways, registry)
            };
            found.extend(why.map(|why| looping(redirect, rule, &why)));
        }
    }
}

/// The new path is matched by this very route, and by no earlier one.
fn same_path(
    redirect: &HttpRedirect,
    rule: &HttpRule,
    earlier: &[HttpRule],
    regexes: &CompiledRegexes,
) -> Option<String> {
    let target = redirect.uri.as_deref()?;
    let path = target.split(['?', '#']).next()?;
    let path_fits = |found: &HttpMatch| {
        condition(found, ANYWHERE, &regexes.0)
            .uri
            .is_none_or(|uri| uri.matches(path.as_bytes()))
    };
    let comes_back = rule.matches.is_empty() || rule.matches.iter().all(path_fits);
    let elsewhere = earlier
        .iter()
        .any(|rule| rule.matches.is_empty() || rule.matches.iter().any(path_fits));
    (comes_back && !elsewhere).then(|| format!("`{target}` is matched by this route again"))
}

/// `https` is asked for where the request may have come by TLS already.
fn same_scheme(
    redirect: &HttpRedirect,
    rule: &HttpRule,
    document: &VirtualService,
    gateways: &HashMap<String, &Gateway>,
    registry: &Registry,
) -> Option<String> {
    if redirect.scheme.as_deref() != Some("https") || redirect.uri.is_some() {
        return None;
    }
    let restricted = |found: &HttpMatch| {
        found.scheme.is_some()
            || found.port.is_some()
            || !found.gateways.is_empty()
            || !found.headers.is_empty()
    };
    if rule.matches.iter().any(restricted) {
        return None;
    }
    let mut seen = HashSet::new();
    let namespace = &document.meta.namespace;
    let own = document
        .gateways
        .iter()
        .map(|name| qualified_gateway(name, namespace))
        .filter(|name| seen.insert(name.clone()));
    let server = own
        .filter_map(|name| gateways.get(&name))
        .flat_map(|gateway| gateway.servers.iter().map(move |server| (gateway, server)))
        .filter(|(_, server)| is_tls(*server.port.protocol))
        .find(|(gateway, server)| !bound_hosts(gateway, server, document, registry).is_empty());
    let (_, server) = server?;
    Some(format!(
        "requests on the {} port {} come back to it",
        server.port.protocol, server.port.number
    ))
}

const ANYWHERE: Listener<'static> = Listener {
    port: None,
    gateway: "",
    source: None,
};

fn looping(redirect: &HttpRedirect, rule: &HttpRule, why: &str) -> Diagnostic {
    let message = format!("this redirect never ends: {why}");
    let path = rule.path.field("redirect");
    let help = if redirect.scheme.is_some() {
        "match `scheme: {exact: http}`, or set `tls.httpsRedirect` on the plaintext server instead"
    } else {
        "exclude the new path from the match, or put a route for it in front"
    };
    Diagnostic::warning(codes::REDIRECT_LOOP, redirect.at.clone(), path, message).with_help(help)
}
