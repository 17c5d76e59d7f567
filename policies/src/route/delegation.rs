//! Rules as they hold: those of a document itself, and in place of a rule that delegates those of its delegate, each
//! narrowed by it and with what it takes over from it (`delegate`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{MESH, qualified_gateway};
use crate::document::{
    CorsPolicy, DocumentSet, Headers, HttpDestination, HttpFault, HttpMatch, HttpRedirect,
    HttpRetry, HttpRewrite, HttpRule, Mirror, Spanned, StringMatch, VirtualService,
};
use crate::source::Location;

/// Documents without hosts, by qualified name.
#[derive(Debug, Default)]
pub(crate) struct Delegates<'a>(HashMap<String, &'a VirtualService>);

/// A rule, with what it takes over from the rule that delegates to it.
#[derive(Debug)]
pub(crate) struct Effective<'a> {
    /// The document that it is written in; its namespace completes short names.
    pub(crate) document: &'a VirtualService,
    pub(crate) at: &'a Location,
    pub(crate) name: Option<Cow<'a, str>>,
    pub(crate) matches: Cow<'a, [HttpMatch]>,
    pub(crate) route: &'a [HttpDestination],
    pub(crate) redirect: Option<&'a HttpRedirect>,
    pub(crate) direct_response: Option<&'a crate::document::DirectResponse>,
    pub(crate) rewrite: Option<&'a HttpRewrite>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<&'a HttpRetry>,
    pub(crate) fault: Option<&'a HttpFault>,
    pub(crate) mirrors: &'a [Spanned<Mirror>],
    pub(crate) cors: Option<&'a CorsPolicy>,
    pub(crate) headers: &'a Headers,
}

impl<'a> Delegates<'a> {
    pub(crate) fn new(documents: &'a DocumentSet) -> Self {
        let documents = documents.virtual_services.iter();
        let delegates = documents.filter(|document| document.hosts.is_empty());
        Self(
            delegates
                .map(|document| (document.meta.qualified(), &**document))
                .collect(),
        )
    }

    /// The delegate of a rule of `document`, if it is declared.
    pub(crate) fn of(
        &self,
        rule: &HttpRule,
        document: &VirtualService,
    ) -> Option<&'a VirtualService> {
        let name = rule.delegate.as_ref()?;
        if name.contains('/') {
            return self.0.get(&name.value).copied();
        }
        let name = format!("{}/{}", document.meta.namespace, name.value);
        self.0.get(&name).copied()
    }

    /// The rules of a document as they hold, in order. A rule whose delegate is not declared stays as it is.
    pub(crate) fn effective(&self, document: &'a VirtualService) -> Vec<Effective<'a>> {
        let mut rules = Vec::with_capacity(document.http.len());
        for rule in &document.http {
            let Some(delegate) = self.of(rule, document) else {
                rules.push(Effective::own(rule, document));
                continue;
            };
            let merged = delegate.http.iter();
            rules.extend(
                merged.filter_map(|own| Effective::merged((rule, document), own, delegate)),
            );
        }
        rules
    }
}

impl<'a> Effective<'a> {
    fn own(rule: &'a HttpRule, document: &'a VirtualService) -> Self {
        Self {
            document,
            at: &rule.at,
            name: rule.name.as_deref().map(Cow::Borrowed),
            matches: Cow::Borrowed(&rule.matches),
            route: &rule.route,
            redirect: rule.redirect.as_ref(),
            direct_response: rule.direct_response.as_ref(),
            rewrite: rule.rewrite.as_ref(),
            timeout: rule.timeout.as_ref().map(|timeout| timeout.value),
            retries: rule.retries.as_ref().map(|retries| &retries.value),
            fault: rule.fault.as_ref().map(|fault| &fault.value),
            mirrors: &rule.mirrors,
            cors: rule.cors.as_ref().map(|cors| &cors.value),
            headers: &rule.headers,
        }
    }

