//! How an HTTP rule is read, and which of its parts go together.

use super::mirror::read_mirrors;
use super::{HttpDestination, HttpRule};
use crate::decode::{Count, Cursor, Decode, DnsLabel, Fields, NonEmpty};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::Spanned;

impl Decode for HttpRule {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let rule = Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                name: f.optional("name"),
                matches: f.list("match"),
                route: f.list("route"),
                redirect: f.optional("redirect"),
                direct_response: f.optional("directResponse"),
                delegate: f
                    .optional::<Spanned<Delegate>>("delegate")
                    .map(|delegate| delegate.map(|Delegate(name)| name)),
                rewrite: f.optional("rewrite"),
                timeout: f.optional("timeout"),
                retries: f.optional("retries"),
                fault: f.optional("fault"),
                mirrors: read_mirrors(f),
                cors: f.optional("corsPolicy"),
                headers: f.or_default("headers"),
            };
            check_combination(f);
            check_authority(f, &rule);
            if rule.route.len() > 1 && rule.route.iter().all(|to| to.weight == 0) {
                let message = "every destination has weight 0, so none gets a request";
                f.error_at("route", codes::INVALID_WEIGHTS, message, None);
            }
            Some(rule)
        })
    }
}

fn check_combination(f: &Fields<'_>) {
    f.exclusive(&["route", "redirect", "directResponse", "delegate"]);
    for answer in ["redirect", "directResponse"] {
        for other in ["rewrite", "fault"] {
            f.exclusive(&[answer, other]);
        }
    }
    f.exclusive(&["mirror", "mirrors"]);
    f.any_of(&["route", "redirect", "directResponse", "delegate"]);
}

/// The Host can be changed in one place only.
fn check_authority(f: &Fields<'_>, rule: &HttpRule) {
    let is_authority = |name: &str| name == "host" || name == ":authority";
    let set = &rule.headers.request.set;
    let mut changes = set.iter().filter(|(name, _)| is_authority(name));
    let first = changes.next();
    let rewritten = rule
        .rewrite
        .as_ref()
        .is_some_and(|rewrite| rewrite.authority.is_some());
    let twice = if rewritten { first } else { changes.next() };
    if let Some((_, value)) = twice {
        let message = "the Host is changed twice";
        let help = "keep `rewrite.authority`, or one `set` of `:authority`";
        let at = value.at.clone();
        let diagnostic = Diagnostic::error(codes::EXCLUSIVE_FIELDS, at, &value.path, message);
        f.report(diagnostic.with_help(help));
    }
}

impl Decode for HttpDestination {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let destination = f.required("destination");
            let weight = f.optional::<Count>("weight");
            let headers = f.or_default("headers");
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                destination: destination?,
                weight: weight.map_or(0, |Count(weight)| weight),
                headers,
            })
        })
    }
}

/// `delegate`: another VirtualService, as `namespace/name` or `name`.
struct Delegate(String);

impl Decode for Delegate {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<NonEmpty>("name");
            let namespace = f.optional::<DnsLabel>("namespace");
            let NonEmpty(name) = name?;
            Some(Self(match namespace {
                Some(DnsLabel(namespace)) => format!("{namespace}/{name}"),
                None => name,
            }))
        })
    }
}
