//! A naive evaluator that follows Istio's text to the letter, compared with the compiled one on random policies.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use authz::{Action, Facts, HttpFacts, PolicySet, Verdict};
use http::{HeaderMap, HeaderValue};
use identity::id::SpiffeId;
use policies::{
    diagnostic::{Diagnostic, DocPath},
    document::{
        AuthorizationAction, AuthorizationPolicy, Condition, DocumentSet, Kind, LabelSelector,
        Meta, Operation, Rule, Source, Spanned,
    },
    mesh::Mesh,
    source::Location,
    workload::Workload,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use regex::Regex;

// ---- the reference -------------------------------------------------------------------------------------------------

/// The decision, and the policy and rule that made it, by the text of Istio's reference alone.
fn reference(
    documents: &DocumentSet,
    workload: &Workload,
    mesh: &Mesh,
    facts: &Facts<'_>,
) -> (Verdict, Option<(String, usize)>) {
    let root = mesh.root_namespace.as_str();
    let mut selected: Vec<_> = (documents.authorization_policies.iter())
        .filter(|policy| {
            policy.meta.namespace == root || policy.meta.namespace == workload.namespace
        })
        .filter(|policy| {
            policy
                .selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&workload.labels))
        })
        .collect();
    selected.sort_by_key(|policy| policy.meta.namespace != root);
    for (wanted, action) in [
        (AuthorizationAction::Deny, Action::Deny),
        (AuthorizationAction::Allow, Action::Allow),
    ] {
        let of_action: Vec<_> = selected
            .iter()
            .filter(|policy| policy.action.value == wanted)
            .collect();
        if action == Action::Allow && of_action.is_empty() {
            return (Verdict::Allow, None);
        }
        for policy in of_action {
            for (index, rule) in policy.rules.iter().enumerate() {
                let judge = Judge {
                    facts,
                    action,
                    mesh,
                    policy,
                };
                if judge.rule(rule) {
                    let verdict = if action == Action::Deny {
                        Verdict::Deny
                    } else {
                        Verdict::Allow
                    };
                    return (verdict, Some((policy.meta.name.clone(), index)));
                }
            }
        }
    }
    (Verdict::Deny, None)
}

struct Judge<'a> {
    facts: &'a Facts<'a>,
    action: Action,
    mesh: &'a Mesh,
    policy: &'a AuthorizationPolicy,
}

type Values = [Spanned<String>];

fn full(expression: &str, value: &str) -> bool {
    Regex::new(&format!("^(?s:{expression})$"))
        .unwrap()
        .is_match(value)
}

/// The string forms as expressions; `any` is what a lone star means.
fn form(value: &str, any: &str) -> String {
    if value == "*" {
        any.to_owned()
    } else if let Some(rest) = value.strip_prefix('*') {
        format!(".*{}", regex::escape(rest))
    } else if let Some(rest) = value.strip_suffix('*') {
        format!("{}.*", regex::escape(rest))
    } else {
        regex::escape(value)
    }
}

