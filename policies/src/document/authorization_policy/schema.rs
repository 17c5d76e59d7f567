//! How an AuthorizationPolicy is read.

use super::{
    AuthorizationAction, AuthorizationPolicy, Condition, Operation, Rule, Source, TargetRef,
};
use crate::decode::{CidrText, Cursor, Decode, Document, Fields, NonEmpty, is_label};
use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::document::{Attachment, Meta, Spanned};
use crate::source::Location;

impl Document for AuthorizationPolicy {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let Attachment {
            selector,
            target_refs,
        } = Attachment::read(f, &["targetRefs", "targetRef"]);
        let action = f.get("action").and_then(|cursor| {
            let action = cursor.one_of(&[
                ("ALLOW", AuthorizationAction::Allow),
                ("DENY", AuthorizationAction::Deny),
                ("AUDIT", AuthorizationAction::Audit),
                ("CUSTOM", AuthorizationAction::Custom),
            ])?;
            Some(cursor.spanned(action))
        });
        let action = action.unwrap_or_else(|| f.cursor().spanned(AuthorizationAction::Allow));
        let provider = f
            .get("provider")
            .and_then(|cursor| cursor.fields(|f| f.required::<Spanned<NonEmpty>>("name")))
            .map(|name| name.map(|NonEmpty(name)| name));
        let rules: Vec<Rule> = f.list("rules");
        let custom = action.value == AuthorizationAction::Custom;
        if custom && provider.is_none() && !f.has("provider") {
            f.required::<Provider>("provider");
        }
        if custom {
            check_custom(f, &rules);
        }
        if !custom && let Some(provider) = &provider {
            let message = format!(
                "`provider` belongs to the action CUSTOM, the action is {}",
                action.as_str()
            );
            f.report(Diagnostic::error(
                codes::EXCLUSIVE_FIELDS,
                provider.at.clone(),
                &provider.path,
                message,
            ));
        }
        let needs_rules = custom || action.value == AuthorizationAction::Deny;
        if needs_rules && rules.is_empty() && !f.has("rules") {
            let message = format!("a {} policy without rules never matches", action.as_str());
            let help = "write `rules: [{}]` to match every request";
            let at = action.at.clone();
            f.report(
                Diagnostic::error(
                    codes::MISSING_FIELD,
                    at,
                    f.cursor().path.field("rules"),
                    message,
                )
                .with_help(help),
            );
        }
        Some(Self {
            meta,
            selector,
            target_refs,
            action,
            provider,
            rules,
        })
    }
}

/// An external authorizer is asked before the caller is known (Istio's rule).
fn check_custom(f: &Fields<'_>, rules: &[Rule]) {
    let error = |at: &Location, path: &DocPath, what: &str| {
        let message = format!("`{what}` has no meaning with the action CUSTOM");
        let help = "the provider is asked before caller and token are known; name it in an ALLOW or DENY policy beside this one";
        let code = codes::FIELD_OUT_OF_PLACE;
        f.report(Diagnostic::error(code, at.clone(), path, message).with_help(help));
    };
    for source in rules.iter().flat_map(|rule| &rule.from) {
        for (name, values) in [
            ("namespaces", &source.namespaces),
            ("notNamespaces", &source.not_namespaces),
            ("serviceAccounts", &source.service_accounts),
            ("notServiceAccounts", &source.not_service_accounts),
            ("principals", &source.principals),
            ("notPrincipals", &source.not_principals),
            ("trustDomains", &source.trust_domains),
            ("notTrustDomains", &source.not_trust_domains),
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
        ] {
            if let Some(first) = values.first() {
                error(&first.at, &first.path, name);
            }
        }
    }
    for Condition { key, .. } in rules.iter().flat_map(|rule| &rule.when) {
        let caller = [
            "source.namespace",
            "source.serviceAccount",
            "source.principal",
            "source.trustDomain",
        ];
        if caller.contains(&key.as_str()) || key.starts_with("request.auth.") {
            error(&key.at, &key.path, key);
        }
    }
}

struct Provider;

impl Decode for Provider {
    fn decode(_: &Cursor<'_>) -> Option<Self> {
        Some(Self)
    }
}

/// What Istio attaches policies to: group and kind.
const TARGETS: &[(&str, &str)] = &[
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

impl Decode for TargetRef {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let group = f.get("group").and_then(|cursor| match cursor.text()? {
                group if group.is_empty() || group.split('.').all(is_label) => {
                    Some(group.to_owned())
                }
                _ => cursor.invalid("an API group such as `gateway.networking.k8s.io`"),
            });
            let kind = f.required::<String>("kind").and_then(|kind| {
                let word = kind.starts_with(|c: char| c.is_ascii_alphabetic())
                    && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                if word {
                    return Some(kind);
                }
                f.get("kind")?.invalid("a kind such as `Gateway`")
            });
            let name = f.required::<NonEmpty>("name");
            let namespace = f.optional("namespace");
            let target = Self {
                group: group.unwrap_or_default(),
                kind: kind?,
                name: name?.0,
                namespace,
            };
            let group = match target.group.as_str() {
                "core" => "",
                group => group,
            };
            if !TARGETS.contains(&(group, target.kind.as_str())) {
                let message = format!("policies are not attached to a {}", target.kind);
                let help = "attach it to a `Service`, a `ServiceEntry` (group `networking.istio.io`), or a `Gateway` or \
                            `GatewayClass` (group `gateway.networking.k8s.io`)";
                f.error_at("kind", codes::INVALID_VALUE, message, Some(help));
            }
            Some(target)
        })
    }
}

