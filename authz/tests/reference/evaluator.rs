//! The decision by the text of Istio's reference alone: no index, no compiled form, regular expressions as Istio writes them.

use std::{cell::RefCell, collections::HashMap, net::IpAddr};

use authz::{Action, Facts};
use policies::{
    document::{
        AuthorizationAction, AuthorizationPolicy, Condition, DocumentSet, Operation, Rule, Source,
        Spanned,
    },
    mesh::Mesh,
    workload::Workload,
};
use regex::Regex;
use serde_json::{Map, Value};

/// A policy and which of its rules.
pub(crate) type By = Option<(String, usize)>;

/// Everything that is said about one request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The CUSTOM rule that matched, and the provider; none where nobody can be asked.
    pub(crate) custom: Option<(By, Option<String>)>,
    pub(crate) allowed: bool,
    pub(crate) by: By,
    pub(crate) audit: By,
    pub(crate) would_deny: By,
    /// None if no ALLOW policy is in dry run.
    pub(crate) would_allow: Option<By>,
}

/// A request, with the payload of its token as it was signed.
pub(crate) struct Subject<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) payload: Option<&'a Map<String, Value>>,
}

/// What the text says.
pub(crate) fn reference(
    documents: &DocumentSet,
    workload: &Workload,
    mesh: &Mesh,
    subject: &Subject<'_>,
) -> Outcome {
    let root = mesh.root_namespace.as_str();
    let mut selected: Vec<&AuthorizationPolicy> = (documents.authorization_policies.iter())
        .map(|policy| &**policy)
        .filter(|policy| holds(policy, workload, root))
        .collect();
    selected.sort_by_key(|policy| policy.meta.namespace != root);
    let tried = |policy: &AuthorizationPolicy| {
        let value = policy.meta.annotations.get("istio.io/dry-run");
        value.is_some_and(|value| value == "true")
    };
    let of = |wanted: AuthorizationAction, dry: bool| -> Vec<&AuthorizationPolicy> {
        let policies = selected.iter().copied();
        policies
            .filter(|policy| policy.action.value == wanted && tried(policy) == dry)
            .collect()
    };
    let first = |policies: &[&AuthorizationPolicy], action| -> By {
        policies.iter().find_map(|policy| {
            let judge = Judge {
                facts: subject.facts,
                payload: subject.payload,
                action,
                mesh,
                policy,
            };
            let index = policy.rules.iter().position(|rule| judge.rule(rule))?;
            Some((policy.meta.name.clone(), index))
        })
    };
    let custom = of(AuthorizationAction::Custom, false);
    let allow = of(AuthorizationAction::Allow, false);
    let tried_allow = of(AuthorizationAction::Allow, true);
    let denied = first(&of(AuthorizationAction::Deny, false), Action::Deny);
    let allowed_by = first(&allow, Action::Allow);
    let (allowed, by) = match (denied, allow.is_empty()) {
        (Some(by), _) => (false, Some(by)),
        (None, true) => (true, None),
        (None, false) => (allowed_by.is_some(), allowed_by),
    };
    // CUSTOM comes before the token is looked at.
    let asked = first(&custom, Action::Custom);
    Outcome {
        custom: asked.map(|by| (Some(by), provider(&custom, subject.facts.http.is_some()))),
        allowed,
        by,
        audit: first(&of(AuthorizationAction::Audit, false), Action::Audit),
        would_deny: first(&of(AuthorizationAction::Deny, true), Action::Deny),
        would_allow: (!tried_allow.is_empty()).then(|| first(&tried_allow, Action::Allow)),
    }
}

/// `grpc` takes everything, `http` takes HTTP, and the mesh has no other; several are none.
fn provider(custom: &[&AuthorizationPolicy], is_http: bool) -> Option<String> {
    let mut names: Vec<&str> = custom
        .iter()
        .filter_map(|policy| Some(policy.provider.as_ref()?.value.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        ["grpc"] => Some("grpc".to_owned()),
        ["http"] if is_http => Some("http".to_owned()),
        _ => None,
    }
}

fn holds(policy: &AuthorizationPolicy, workload: &Workload, root: &str) -> bool {
    let own = policy.meta.namespace == workload.namespace;
    if !policy.target_refs.is_empty() {
        let gateway = workload
            .labels
            .get("gateway.networking.k8s.io/gateway-name");
        return own
            && policy
                .target_refs
                .iter()
                .any(|target| Some(&target.name) == gateway);
    }
    (own || policy.meta.namespace == root)
        && policy.selector.as_ref().is_none_or(|selector| {
            selector
                .match_labels
                .iter()
                .all(|(name, value)| workload.labels.get(name) == Some(&value.value))
        })
}

struct Judge<'a> {
    facts: &'a Facts<'a>,
    payload: Option<&'a Map<String, Value>>,
    action: Action,
    mesh: &'a Mesh,
    policy: &'a AuthorizationPolicy,
}

type Values = [Spanned<String>];