    /// The delegate's rule `own` under the rule `root`; none if it is for no request of it.
    fn merged(
        (root, document): (&'a HttpRule, &VirtualService),
        own: &'a HttpRule,
        delegate: &'a VirtualService,
    ) -> Option<Self> {
        let matches = merge_matches(
            (&root.matches, &document.meta.namespace),
            (&own.matches, &delegate.meta.namespace),
        )?;
        let inherited = Self::own(root, delegate);
        let own = Self::own(own, delegate);
        Some(Self {
            name: match (inherited.name, own.name) {
                (Some(root), Some(own)) => Some(format!("{root}-{own}").into()),
                (root, own) => own.or(root),
            },
            matches: matches.into(),
            rewrite: own.rewrite.or(inherited.rewrite),
            timeout: own.timeout.or(inherited.timeout),
            retries: own.retries.or(inherited.retries),
            fault: own.fault.or(inherited.fault),
            cors: own.cors.or(inherited.cors),
            mirrors: if own.mirrors.is_empty() {
                inherited.mirrors
            } else {
                own.mirrors
            },
            headers: if own.headers.is_empty() {
                inherited.headers
            } else {
                own.headers
            },
            ..own
        })
    }
}

/// Both conditions at once, for each pair that can hold together (`mergeHTTPMatchRequests` of Istio). None if one of the
/// delegate's matches is within none of the root's: then Istio drops the delegate's rule.
///
/// Both lists come with the namespace that their gateways are of.
pub(crate) fn merge_matches(
    roots: (&[HttpMatch], &str),
    own: (&[HttpMatch], &str),
) -> Option<Vec<HttpMatch>> {
    let located = |(matches, namespace): (&[HttpMatch], &str)| -> Vec<HttpMatch> {
        let matches = matches.iter();
        matches.map(|found| located(found, namespace)).collect()
    };
    let (roots, own) = (located(roots), located(own));
    if roots.is_empty() {
        return Some(own);
    }
    if own.is_empty() {
        return Some(roots);
    }
    let mut merged = Vec::new();
    for own in &own {
        let before = merged.len();
        let fitting = roots.iter().filter(|root| fits_in(root, own));
        merged.extend(fitting.map(|root| merge(root, own)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

/// A match whose gateways are named in full.
fn located(found: &HttpMatch, namespace: &str) -> HttpMatch {
    let mut found = found.clone();
    for gateway in &mut found.gateways {
        if gateway.value != MESH {
            gateway.value = qualified_gateway(gateway, namespace);
        }
    }
    found
}

fn merge(root: &HttpMatch, own: &HttpMatch) -> HttpMatch {
    fn either<T: Clone>(own: Option<&T>, root: Option<&T>) -> Option<T> {
        own.or(root).cloned()
    }
    fn both<T: Clone>(
        root: &BTreeMap<String, T>,
        own: &BTreeMap<String, T>,
    ) -> BTreeMap<String, T> {
        let mut both = root.clone();
        both.extend(
            own.iter()
                .map(|(name, found)| (name.clone(), found.clone())),
        );
        both
    }
    HttpMatch {
        name: match (&root.name, &own.name) {
            (Some(root), Some(own)) => Some(format!("{root}-{own}")),
            (root, own) => either(own.as_ref(), root.as_ref()),
        },
        uri: either(own.uri.as_ref(), root.uri.as_ref()),
        ignore_uri_case: own.ignore_uri_case,
        scheme: either(own.scheme.as_ref(), root.scheme.as_ref()),
        method: either(own.method.as_ref(), root.method.as_ref()),
        authority: either(own.authority.as_ref(), root.authority.as_ref()),
        headers: both(&root.headers, &own.headers),
        without_headers: both(&root.without_headers, &own.without_headers),
        query_params: both(&root.query_params, &own.query_params),
        port: either(own.port.as_ref(), root.port.as_ref()),
        gateways: if own.gateways.is_empty() {
            root.gateways.clone()
        } else {
            own.gateways.clone()
        },
        source_labels: both(&root.source_labels, &own.source_labels),
        source_namespace: either(
            own.source_namespace.as_ref(),
            root.source_namespace.as_ref(),
        ),
        stat_prefix: either(own.stat_prefix.as_ref(), root.stat_prefix.as_ref()),
    }
}

/// Whether a delegate's match stays within the root's (`hasConflict` of Istio, turned round).
fn fits_in(root: &HttpMatch, own: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &own.uri),
        (&root.scheme, &own.scheme),
        (&root.method, &own.method),
        (&root.authority, &own.authority),
    ];
    let maps = [
        (&root.headers, &own.headers),
        (&root.without_headers, &own.without_headers),
        (&root.query_params, &own.query_params),
    ];
    let gateways = |root: &[Spanned<String>], own: &[Spanned<String>]| {
        root.is_empty()
            || own
                .iter()
                .all(|own| root.iter().any(|root| root.value == own.value))
    };
    texts
        .into_iter()
        .all(|(root, own)| text_fits(root.as_ref(), own.as_ref()))
        && maps.into_iter().all(|(root, own)| {
            own.iter()
                .all(|(name, own)| text_fits(root.get(name), Some(own)))
        })
        && root.ignore_uri_case == own.ignore_uri_case
        && same_if_both(
            root.port.as_ref().map(|port| port.value),
            own.port.as_ref().map(|port| port.value),
        )
        && same_if_both(
            root.source_namespace.as_ref(),
            own.source_namespace.as_ref(),
        )
        && own
            .source_labels
            .iter()
            .all(|(name, own)| same_if_both(root.source_labels.get(name), Some(own)))
        && gateways(&root.gateways, &own.gateways)
}

fn same_if_both<T: PartialEq>(root: Option<T>, own: Option<T>) -> bool {
    match (root, own) {
        (Some(root), Some(own)) => root == own,
        _ => true,
    }
}

/// What is not said does not conflict; regular expressions are never compared.
fn text_fits(root: Option<&Spanned<StringMatch>>, own: Option<&Spanned<StringMatch>>) -> bool {
    let (Some(root), Some(own)) = (root, own) else {
        return true;
    };
    match (&root.value, &own.value) {
        (StringMatch::Present, _) | (_, StringMatch::Present) => true,
        (StringMatch::Exact(root), StringMatch::Exact(own)) => root == own,
        (StringMatch::Prefix(root), StringMatch::Exact(own) | StringMatch::Prefix(own)) => {
            own.starts_with(root)
        }
        (StringMatch::Exact(_), StringMatch::Prefix(_))
        | (StringMatch::Regex(_), _)
        | (_, StringMatch::Regex(_)) => false,
    }
}