impl Judge<'_> {
    fn rule(&self, rule: &Rule) -> bool {
        let http_only = rule.to.iter().any(|to| {
            [
                &to.hosts,
                &to.not_hosts,
                &to.methods,
                &to.not_methods,
                &to.paths,
                &to.not_paths,
            ]
            .iter()
            .any(|list| !list.is_empty())
        }) || rule
            .when
            .iter()
            .any(|when| when.key.starts_with("request."));
        if self.facts.http.is_none() && http_only && self.action == Action::Allow {
            return false;
        }
        (rule.from.is_empty() || rule.from.iter().any(|source| self.source(source)))
            && (rule.to.is_empty() || rule.to.iter().any(|operation| self.operation(operation)))
            && rule.when.iter().all(|condition| self.condition(condition))
    }

    /// `values` ORed, and not any of `notValues`; an absent list restricts nothing.
    fn field<T>(values: &[T], not_values: &[T], matches: impl Fn(&T) -> bool) -> bool {
        (values.is_empty() || values.iter().any(&matches)) && !not_values.iter().any(&matches)
    }

    fn source(&self, source: &Source) -> bool {
        let ip = |address: IpAddr| move |block: &Spanned<String>| in_block(block, address);
        Self::field(&source.principals, &source.not_principals, |value| {
            self.principal(value)
        }) && Self::field(&source.namespaces, &source.not_namespaces, |value| {
            self.namespace(value)
        }) && Self::field(
            &source.service_accounts,
            &source.not_service_accounts,
            |value| self.account(value),
        ) && Self::field(
            &source.ip_blocks,
            &source.not_ip_blocks,
            ip(self.facts.source_ip),
        ) && Self::field(
            &source.remote_ip_blocks,
            &source.not_remote_ip_blocks,
            ip(self.facts.remote_ip),
        )
    }

    fn peer(&self, expression: &str) -> bool {
        self.facts
            .peer
            .is_some_and(|peer| full(expression, peer.as_str()))
    }

    fn principal(&self, value: &str) -> bool {
        let parts: Vec<_> = value.split('/').collect();
        let names = [
            vec![self.mesh.trust_domain.clone()],
            self.mesh.trust_domain_aliases.clone(),
        ]
        .concat();
        let ours = |name: &String| full(&form(parts[0], ".*"), name) || name == parts[0];
        let mut written = vec![value.to_owned()];
        if parts.len() == 5
            && parts[0] != "*"
            && (parts[0] == "cluster.local" || names.iter().any(ours))
        {
            written.extend(
                names
                    .iter()
                    .map(|name| format!("{name}/{}", parts[1..].join("/"))),
            );
            if !parts[0].starts_with('*') && !names.iter().any(|name| name == parts[0]) {
                written.remove(0);
            }
        }
        written.iter().any(|value| match value.as_str() {
            "*" => self.peer(".*"),
            value => self.peer(&format!("spiffe://{}", form(value, ".*"))),
        })
    }

    fn namespace(&self, value: &str) -> bool {
        self.peer(&format!(
            ".*/ns/{}/.*",
            regex::escape(value).replace("\\*", ".*")
        ))
    }

    fn account(&self, value: &str) -> bool {
        let (namespace, account) = value
            .split_once('/')
            .unwrap_or((&self.policy.meta.namespace, value));
        let (namespace, account) = (regex::escape(namespace), regex::escape(account));
        self.peer(&format!(
            "spiffe://.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?"
        ))
    }

    fn operation(&self, operation: &Operation) -> bool {
        let port = self.facts.destination_port;
        if !Self::field(&operation.ports, &operation.not_ports, |value| {
            value.value == port
        }) {
            return false;
        }
        let Some(http) = self.facts.http else {
            return true;
        };
        let host = |value: &Spanned<String>| {
            full(
                &form(&value.to_lowercase(), ".*"),
                &http.host.to_lowercase(),
            )
        };
        Self::field(&operation.hosts, &operation.not_hosts, host)
            && Self::field(&operation.methods, &operation.not_methods, |value| {
                full(&form(value, ".*"), http.method)
            })
            && Self::field(&operation.paths, &[], |value| {
                path(value, http.path, self.action == Action::Deny)
            })
            && Self::field(&[], &operation.not_paths, |value| {
                path(value, http.path, self.action == Action::Allow)
            })
    }

    fn condition(&self, condition: &Condition) -> bool {
        let Condition {
            values, not_values, ..
        } = condition;
        let facts = self.facts;
        let ip = |address: IpAddr| move |block: &Spanned<String>| in_block(block, address);
        match condition.key.as_str() {
            "source.ip" => Self::field(values, not_values, ip(facts.source_ip)),
            "destination.port" => Self::field(values, not_values, |value| {
                value.value == facts.destination_port.to_string()
            }),
            "source.principal" => Self::field(values, not_values, |value| self.principal(value)),
            "source.namespace" => Self::field(values, not_values, |value| self.namespace(value)),
            "connection.sni" => Self::field(values, not_values, |value| {
                facts.sni.is_some_and(|sni| full(&form(value, ".+"), sni))
            }),
            "request.headers[x-role]" => self.header("x-role", values, not_values),
            other => panic!("the strategy does not make {other}"),
        }
    }

    /// Repeated headers: what lets through needs every value, what stops needs any of them or their join.
    fn header(&self, name: &str, values: &Values, not_values: &Values) -> bool {
        let Some(http) = self.facts.http else {
            return true;
        };
        let sent: Vec<_> = http
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        let one = |list: &Values, value: &str| {
            list.iter().any(|pattern| full(&form(pattern, ".*"), value))
        };
        let every = |list: &Values| !sent.is_empty() && sent.iter().all(|value| one(list, value));
        let any = |list: &Values| {
            !sent.is_empty()
                && (sent.iter().any(|value| one(list, value)) || one(list, &sent.join(",")))
        };
        match self.action {
            Action::Allow => (values.is_empty() || every(values)) && !any(not_values),
            Action::Deny | Action::Audit | Action::Custom => {
                (values.is_empty() || any(values)) && !every(not_values)
            }
        }
    }
}