fn full(expression: &str, value: &str) -> bool {
    thread_local! {
        static READ: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    READ.with_borrow_mut(|read| {
        let regex = read
            .entry(expression.to_owned())
            .or_insert_with(|| Regex::new(&format!("^(?s:{expression})$")).unwrap());
        regex.is_match(value)
    })
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
            .any(|when| when.key.starts_with("request."))
            || rule.from.iter().any(|from| {
                !from.request_principals.is_empty() || !from.not_request_principals.is_empty()
            });
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
        ) && Self::field(&source.trust_domains, &source.not_trust_domains, |value| {
            self.trust_domain(value)
        }) && (self.facts.http.is_none()
            || Self::field(
                &source.request_principals,
                &source.not_request_principals,
                |value| self.request_principal(value),
            ))
            && Self::field(
                &source.ip_blocks,
                &source.not_ip_blocks,
                ip(self.facts.source_ip),
            )
            && Self::field(
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

    fn trust_domain(&self, value: &str) -> bool {
        if value == "*" {
            return self.peer(".*");
        }
        let mut names = vec![self.mesh.trust_domain.clone()];
        names.extend(self.mesh.trust_domain_aliases.clone());
        let written = if names.iter().any(|name| name == value) {
            names
        } else {
            vec![value.to_owned()]
        };
        written.iter().any(|name| {
            let name = regex::escape(name).replace("\\*", "[^/]*");
            self.peer(&format!("spiffe://{name}/.*"))
        })
    }

    /// A claim of text, found by its names.
    fn claim(&self, names: &[&str]) -> Vec<String> {
        let (first, inner) = names.split_first().unwrap();
        let mut found = self.payload.and_then(|payload| payload.get(*first));
        for name in inner {
            found = found.and_then(|value| value.as_object()?.get(*name));
        }
        match found {
            Some(Value::String(text))
                if inner.is_empty() && ["scope", "permission"].contains(first) =>
            {
                let words = text.split(' ').filter(|word| !word.is_empty());
                words.map(str::to_owned).collect()
            }
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(list)) => {
                let texts = list.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    fn request_principal(&self, value: &str) -> bool {
        let (issuer, subject) = match (value.rfind('/'), value) {
            (_, "*") => (".+".to_owned(), ".+".to_owned()),
            (Some(at), _) => (form(&value[..at], ".+"), form(&value[at + 1..], ".+")),
            (None, _) if value.starts_with('*') => (".+".to_owned(), form(value, ".+")),
            (None, _) if value.ends_with('*') => (form(value, ".+"), ".+".to_owned()),
            (None, _) => (form(value, ".+"), String::new()),
        };
        let text = |name: &str| self.payload?.get(name)?.as_str();
        text("iss").is_some_and(|text| full(&issuer, text))
            && text("sub").is_some_and(|text| full(&subject, text))
    }

    /// `request.auth.claims[a][b]` and its short names.
    fn token(&self, key: &str, values: &Values, not_values: &Values) -> bool {
        if self.facts.http.is_none() {
            return true;
        }
        let names: Vec<&str> = match key {
            "request.auth.principal" => {
                return Self::field(values, not_values, |value| self.request_principal(value));
            }
            "request.auth.audiences" => vec!["aud"],
            "request.auth.presenter" => vec!["azp"],
            key => {
                let names = key.strip_prefix("request.auth.claims[").unwrap();
                names.strip_suffix(']').unwrap().split("][").collect()
            }
        };
        let texts = self.claim(&names);
        Self::field(values, not_values, |value| {
            texts.iter().any(|text| full(&form(value, ".+"), text))
        })
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
        let stops = self.action != Action::Allow;
        Self::field(&operation.hosts, &operation.not_hosts, host)
            && Self::field(&operation.methods, &operation.not_methods, |value| {
                full(&form(value, ".*"), http.method)
            })
            && Self::field(&operation.paths, &[], |value| path(value, http.path, stops))
            && Self::field(&[], &operation.not_paths, |value| {
                path(value, http.path, !stops)
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
            "remote.ip" => Self::field(values, not_values, ip(facts.remote_ip)),
            "destination.ip" => Self::field(values, not_values, ip(facts.destination_ip)),
            "source.serviceAccount" => Self::field(values, not_values, |value| self.account(value)),
            "source.trustDomain" => {
                Self::field(values, not_values, |value| self.trust_domain(value))
            }
            key if key.starts_with("request.auth.") => self.token(key, values, not_values),
            "destination.port" => Self::field(values, not_values, |value| {
                value.value == facts.destination_port.to_string()
            }),
            "source.principal" => Self::field(values, not_values, |value| self.principal(value)),
            "source.namespace" => Self::field(values, not_values, |value| self.namespace(value)),
            "connection.sni" => Self::field(values, not_values, |value| {
                facts.sni.is_some_and(|sni| full(&form(value, ".+"), sni))
            }),
            "request.headers[x-role]" => self.header("x-role", values, not_values),
            "request.headers[:authority]" => facts.http.is_none_or(|http| {
                Self::field(values, not_values, |value| {
                    full(&form(value, ".*"), http.host)
                })
            }),
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
