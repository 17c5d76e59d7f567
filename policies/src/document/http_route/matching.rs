//! Istio's `HTTPMatchRequest`: which requests a rule is for.

use std::collections::BTreeMap;

use crate::decode::{Cursor, Decode, DnsLabel, Fields, Port, labels};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::string_match::{PathMatch, ValueMatch};
use crate::document::virtual_service::gateway_refs;
use crate::document::{Spanned, StringMatch};
use crate::route::ClaimPath;
use crate::yaml::shortened;

/// Istio's `HTTPMatchRequest`; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct HttpMatch {
    /// `name`, for logs.
    pub name: Option<String>,
    /// `uri`: the path without query.
    pub uri: Option<Spanned<StringMatch>>,
    /// `ignoreUriCase`: exact and prefix only; `false` if not given.
    pub ignore_uri_case: bool,
    /// `scheme`.
    pub scheme: Option<Spanned<StringMatch>>,
    /// `method`.
    pub method: Option<Spanned<StringMatch>>,
    /// `authority`: with the port if the client sent one.
    pub authority: Option<Spanned<StringMatch>>,
    /// `headers`, names in lower case; those of claims as they are written.
    pub headers: BTreeMap<String, Spanned<StringMatch>>,
    /// `withoutHeaders`, names in lower case; those of claims as they are written.
    pub without_headers: BTreeMap<String, Spanned<StringMatch>>,
    /// `queryParams`.
    pub query_params: BTreeMap<String, Spanned<StringMatch>>,
    /// `port`: the listener's.
    pub port: Option<Spanned<u16>>,
    /// `gateways`: replaces the document's list for this match.
    pub gateways: Vec<Spanned<String>>,
    /// `sourceLabels`: the calling sidecar's workload; gateways ignore it.
    pub source_labels: BTreeMap<String, String>,
    /// `sourceNamespace`: the calling sidecar's namespace; gateways ignore it.
    pub source_namespace: Option<String>,
    /// `statPrefix` of the metrics of matching requests; not in force.
    pub stat_prefix: Option<Box<str>>,
}

impl Decode for HttpMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let found = Self {
                name: f.optional("name"),
                uri: f
                    .optional::<Spanned<PathMatch>>("uri")
                    .map(|uri| uri.map(|PathMatch(found)| found)),
                ignore_uri_case: f.or_default("ignoreUriCase"),
                scheme: f.optional("scheme"),
                method: f.optional("method"),
                authority: f.optional("authority"),
                headers: headers(f, "headers"),
                without_headers: headers(f, "withoutHeaders"),
                query_params: f
                    .map::<Spanned<ValueMatch>>("queryParams")
                    .into_iter()
                    .map(|(name, found)| (name, found.map(|ValueMatch(found)| found)))
                    .collect(),
                port: f
                    .optional::<Spanned<Port>>("port")
                    .map(|port| port.map(|Port(port)| port)),
                gateways: gateway_refs(f),
                source_labels: labels(f, "sourceLabels"),
                source_namespace: f
                    .optional::<DnsLabel>("sourceNamespace")
                    .map(|DnsLabel(name)| name),
                stat_prefix: f
                    .later::<String>(
                        "statPrefix",
                        codes::FIELD_NOT_IN_FORCE,
                        "metrics have no extra prefix",
                    )
                    .map(String::into_boxed_str),
            };
            check_uri(f, &found);
            Some(found)
        })
    }
}

impl HttpMatch {
    /// Where a claim of a token is asked for first; such a match is for gateways.
    pub(crate) fn first_claim(&self) -> Option<&Spanned<StringMatch>> {
        let mut all = self.headers.iter().chain(&self.without_headers);
        all.find_map(|(name, found)| ClaimPath::is_meant(name).then_some(found))
    }
}

fn check_uri(f: &Fields<'_>, found: &HttpMatch) {
    let Some(uri) = &found.uri else { return };
    if let StringMatch::Exact(text) | StringMatch::Prefix(text) = &uri.value
        && text.contains('?')
    {
        let message = format!("`{text}` never matches: the path is compared without its query");
        let help = "use `queryParams` for the query";
        let at = uri.at.clone();
        let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &uri.path, message);
        f.report(diagnostic.with_help(help));
    }
}

/// Matches by header name; names in lower case.
fn headers(f: &mut Fields<'_>, field: &'static str) -> BTreeMap<String, Spanned<StringMatch>> {
    let entries = f
        .get(field)
        .and_then(|cursor| cursor.entries())
        .unwrap_or_default();
    let mut matches = BTreeMap::new();
    for (name, cursor) in entries {
        let found = ValueMatch::decode(&cursor);
        if is_header(&cursor, name)
            && let Some(ValueMatch(found)) = found
        {
            // Names of claims have a case, names of headers have none.
            let name = if ClaimPath::is_meant(name) {
                name.to_owned()
            } else {
                name.to_ascii_lowercase()
            };
            matches.insert(name, cursor.spanned(found));
        }
    }
    matches
}

/// Istio's rule for names of headers in matches; what is wrong has been reported if it is none.
fn is_header(cursor: &Cursor<'_>, name: &str) -> bool {
    let error = |code, message: String, help: Option<&str>| {
        let diagnostic = Diagnostic::error(code, cursor.key_at(), &cursor.path, message);
        let diagnostic = diagnostic.with_help_if(help.map(str::to_owned));
        cursor.context.report(diagnostic);
        false
    };
    if ClaimPath::is_meant(name) {
        if ClaimPath::parse(name).is_some() {
            return true;
        }
        let message = format!("`{}` is not a claim of a token", shortened(name));
        let help = "write `@request.auth.claims.group`, or `@request.auth.claims[group]`";
        return error(codes::INVALID_VALUE, message, Some(help));
    }
    let instead = match name {
        ":path" => Some("use `uri`"),
        ":method" => Some("use `method`"),
        ":authority" => Some("use `authority`"),
        ":scheme" => Some("use `scheme`"),
        _ if name.eq_ignore_ascii_case("host") => Some("use `authority`"),
        _ => None,
    };
    let token = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if instead.is_some() || !token {
        let message = format!("`{}` is not a header to match on", shortened(name));
        return error(codes::INVALID_VALUE, message, instead);
    }
    true
}