impl Decode for Rule {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let from = decoded::<From>(f, "from")
                .into_iter()
                .map(|From(source)| source)
                .collect();
            let to = decoded::<To>(f, "to")
                .into_iter()
                .map(|To(operation)| operation)
                .collect();
            let when = decoded(f, "when");
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                from,
                to,
                when,
            })
        })
    }
}

/// `- source: {…}`.
struct From(Source);

impl Decode for From {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| f.required("source").map(Self))
    }
}

/// `- operation: {…}`.
struct To(Operation);

impl Decode for To {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| f.required("operation").map(Self))
    }
}

const SOURCE_FIELDS: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

impl Decode for Source {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            f.any_of(SOURCE_FIELDS);
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                principals: texts(f, "principals"),
                not_principals: texts(f, "notPrincipals"),
                request_principals: texts(f, "requestPrincipals"),
                not_request_principals: texts(f, "notRequestPrincipals"),
                namespaces: texts(f, "namespaces"),
                not_namespaces: texts(f, "notNamespaces"),
                service_accounts: texts(f, "serviceAccounts"),
                not_service_accounts: texts(f, "notServiceAccounts"),
                trust_domains: texts(f, "trustDomains"),
                not_trust_domains: texts(f, "notTrustDomains"),
                ip_blocks: blocks(f, "ipBlocks"),
                not_ip_blocks: blocks(f, "notIpBlocks"),
                remote_ip_blocks: blocks(f, "remoteIpBlocks"),
                not_remote_ip_blocks: blocks(f, "notRemoteIpBlocks"),
            })
        })
    }
}

const OPERATION_FIELDS: &[&str] = &[
    "hosts",
    "notHosts",
    "ports",
    "notPorts",
    "methods",
    "notMethods",
    "paths",
    "notPaths",
];

impl Decode for Operation {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            f.any_of(OPERATION_FIELDS);
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                hosts: texts(f, "hosts"),
                not_hosts: texts(f, "notHosts"),
                ports: ports(f, "ports"),
                not_ports: ports(f, "notPorts"),
                methods: texts(f, "methods"),
                not_methods: texts(f, "notMethods"),
                paths: texts(f, "paths"),
                not_paths: texts(f, "notPaths"),
            })
        })
    }
}

impl Decode for Condition {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let key = f.required("key");
            let values = texts(f, "values");
            let not_values = texts(f, "notValues");
            f.any_of(&["values", "notValues"]);
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                key: key?,
                values,
                not_values,
            })
        })
    }
}

/// The elements of a list that is absent or has some. Istio reads `from: []` like no `from` at all, so that
/// a template that rendered nothing would let everybody in; here it is refused.
fn elements<'a>(f: &mut Fields<'a>, name: &'static str) -> Vec<Cursor<'a>> {
    let Some(cursor) = f.get(name) else {
        return Vec::new();
    };
    let items = cursor.items();
    if items.as_ref().is_some_and(Vec::is_empty) {
        let help = "write its values, or remove the field to leave it unrestricted";
        let message = format!("`{name}` is an empty list, which would restrict nothing");
        cursor.error(codes::INVALID_LENGTH, message, Some(help.to_owned()));
    }
    items.unwrap_or_default()
}

fn decoded<T: Decode>(f: &mut Fields<'_>, name: &'static str) -> Vec<T> {
    elements(f, name).iter().filter_map(T::decode).collect()
}

/// A list of texts; an empty text never matches anything and is refused, as in Istio.
fn texts(f: &mut Fields<'_>, name: &'static str) -> Vec<Spanned<String>> {
    let items = elements(f, name);
    let text = |item: &Cursor<'_>| match item.text()? {
        "" => item.invalid("a value: it is empty"),
        text => Some(item.spanned(text.to_owned())),
    };
    items.iter().filter_map(text).collect()
}

fn blocks(f: &mut Fields<'_>, name: &'static str) -> Vec<Spanned<String>> {
    decoded::<Spanned<CidrText>>(f, name)
        .into_iter()
        .map(|block| block.map(|CidrText(text)| text))
        .collect()
}

/// Ports are texts here, unlike everywhere else in Istio.
fn ports(f: &mut Fields<'_>, name: &'static str) -> Vec<Spanned<u16>> {
    let items = elements(f, name);
    let port = |item: &Cursor<'_>| match item.text()?.parse::<u16>() {
        Ok(port) if port > 0 => Some(item.spanned(port)),
        _ => item.invalid("a port between 1 and 65535"),
    };
    items.iter().filter_map(port).collect()
}