fn path(value: &str, path: &str, broad: bool) -> bool {
    if !value.contains("{*}") && !value.contains("{**}") {
        return full(&form(value, ".+"), path);
    }
    let class = "a-zA-Z0-9\\-._~%!$&'()+,;:@=*";
    let (one, rest) = if broad {
        ("[^/]+".to_owned(), ".*".to_owned())
    } else {
        (format!("[{class}]+"), format!("[{class}/]*"))
    };
    let expression = regex::escape(value);
    full(
        &expression
            .replace("\\{\\*\\*\\}", &rest)
            .replace("\\{\\*\\}", &one),
        path,
    )
}

fn in_block(block: &str, address: IpAddr) -> bool {
    let (network, length) = block.split_once('/').unwrap_or((block, "32"));
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => address
            .octets()
            .map(|octet| format!("{octet:08b}"))
            .concat(),
        IpAddr::V6(_) => String::new(),
    };
    let length: usize = length.parse().unwrap();
    bits(network.parse().unwrap())
        .get(..length)
        .is_some_and(|prefix| bits(address).starts_with(prefix))
}

// ---- random policies -----------------------------------------------------------------------------------------------

fn at() -> Location {
    Location::new("random.yaml", 1, 1)
}

fn spanned<T>(value: T) -> Spanned<T> {
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

const PRINCIPALS: &[&str] = &[
    "cluster.local/ns/a/sa/b",
    "td1/ns/a/sa/b",
    "old-td/ns/a/sa/c",
    "other/ns/a/sa/b",
    "*",
    "*/sa/b",
    "td1/ns/a/*",
    "td1/ns/a/sa/*",
    "*-td/ns/a/sa/c",
    "td*/ns/a/sa/b",
    "*/ns/a/sa/b",
    "spiffe://td1/ns/a/sa/b",
    "cluster.local/ns/*",
];
const NAMESPACES: &[&str] = &["a", "b", "a*", "*", "*b", "ns"];
const ACCOUNTS: &[&str] = &["b", "c", "a/b", "a/c", "shop/b"];
const BLOCKS: &[&str] = &[
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.3",
    "192.168.0.0/24",
    "0.0.0.0/0",
];
const HOSTS: &[&str] = &["web.shop", "WEB.shop:8080", "*.shop", "web*", "*", "*:8080"];
const METHODS: &[&str] = &["GET", "POST", "P*", "*T", "*"];
const PATHS: &[&str] = &[
    "/",
    "/api/*",
    "/api/v1",
    "*/v1",
    "*",
    "/api/{*}",
    "/api/{*}/x",
    "/{**}",
    "/api/{**}/x",
    "/api?x",
    "/a*b",
];
const REQUEST_PATHS: &[&str] = &[
    "/",
    "/api/v1",
    "/api/v1/x",
    "/api/",
    "/api",
    "/api/é",
    "/api/é/x",
    "/a*b",
    "/api//x",
];
const ROLES: &[&str] = &["admin", "user", "admin,user", "a*", "*r", "*"];

fn source() -> impl Strategy<Value = Source> {
    let names = (
        words(PRINCIPALS),
        words(PRINCIPALS),
        words(NAMESPACES),
        words(NAMESPACES),
    );
    let accounts = (words(ACCOUNTS), words(ACCOUNTS));
    let blocks = (words(BLOCKS), words(BLOCKS), words(BLOCKS), words(BLOCKS));
    (any::<bool>(), names, accounts, blocks).prop_map(|(by_account, names, accounts, blocks)| {
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
            request_principals: Vec::new(),
            not_request_principals: Vec::new(),
            namespaces,
            not_namespaces,
            service_accounts,
            not_service_accounts,
            trust_domains: Vec::new(),
            not_trust_domains: Vec::new(),
            ip_blocks,
            not_ip_blocks,
            remote_ip_blocks,
            not_remote_ip_blocks,
        }
    })
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
        4 => key("request.headers[x-role]", ROLES),
    ]
}

