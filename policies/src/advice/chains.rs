//! Chains of calls: retries that multiply, and limits that a caller further out has passed long before.
//!
//! Who calls whom is known from ALLOW policies that name callers exactly: the workloads with the identity of a caller
//! are a service, and the workloads that the policy selects are another one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::timeouts::shown;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{
    AuthorizationAction, AuthorizationPolicy, DocumentSet, HttpRetry, HttpRule, Source, Spanned,
};
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};
use crate::route::{Owners, is_bound_to_mesh};

/// From so many requests for one on, multiplied retries are reported.
const MANY: u64 = 9;
/// Longer chains are not followed.
const LONGEST: usize = 8;

/// Finds retries that multiply along a chain, and time limits above those of every caller.
pub(super) fn advise(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let chains = Chains::new(documents, registry, mesh);
    if chains.callers.is_empty() {
        return;
    }
    for service in registry.services() {
        let host = &*service.host;
        found.extend(chains.multiplied(host));
        found.extend(chains.above_callers(host));
    }
}

/// What routes say about requests to one service.
#[derive(Default)]
struct Routes<'a> {
    /// The most tries of a route inside the mesh, where it says so.
    retries: Option<&'a Spanned<HttpRetry>>,
    /// The most tries of a route at a gateway.
    at_gateways: u64,
    /// Limits inside the mesh.
    limits: Vec<&'a Spanned<Duration>>,
    /// The largest limit of any route that leads here; none if one has no limit.
    longest: Option<Duration>,
    unlimited: bool,
}

struct Chains<'a> {
    names: HashMap<&'a str, &'a str>,
    routes: HashMap<&'a str, Routes<'a>>,
    /// Who calls a service, by canonical host.
    callers: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Chains<'a> {
    fn new(documents: &'a DocumentSet, registry: &'a Registry, mesh: &'a Mesh) -> Self {
        let names = registry
            .services()
            .map(|service| (&*service.host, &*service.name))
            .collect();
        Self {
            names,
            routes: routes(documents, registry, mesh),
            callers: callers(documents, registry, mesh),
        }
    }

    fn own_tries(&self, host: &str) -> u64 {
        let retries = self.routes.get(host).and_then(|routes| routes.retries);
        retries.map_or(1, |retries| u64::from(retries.attempts) + 1)
    }

    /// The most requests that one request from outside may become, with the chain and its tries.
    fn most(&self, host: &'a str, seen: &mut Vec<&'a str>) -> (u64, Vec<(&'a str, u64)>) {
        let outside = self
            .routes
            .get(host)
            .map_or(1, |routes| routes.at_gateways.max(1));
        let mut best = (outside, vec![(host, outside)]);
        if seen.len() >= LONGEST || seen.contains(&host) {
            return best;
        }
        seen.push(host);
        let own = self.own_tries(host);
        for caller in self.callers.get(host).into_iter().flatten() {
            if seen.contains(caller) {
                continue;
            }
            let (before, mut chain) = self.most(caller, seen);
            let total = before.saturating_mul(own);
            if total > best.0 || (total == best.0 && chain.len() >= best.1.len()) {
                chain.push((host, own));
                best = (total, chain);
            }
        }
        seen.pop();
        best
    }

    fn multiplied(&self, host: &'a str) -> Option<Diagnostic> {
        let retries = self.routes.get(host)?.retries?;
        if retries.attempts == 0 || !self.callers.contains_key(host) {
            return None;
        }
        let (total, chain) = self.most(host, &mut Vec::new());
        let retrying = chain.iter().filter(|(_, tries)| *tries > 1).count();
        if retrying < 2 || total < MANY || chain.last().is_none_or(|(last, _)| *last != host) {
            return None;
        }
        let hops: Vec<&str> = chain.iter().map(|(host, _)| self.name(host)).collect();
        let product: Vec<String> = chain
            .iter()
            .filter(|(_, tries)| *tries > 1)
            .map(|(_, tries)| tries.to_string())
            .collect();
        let message = format!(
            "retries multiply along {}: while `{}` fails, one request becomes {} = {total}",
            hops.join(" → "),
            self.name(host),
            product.join(" × ")
        );
        let (at, path) = (retries.at.clone(), &retries.path);
        Some(
            Diagnostic::warning(codes::RETRY_AMPLIFICATION, at, path, message)
                .with_help("retry at one place of a chain, best next to the service that fails"),
        )
    }

    fn above_callers(&self, host: &'a str) -> Vec<Diagnostic> {
        let limit_of = |caller: &&str| -> Option<Duration> {
            let routes = self
                .routes
                .get(*caller)
                .filter(|routes| !routes.unlimited)?;
            routes.longest
        };
        let callers = self.callers.get(host).into_iter().flatten();
        let Some(limits) = callers
            .map(|caller| Some((limit_of(caller)?, *caller)))
            .collect::<Option<Vec<_>>>()
        else {
            return Vec::new();
        };
        // Somebody with more patience makes the limit a good one.
        let Some((patience, caller)) = limits.into_iter().max() else {
            return Vec::new();
        };
        let own = self
            .routes
            .get(host)
            .into_iter()
            .flat_map(|routes| &routes.limits);
        own.filter(|limit| limit.value > patience)
            .map(|limit| {
                let message = format!(
                    "`{}` is given {} here, but whoever called `{}` has given up after {}",
                    self.name(host),
                    shown(limit.value),
                    self.name(caller),
                    shown(patience)
                );
                let help = "a call needs less time than the one that it is made for: lower this limit, or raise the caller's";
                let (at, path) = (limit.at.clone(), &limit.path);
                Diagnostic::warning(codes::TIMEOUT_ABOVE_CALLER, at, path, message).with_help(help)
            })
            .collect()
    }

    fn name(&self, host: &'a str) -> &'a str {
        self.names.get(host).copied().unwrap_or(host)
    }
}

fn routes<'a>(
    documents: &'a DocumentSet,
    registry: &'a Registry,
    mesh: &Mesh,
) -> HashMap<&'a str, Routes<'a>> {
    let owners = Owners::of_mesh(documents, registry, mesh);
    let mut routes: HashMap<&str, Routes<'_>> = HashMap::new();
    for document in &documents.virtual_services {
        let in_mesh = is_bound_to_mesh(document);
        let at_gateways = document
            .gateways
            .iter()
            .any(|name| name.value != crate::route::MESH);
        for rule in &document.http {
            for service in destinations(rule, &document.meta.namespace, registry) {
                let of_service = routes.entry(&service.host).or_default();
                of_service.add(rule, in_mesh, at_gateways);
            }
        }
    }
    for service in registry.services() {
        // Without a document there is no limit.
        if owners.of(service).next().is_none() && !routes.contains_key(&*service.host) {
            routes.entry(&service.host).or_default().unlimited = true;
        }
    }
    routes
}

