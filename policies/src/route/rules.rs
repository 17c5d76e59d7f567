//! The rules of one VirtualService, compiled for one listener.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use regex::bytes;

use super::delegation::{Delegates, Effective};
use super::matching::{Condition, Text};
use super::rule_list::CompiledRule;
use super::{
    ClaimPath, Cors, DirectResponse, Fault, HeaderOps, HttpRoute, Mirror, PathRewrite, Redirect,
    Rewrite, RouteAction, Share, WeightedCluster, WeightedClusters, retries,
};
use crate::cluster::{ClusterBuilder, ClusterIndex};
use crate::decode::MAX_REGEX_SIZE;
use crate::document::{
    Destination, DocumentSet, HttpMatch, HttpRetry, HttpRewrite, RouteAnnotations, Spanned,
    StringMatch, VirtualService,
};
use crate::mesh::Mesh;
use crate::registry::{Registry, Service, ServicePort};
use crate::scope::Scope;
use crate::workload::Workload;

/// Where compiled rules will stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener<'a> {
    /// Its port, if it is known beforehand.
    pub(crate) port: Option<u16>,
    /// `namespace/name` of the gateway, or `mesh`.
    pub(crate) gateway: &'a str,
    /// The calling workload, for `sourceLabels`; none on gateways.
    pub(crate) source: Option<&'a Workload>,
}

/// What the rules of one proxy have in common while they are compiled.
#[derive(Debug)]
pub(super) struct RuleCompiler<'a> {
    pub(super) registry: &'a Registry,
    /// What the proxy sees.
    pub(super) scope: Scope<'a>,
    pub(super) clusters: ClusterBuilder<'a>,
    delegates: Delegates<'a>,
    /// Compiled when the documents were read.
    regexes: &'a BTreeMap<Arc<str>, Arc<bytes::Regex>>,
    /// Of rewrites, by their text.
    rewrites: HashMap<&'a str, regex::Regex>,
    /// The mesh's `defaultHttpRetryPolicy`.
    pub(super) retries: Option<&'a HttpRetry>,
}

impl<'a> RuleCompiler<'a> {
    pub(super) fn new(
        documents: &'a DocumentSet,
        registry: &'a Registry,
        scope: Scope<'a>,
        clusters: ClusterBuilder<'a>,
        mesh: &'a Mesh,
    ) -> Self {
        Self {
            registry,
            scope,
            clusters,
            delegates: Delegates::new(documents),
            regexes: &documents.regexes.0,
            rewrites: HashMap::new(),
            retries: mesh.default_http_retry_policy.as_ref(),
        }
    }
}

/// Compiles the rules of a document, in order.
pub(super) fn compile<'a>(
    document: &'a VirtualService,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'a>,
) -> Vec<CompiledRule> {
    let mut compiled = Vec::new();
    for rule in compiler.delegates.effective(document) {
        let everything = [HttpMatch::default()];
        let alternatives = if rule.matches.is_empty() {
            &everything[..]
        } else {
            &rule.matches
        };
        let mut alternatives = alternatives
            .iter()
            .filter(|found| holds(found, document, listener))
            .peekable();
        if alternatives.peek().is_none() {
            continue;
        }
        let base = Arc::new(route(&rule, listener, compiler));
        for found in alternatives {
            let route = match rule.rewrite {
                None => Arc::clone(&base),
                // What is rewritten is what this alternative matches.
                Some(rewrite) => Arc::new(HttpRoute {
                    rewrite: Some(self::rewrite(rewrite, found, &mut compiler.rewrites)),
                    ..HttpRoute::clone(&base)
                }),
            };
            let condition = condition(found, listener, compiler.regexes);
            let everything = condition.is_catch_all();
            compiled.push(CompiledRule { condition, route });
            if everything {
                // Nothing behind it is ever reached (Istio drops it too).
                return compiled;
            }
        }
    }
    compiled
}

/// What is known beforehand about a match: gateway, listener port, caller.
pub(crate) fn holds(found: &HttpMatch, document: &VirtualService, listener: Listener<'_>) -> bool {
    let namespace = &document.meta.namespace;
    let named = |gateway: &Spanned<String>| {
        gateway.value == listener.gateway
            || super::qualified_gateway(gateway, namespace) == listener.gateway
    };
    if !found.gateways.is_empty() && !found.gateways.iter().any(named) {
        return false;
    }
    let port = match (&found.port, listener.port) {
        (Some(wanted), Some(port)) => wanted.value == port,
        _ => true,
    };
    // As in Istio: a match that names gateways is not asked about its caller.
    let caller = match listener.source {
        Some(source) if found.gateways.is_empty() => {
            found
                .source_labels
                .iter()
                .all(|(name, value)| source.labels.get(name) == Some(value))
                && found
                    .source_namespace
                    .as_ref()
                    .is_none_or(|namespace| *namespace == source.namespace)
        }
        _ => true,
    };
    port && caller
}

