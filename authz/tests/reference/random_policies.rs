//! Random policies, of words few enough that they meet.

use std::collections::BTreeMap;

use policies::{
    diagnostic::DocPath,
    document::{
        AuthorizationAction, AuthorizationPolicy, Condition, Kind, LabelSelector, Meta, Operation,
        Rule, Source, Spanned, TargetRef,
    },
    source::Location,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::words::*;

fn at() -> Location {
    Location::new("random.yaml", 1, 1)
}

pub(crate) fn spanned<T>(value: T) -> Spanned<T> {
    Spanned::new(value, at(), DocPath::root())
}

/// Nothing most of the time, else one or two of the words.
fn words(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Spanned<String>>> {
    let some = vec(
        select(words).prop_map(|word| spanned(word.to_owned())),
        1..3,
    );
    prop_oneof![3 => Just(Vec::new()), 1 => some]
}

fn source() -> impl Strategy<Value = Source> {
    let names = (
        words(PRINCIPALS),
        words(PRINCIPALS),
        words(NAMESPACES),
        words(NAMESPACES),
    );
    let accounts = (words(ACCOUNTS), words(ACCOUNTS));
    let blocks = (words(BLOCKS), words(BLOCKS), words(BLOCKS), words(BLOCKS));
    let others = (
        words(TRUST_DOMAINS),
        words(TRUST_DOMAINS),
        words(REQUEST_PRINCIPALS),
        words(REQUEST_PRINCIPALS),
    );
    (any::<bool>(), names, accounts, blocks, others).prop_map(
        |(by_account, names, accounts, blocks, others)| {
            let (trust_domains, not_trust_domains, request_principals, not_request_principals) =
                others;
            let (names, accounts) = if by_account {
                (Default::default(), accounts)
            } else {
                (names, Default::default())
            };
            let (principals, not_principals, namespaces, not_namespaces) = names;
            let (service_accounts, not_service_accounts) = accounts;
            let (ip_blocks, not_ip_blocks, remote_ip_blocks, not_remote_ip_blocks) = blocks;
            Source {
                at: at(),
                path: DocPath::root(),
                principals,
                not_principals,
                request_principals,
                not_request_principals,
                namespaces,
                not_namespaces,
                service_accounts,
                not_service_accounts,
                trust_domains,
                not_trust_domains,
                ip_blocks,
                not_ip_blocks,
                remote_ip_blocks,
                not_remote_ip_blocks,
            }
        },
    )
}

/// Only exact principals: the rules that the compiled form looks up instead of reading them all.
fn named_source() -> impl Strategy<Value = Source> {
    let exact = select(
        &[
            "td1/ns/a/sa/b",
            "cluster.local/ns/a/sa/b",
            "old-td/ns/a/sa/c",
            "other/ns/a/sa/b",
        ][..],
    );
    (source(), vec(exact, 1..3)).prop_map(|(source, principals)| Source {
        principals: principals
            .into_iter()
            .map(|word| spanned(word.to_owned()))
            .collect(),
        service_accounts: Vec::new(),
        not_service_accounts: Vec::new(),
        not_principals: Vec::new(),
        namespaces: Vec::new(),
        not_namespaces: Vec::new(),
        ..source
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let ports = || {
        words(&["80", "8080"]).prop_map(|list| {
            list.into_iter()
                .map(|port| port.map(|port| port.parse::<u16>().unwrap()))
                .collect::<Vec<_>>()
        })
    };
    let http = (
        words(HOSTS),
        words(HOSTS),
        words(METHODS),
        words(METHODS),
        words(PATHS),
        words(PATHS),
    );
    (ports(), ports(), http).prop_map(|(ports, not_ports, http)| {
        let (hosts, not_hosts, methods, not_methods, paths, not_paths) = http;
        let path = DocPath::root();
        Operation {
            at: at(),
            path,
            hosts,
            not_hosts,
            ports,
            not_ports,
            methods,
            not_methods,
            paths,
            not_paths,
        }
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let key = |key: &'static str, allowed: &'static [&'static str]| {
        (vec(select(allowed), 0..3), vec(select(allowed), 0..2)).prop_map(
            move |(mut values, not_values)| {
                if values.is_empty() && not_values.is_empty() {
                    values.extend(allowed.first());
                }
                let list = |values: Vec<&str>| {
                    values
                        .into_iter()
                        .map(|value| spanned(value.to_owned()))
                        .collect()
                };
                Condition {
                    at: at(),
                    path: DocPath::root(),
                    key: spanned(key.to_owned()),
                    values: list(values),
                    not_values: list(not_values),
                }
            },
        )
    };
    prop_oneof![
        1 => key("source.ip", BLOCKS),
        1 => key("destination.port", &["80", "8080"]),
        1 => key("source.principal", PRINCIPALS),
        1 => key("source.namespace", NAMESPACES),
        1 => key("connection.sni", &["web.shop", "*.shop", "*"]),
        1 => key("remote.ip", BLOCKS),
        1 => key("destination.ip", BLOCKS),
        1 => key("source.serviceAccount", ACCOUNTS),
        1 => key("source.trustDomain", TRUST_DOMAINS),
        1 => key("request.headers[:authority]", HOSTS),
        1 => key("request.auth.principal", REQUEST_PRINCIPALS),
        1 => key("request.auth.audiences", &["web", "app", "w*", "*"]),
        1 => key("request.auth.presenter", &["portal", "p*", "*"]),
        2 => key("request.auth.claims[groups]", CLAIMS),
        1 => key("request.auth.claims[scope]", CLAIMS),
        1 => key("request.auth.claims[realm][roles]", CLAIMS),
        4 => key("request.headers[x-role]", ROLES),
    ]
}

pub(crate) fn policy() -> impl Strategy<Value = AuthorizationPolicy> {
    let kept_source = source().prop_filter("a source restricts something", |source| {
        [
            &source.principals,
            &source.not_principals,
            &source.namespaces,
            &source.not_namespaces,
            &source.service_accounts,
            &source.not_service_accounts,
            &source.ip_blocks,
            &source.not_ip_blocks,
            &source.remote_ip_blocks,
            &source.not_remote_ip_blocks,
            &source.trust_domains,
            &source.not_trust_domains,
            &source.request_principals,
            &source.not_request_principals,
        ]
        .iter()
        .any(|list| !list.is_empty())
    });
    let kept_operation = operation().prop_filter("an operation restricts something", |to| {
        !to.ports.is_empty()
            || !to.not_ports.is_empty()
            || [
                &to.hosts,
                &to.not_hosts,
                &to.methods,
                &to.not_methods,
                &to.paths,
                &to.not_paths,
            ]
            .iter()
            .any(|list| !list.is_empty())
    });
    let kept_source = prop_oneof![1 => kept_source, 1 => named_source()];
    let rule = (
        vec(kept_source, 0..3),
        vec(kept_operation, 0..3),
        vec(condition(), 0..2),
    )
        .prop_map(|(from, to, when)| Rule {
            at: at(),
            path: DocPath::root(),
            from,
            to,
            when,
        });
    let action = select(vec![
        AuthorizationAction::Allow,
        AuthorizationAction::Allow,
        AuthorizationAction::Deny,
        AuthorizationAction::Audit,
        AuthorizationAction::Custom,
    ]);
    let namespace = select(vec!["shop", "shop", "istio-system", "elsewhere"]);
    let selector = option::of(select(vec!["web", "web", "other", ""]));
    let target = option::weighted(0.1, select(vec!["edge", "other"]));
    let provider = select(vec!["grpc", "grpc", "http", "nowhere"]);
    let dry_run = option::weighted(0.3, select(vec!["true", "false"]));
    let attached = (namespace, selector, target);
    (action, attached, provider, dry_run, vec(rule, 0..4)).prop_map(
        |(action, (namespace, selector, target), provider, dry_run, rules)| {
            let rules = if action == AuthorizationAction::Custom {
                rules.into_iter().map(without_caller).collect()
            } else {
                rules
            };
            written(
                action,
                (namespace, selector, target),
                provider,
                dry_run,
                rules,
            )
        },
    )
}

/// What a CUSTOM rule may say: nothing about the caller or the token.
fn without_caller(rule: Rule) -> Rule {
    let only_addresses = |source: Source| Source {
        principals: Vec::new(),
        not_principals: Vec::new(),
        request_principals: Vec::new(),
        not_request_principals: Vec::new(),
        namespaces: Vec::new(),
        not_namespaces: Vec::new(),
        service_accounts: Vec::new(),
        not_service_accounts: Vec::new(),
        trust_domains: Vec::new(),
        not_trust_domains: Vec::new(),
        ..source
    };
    let restricts = |source: &Source| {
        let lists = [
            &source.ip_blocks,
            &source.not_ip_blocks,
            &source.remote_ip_blocks,
            &source.not_remote_ip_blocks,
        ];
        lists.iter().any(|list| !list.is_empty())
    };
    let about_caller = |key: &str| {
        key.starts_with("request.auth.") || (key.starts_with("source.") && key != "source.ip")
    };
    Rule {
        from: rule
            .from
            .into_iter()
            .map(only_addresses)
            .filter(restricts)
            .collect(),
        when: rule
            .when
            .into_iter()
            .filter(|when| !about_caller(&when.key))
            .collect(),
        ..rule
    }
}

fn written(
    action: AuthorizationAction,
    (namespace, selector, target): (&str, Option<&str>, Option<&str>),
    provider: &str,
    dry_run: Option<&str>,
    rules: Vec<Rule>,
) -> AuthorizationPolicy {
    // DENY and CUSTOM without rules are refused; an ALLOW without rules allows nothing.
    let action = match action {
        AuthorizationAction::Deny | AuthorizationAction::Custom if rules.is_empty() => {
            AuthorizationAction::Allow
        }
        action => action,
    };
    let can_be_tried = matches!(
        action,
        AuthorizationAction::Allow | AuthorizationAction::Deny
    );
    let annotations = dry_run.filter(|_| can_be_tried).into_iter();
    let annotations = annotations.map(|value| ("istio.io/dry-run".to_owned(), value.to_owned()));
    let labels = |app: &str| match app {
        "" => BTreeMap::new(),
        app => BTreeMap::from([("app".to_owned(), spanned(app.to_owned()))]),
    };
    let custom = action == AuthorizationAction::Custom;
    AuthorizationPolicy {
        meta: Meta {
            kind: Kind::AuthorizationPolicy,
            name: String::new(),
            namespace: namespace.to_owned(),
            labels: BTreeMap::new(),
            annotations: annotations.collect(),
            at: at(),
        },
        selector: selector
            .filter(|_| target.is_none())
            .map(|app| LabelSelector {
                match_labels: labels(app),
            }),
        target_refs: target
            .map(|name| {
                spanned(TargetRef {
                    group: "gateway.networking.k8s.io".to_owned(),
                    kind: "Gateway".to_owned(),
                    name: name.to_owned(),
                    namespace: None,
                })
            })
            .into_iter()
            .collect(),
        action: spanned(action),
        provider: custom.then(|| spanned(provider.to_owned())),
        rules,
    }
}