fn policy() -> impl Strategy<Value = AuthorizationPolicy> {
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
    let action = select(vec![AuthorizationAction::Allow, AuthorizationAction::Deny]);
    let namespace = select(vec!["shop", "shop", "istio-system", "elsewhere"]);
    let selector = option::of(select(vec!["web", "web", "other", ""]));
    (action, namespace, selector, vec(rule, 0..4)).prop_map(
        |(action, namespace, selector, rules)| {
            // A DENY without rules is refused; an ALLOW without rules allows nothing.
            let action = if rules.is_empty() {
                AuthorizationAction::Allow
            } else {
                action
            };
            let labels = |app: &str| match app {
                "" => BTreeMap::new(),
                app => BTreeMap::from([("app".to_owned(), spanned(app.to_owned()))]),
            };
            AuthorizationPolicy {
                meta: Meta {
                    kind: Kind::AuthorizationPolicy,
                    name: String::new(),
                    namespace: namespace.to_owned(),
                    labels: BTreeMap::new(),
                    annotations: BTreeMap::new(),
                    at: at(),
                },
                selector: selector.map(|app| LabelSelector {
                    match_labels: labels(app),
                }),
                target_refs: Vec::new(),
                action: spanned(action),
                provider: None,
                rules,
            }
        },
    )
}

#[derive(Debug)]
struct Request {
    peer: Option<SpiffeId>,
    source: IpAddr,
    remote: IpAddr,
    port: u16,
    sni: Option<&'static str>,
    http: Option<(&'static str, &'static str, &'static str, HeaderMap)>,
}

fn request() -> impl Strategy<Value = Request> {
    let peers = [
        "td1/ns/a/sa/b",
        "cluster.local/ns/a/sa/b",
        "old-td/ns/a/sa/c",
        "td1/ns/shop/sa/b",
        "other/ns/a/sa/b",
        "td1/x/ns/a/y/sa/b/z",
        "td1/ns/ns/sa/ns",
        "td1/thing",
    ];
    let peer = option::weighted(0.8, select(peers.to_vec()));
    let address = || {
        select(vec![
            "10.1.2.3",
            "10.1.9.9",
            "10.9.9.9",
            "192.168.0.7",
            "203.0.113.5",
        ])
    };
    let roles = vec(
        select(vec!["admin", "user", "", "guest", "admin,user"]),
        0..3,
    );
    let hosts = select(vec![
        "web.shop",
        "web.shop:8080",
        "WEB.SHOP",
        "api.other",
        "api.other:80",
    ]);
    let http = (
        select(vec!["GET", "POST", "DELETE", "PUT"]),
        hosts,
        select(REQUEST_PATHS),
        roles,
    );
    let sni = option::of(select(vec!["web.shop", "api.other"]));
    (
        peer,
        address(),
        address(),
        select(vec![80, 8080, 9090]),
        sni,
        option::weighted(0.8, http),
    )
        .prop_map(|(peer, source, remote, port, sni, http)| Request {
            peer: peer.map(|peer| SpiffeId::parse(&format!("spiffe://{peer}")).unwrap()),
            source: source.parse().unwrap(),
            remote: remote.parse().unwrap(),
            port,
            sni,
            http: http.map(|(method, host, path, roles)| {
                let mut headers = HeaderMap::new();
                for role in roles {
                    headers.append("x-role", HeaderValue::from_static(role));
                }
                (method, host, path, headers)
            }),
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    #[test]
    fn the_compiled_policies_decide_like_the_text(
        policies in vec(policy(), 0..5),
        requests in vec(request(), 1..12),
    ) {
        let documents = DocumentSet {
            authorization_policies: policies
                .into_iter()
                .enumerate()
                .map(|(number, mut policy)| {
                    policy.meta.name = format!("p{number}");
                    Arc::new(policy)
                })
                .collect(),
            ..DocumentSet::default()
        };
        let workload = Workload {
            name: "web".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        };
        let mesh = Mesh {
            trust_domain: "td1".to_owned(),
            trust_domain_aliases: vec!["old-td".to_owned()],
            ..Mesh::default()
        };
        let (registry, _) = policies::check::check(&documents, &mesh);
        let findings = authz::check::check(&documents, &registry, &mesh);
        let set = PolicySet::compile(&documents, &workload, &mesh);
        let errors: Vec<_> = findings.iter().filter(|finding| finding.is_error()).collect();
        prop_assert_eq!(errors, Vec::<&Diagnostic>::new());
        for request in &requests {
            let facts = Facts {
                peer: request.peer.as_ref(),
                source_ip: request.source,
                remote_ip: request.remote,
                destination_ip: request.source,
                destination_port: request.port,
                sni: request.sni,
                http: request.http.as_ref().map(|(method, host, path, headers)| HttpFacts { method, host, path, headers, claims: None }),
            };
            let decision = set.decide(&facts);
            let by = decision.by.map(|rule| (rule.policy_name.to_string(), usize::from(rule.rule)));
            prop_assert_eq!((decision.verdict, by), reference(&documents, &workload, &mesh, &facts), "{:?}", request);
        }
    }
}