/// What a rule does, for all of its matches.
fn route(
    rule: &Effective<'_>,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> HttpRoute {
    // Falling through to later rules would send the requests somewhere that nobody asked for.
    let action = action(rule, listener, compiler)
        .unwrap_or_else(|| unavailable(b"the route has no destination"));
    let mirrors = rule.mirrors.iter().filter_map(|mirror| {
        let share = Share::of_percent(mirror.percentage);
        let cluster = cluster(&mirror.destination, rule.document, listener, compiler)?;
        (!share.is_none()).then_some(Mirror { cluster, share })
    });
    let mirrors = mirrors.collect();
    let cors = rule.cors.map(|cors| {
        let origins = cors.allow_origins.iter();
        let origins = origins.map(|origin| text(origin, Case::Exact, compiler.regexes));
        Arc::new(Cors::compile(cors, origins.collect()))
    });
    let annotations = RouteAnnotations::of(&rule.document.meta);
    HttpRoute {
        name: rule.name.as_deref().map(Arc::from),
        timeout: rule.timeout,
        retry: retries::compile(rule.retries, compiler.retries, annotations),
        deadline: annotations.deadline,
        request_headers: HeaderOps::compile(&rule.headers.request),
        response_headers: HeaderOps::compile(&rule.headers.response),
        fault: rule.fault.and_then(Fault::compile),
        cors,
        mirrors,
        ..HttpRoute::new(
            rule.document.meta.qualified().into(),
            rule.at.clone(),
            action,
        )
    }
}

fn action(
    rule: &Effective<'_>,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> Option<RouteAction> {
    if let Some(redirect) = rule.redirect {
        return Some(RouteAction::Redirect(Redirect {
            status: StatusCode::from_u16(redirect.code).ok()?,
            scheme: redirect.scheme.as_deref().map(Box::from),
            authority: redirect.authority.as_deref().map(Box::from),
            port: redirect.port,
            path: redirect.uri.as_deref().map(Box::from),
        }));
    }
    if let Some(response) = rule.direct_response {
        return Some(RouteAction::DirectResponse(DirectResponse {
            status: StatusCode::from_u16(response.status).ok()?,
            body: response.body.as_slice().into(),
        }));
    }
    let single = rule.route.len() == 1;
    let mut weighted = Vec::new();
    for destination in rule.route {
        let cluster = cluster(&destination.destination, rule.document, listener, compiler)?;
        weighted.push(WeightedCluster {
            cluster,
            weight: if single { 1 } else { destination.weight },
            request_headers: HeaderOps::compile(&destination.headers.request),
            response_headers: HeaderOps::compile(&destination.headers.response),
        });
    }
    WeightedClusters::new(weighted).map(RouteAction::Forward)
}

/// An answer in place of a destination.
fn unavailable(body: &[u8]) -> RouteAction {
    RouteAction::DirectResponse(DirectResponse {
        status: StatusCode::SERVICE_UNAVAILABLE,
        body: body.into(),
    })
}