impl<'a> Routes<'a> {
    fn add(&mut self, rule: &'a HttpRule, in_mesh: bool, at_gateways: bool) {
        let tries = |retries: &Spanned<HttpRetry>| u64::from(retries.attempts) + 1;
        if let Some(retries) = &rule.retries {
            if in_mesh && self.retries.is_none_or(|most| tries(most) < tries(retries)) {
                self.retries = Some(retries);
            }
            if at_gateways {
                self.at_gateways = self.at_gateways.max(tries(retries));
            }
        }
        match &rule.timeout {
            Some(limit) => {
                self.longest = self.longest.max(Some(limit.value));
                if in_mesh {
                    self.limits.push(limit);
                }
            }
            None => self.unlimited = true,
        }
    }
}

fn destinations<'a>(
    rule: &'a HttpRule,
    namespace: &'a str,
    registry: &'a Registry,
) -> impl Iterator<Item = &'a Service> {
    let mut seen = HashSet::new();
    rule.route
        .iter()
        .filter_map(|route| registry.lookup(&route.destination.host, namespace))
        .filter(move |service| seen.insert(&*service.host))
}

/// Callers by service, from the ALLOW policies that select workloads and name callers.
fn callers<'a>(
    documents: &'a DocumentSet,
    registry: &'a Registry,
    mesh: &'a Mesh,
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut by_identity: HashMap<(&str, &str), BTreeSet<&str>> = HashMap::new();
    let mut by_label: HashMap<(&str, &str, &str), Vec<&Service>> = HashMap::new();
    for service in registry.services() {
        for endpoint in service.endpoints.iter().map(|found| &found.endpoint) {
            let workload = &endpoint.workload;
            if !workload.service_account.is_empty() {
                let identity = (&*workload.namespace, &*workload.service_account);
                by_identity
                    .entry(identity)
                    .or_default()
                    .insert(&service.host);
            }
            for (name, value) in &endpoint.labels {
                let label = (&*workload.namespace, name.as_str(), value.as_str());
                let services = by_label.entry(label).or_default();
                if services.last().is_none_or(|last| last.host != service.host) {
                    services.push(service);
                }
            }
        }
    }
    let mut callers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for policy in &documents.authorization_policies {
        if policy.action.value != AuthorizationAction::Allow {
            continue;
        }
        let Some(selector) = &policy.selector else {
            continue;
        };
        // The first label finds candidates, the whole selector decides.
        let Some((name, value)) = selector.match_labels.iter().next() else {
            continue;
        };
        let key = (
            policy.meta.namespace.as_str(),
            name.as_str(),
            value.as_str(),
        );
        let selected = by_label.get(&key).into_iter().flatten().filter(|service| {
            let endpoints = service.endpoints.iter().map(|found| &found.endpoint);
            endpoints
                .filter(|endpoint| *endpoint.workload.namespace == policy.meta.namespace)
                .any(|endpoint| selector.matches(&endpoint.labels))
        });
        let named: BTreeSet<&str> = identities(policy, mesh)
            .filter_map(|identity| by_identity.get(&identity))
            .flatten()
            .copied()
            .collect();
        for service in selected {
            let others = named
                .iter()
                .copied()
                .filter(|caller| **caller != *service.host);
            let mut others = others.peekable();
            if others.peek().is_some() {
                callers.entry(&service.host).or_default().extend(others);
            }
        }
    }
    callers
}

/// The callers that a policy names exactly, as namespace and service account.
fn identities<'a>(
    policy: &'a AuthorizationPolicy,
    mesh: &'a Mesh,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let of_source = move |source: &'a Source| {
        let principals = source
            .principals
            .iter()
            .filter_map(|principal| principal_parts(principal, mesh));
        let accounts = source.service_accounts.iter().map(|account| {
            account
                .split_once('/')
                .unwrap_or((policy.meta.namespace.as_str(), account.as_str()))
        });
        principals.chain(accounts)
    };
    policy
        .rules
        .iter()
        .flat_map(|rule| &rule.from)
        .flat_map(of_source)
}

/// `td/ns/<namespace>/sa/<account>` of our trust domain, without stars.
fn principal_parts<'a>(principal: &'a str, mesh: &Mesh) -> Option<(&'a str, &'a str)> {
    let mut parts = principal.split('/');
    let (domain, ns, namespace, sa, account) = (
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
    );
    let ours = domain == mesh.trust_domain
        || domain == "cluster.local"
        || mesh
            .trust_domain_aliases
            .iter()
            .any(|alias| alias == domain);
    let exact = parts.next().is_none() && !principal.contains('*');
    (ours && exact && ns == "ns" && sa == "sa").then_some((namespace, account))
}