/// The cluster of a destination; what it refers to has been checked.
fn cluster(
    destination: &Destination,
    document: &VirtualService,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> Option<ClusterIndex> {
    let registry = compiler.registry;
    let service = registry.lookup(&destination.host, &document.meta.namespace)?;
    if !compiler.scope.exports(service) {
        return None;
    }
    let port = match &destination.port {
        Some(number) => service.port(**number)?,
        None => implied_port(service, listener.port)?,
    };
    compiler
        .clusters
        .cluster(service, port, destination.subset.as_ref())
}

/// The service's only HTTP port, else the listener's.
pub(crate) fn implied_port(service: &Service, listener: Option<u16>) -> Option<&ServicePort> {
    let mut http = service.ports.iter().filter(|port| port.protocol.is_http());
    match (http.next(), http.next()) {
        (Some(only), None) => Some(only),
        _ => service
            .port(listener?)
            .filter(|port| port.protocol.is_http()),
    }
}

/// The conditions of a match, without those that are known beforehand.
pub(crate) fn condition(
    found: &HttpMatch,
    listener: Listener<'_>,
    regexes: &BTreeMap<Arc<str>, Arc<bytes::Regex>>,
) -> Condition {
    let text_of = |found: &StringMatch, case: Case| text(found, case, regexes);
    let plain = |text: &Option<Spanned<StringMatch>>| {
        text.as_ref().map(|found| text_of(found, Case::Exact))
    };
    let lower = |text: &Option<Spanned<StringMatch>>| {
        text.as_ref().map(|found| text_of(found, Case::Lower))
    };
    let uri_case = if found.ignore_uri_case {
        Case::Ignored
    } else {
        Case::Exact
    };
    let headers = |headers: &BTreeMap<String, Spanned<StringMatch>>| {
        headers
            .iter()
            .filter_map(|(name, found)| Some((name.parse().ok()?, text_of(found, Case::Exact))))
            .collect()
    };
    let claims = |headers: &BTreeMap<String, Spanned<StringMatch>>| {
        headers
            .iter()
            .filter_map(|(name, found)| {
                Some((ClaimPath::parse(name)?, text_of(found, Case::Exact)))
            })
            .collect()
    };
    Condition {
        uri: found.uri.as_ref().map(|uri| text_of(uri, uri_case)),
        scheme: plain(&found.scheme),
        method: plain(&found.method),
        // Hosts are compared in lower case, as requests come in.
        authority: lower(&found.authority),
        port: found
            .port
            .as_ref()
            .map(|port| port.value)
            .filter(|_| listener.port.is_none()),
        headers: headers(&found.headers),
        without_headers: headers(&found.without_headers),
        claims: claims(&found.headers),
        without_claims: claims(&found.without_headers),
        query_params: found
            .query_params
            .iter()
            .map(|(name, found)| (name.as_str().into(), text_of(found, Case::Exact)))
            .collect(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Exact,
    Lower,
    Ignored,
}

/// A comparison.
fn text(found: &StringMatch, case: Case, regexes: &BTreeMap<Arc<str>, Arc<bytes::Regex>>) -> Text {
    let plain = |text: &str| -> Box<str> {
        if case == Case::Lower {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        }
    };
    match (found, case) {
        (StringMatch::Exact(text), Case::Ignored) => Text::ExactIgnoreCase(plain(text)),
        (StringMatch::Exact(text), _) => Text::Exact(plain(text)),
        (StringMatch::Prefix(text), Case::Ignored) => Text::PrefixIgnoreCase(plain(text)),
        (StringMatch::Prefix(text), _) => Text::Prefix(plain(text)),
        // All of them were compiled at load; a condition must never vanish.
        (StringMatch::Regex(pattern), _) => regexes
            .get(pattern.as_str())
            .map_or(Text::Never, |regex| Text::Regex(Arc::clone(regex))),
        (StringMatch::Present, _) => Text::Present,
    }
}

/// A rewrite, tied to the path condition of its match.
fn rewrite<'a>(
    rewrite: &'a HttpRewrite,
    found: &HttpMatch,
    compiled: &mut HashMap<&'a str, regex::Regex>,
) -> Rewrite {
    let path = match (&rewrite.uri, &rewrite.regex) {
        (Some(uri), _) => Some(match found.uri.as_ref().map(|uri| &uri.value) {
            Some(StringMatch::Prefix(prefix)) => PathRewrite::Prefix {
                matched: prefix.len(),
                with: uri.as_str().into(),
            },
            Some(StringMatch::Exact(_) | StringMatch::Regex(_)) => {
                PathRewrite::Full(uri.as_str().into())
            }
            // No condition on the path is the prefix `/`.
            None | Some(StringMatch::Present) => PathRewrite::Prefix {
                matched: 1,
                with: uri.as_str().into(),
            },
        }),
        (None, Some(regex)) => {
            rewriting(&regex.pattern, compiled).map(|pattern| PathRewrite::Regex {
                pattern,
                with: substitution(&regex.rewrite).into(),
            })
        }
        (None, None) => None,
    };
    let authority = rewrite
        .authority
        .as_deref()
        .and_then(|host| HeaderValue::from_str(host).ok());
    Rewrite { path, authority }
}

/// The expression of a rewrite, which need not match the whole path; known to be good since load.
fn rewriting<'a>(
    pattern: &'a str,
    compiled: &mut HashMap<&'a str, regex::Regex>,
) -> Option<regex::Regex> {
    if let Some(regex) = compiled.get(pattern) {
        return Some(regex.clone());
    }
    let regex = regex::RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_SIZE + 1024)
        .build()
        .ok()?;
    compiled.insert(pattern, regex.clone());
    Some(regex)
}

/// RE2's `\1` as the regex crate's `${1}`; `\\` is a backslash, `$` is itself.
fn substitution(rewrite: &str) -> String {
    let mut with = String::new();
    let mut characters = rewrite.chars();
    while let Some(c) = characters.next() {
        match c {
            '$' => with.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    with.push_str("${");
                    with.push(digit);
                    with.push('}');
                }
                Some('\\') | None => with.push('\\'),
                Some(other) => {
                    with.push('\\');
                    with.push(other);
                }
            },
            c => with.push(c),
        }
    }
    with
}

/// The route of a service that no VirtualService is about: no timeout, the mesh's retries, no changes.
pub(super) fn default_rule(
    service: &Service,
    cluster: ClusterIndex,
    retries: Option<&HttpRetry>,
) -> Option<CompiledRule> {
    let only = WeightedCluster {
        cluster,
        weight: 1,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    };
    let action = RouteAction::Forward(WeightedClusters::new(vec![only])?);
    Some(CompiledRule {
        condition: Condition::default(),
        route: Arc::new(HttpRoute {
            name: Some("default".into()),
            retry: retries::compile(None, retries, RouteAnnotations::default()),
            ..HttpRoute::new(Arc::clone(&service.host), service.at.clone(), action)
        }),
    })
}
