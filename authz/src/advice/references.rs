//! Names, labels and ports in policies that no declared workload has.

mod targets;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use policies::{
    diagnostic::Diagnostic,
    document::{
        AuthorizationAction, AuthorizationPolicy, DocumentSet, LabelSelector, Meta, Operation,
        Rule, Spanned,
    },
    mesh::Mesh,
    nearest::only_near,
};

use super::known::{Known, Workloads, labels};
use crate::codes;

/// Finds what policies name and nobody has.
pub(super) fn advise(
    documents: &DocumentSet,
    workloads: &Workloads<'_>,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let accounts = Accounts::new(documents, workloads, mesh);
    for policy in &documents.authorization_policies {
        accounts.check(policy, mesh, found);
        if !policy.target_refs.is_empty() {
            targets::advise(policy, documents, workloads, found);
            continue;
        }
        let selector = policy.selector.as_ref();
        if workloads.is_for_gateways(selector) {
            gateway_ports(policy, documents, found);
            continue;
        }
        let selected = workloads.selected(&policy.meta, selector);
        if selected.is_empty() {
            found.extend(selects_nothing(&policy.meta, selector, workloads));
        } else {
            ports(policy, &selected, found);
            http_on_tcp(policy, &selected, found);
        }
    }
    for policy in &documents.peer_authentications {
        let selector = policy.selector.as_ref();
        if policy.meta.namespace == mesh.root_namespace || workloads.is_for_gateways(selector) {
            continue;
        }
        let selected = workloads.selected(&policy.meta, selector);
        if selected.is_empty() {
            found.extend(selects_nothing(&policy.meta, selector, workloads));
            continue;
        }
        for (port, mode) in &policy.port_level {
            found.extend(foreign_port(*port, &selected).map(|help| {
                let message = format!(
                    "no workload that {} selects listens on port {port}: the mode has no effect",
                    policy.meta
                );
                let (at, path) = (mode.at.clone(), &mode.path);
                Diagnostic::warning(codes::MTLS_PORT_NOBODY_HAS, at, path, message).with_help(help)
            }));
        }
    }
}

/// What to write instead of a port that no workload has; none if one has it, or if not all ports are known.
fn foreign_port(port: u16, selected: &[&Known<'_>]) -> Option<String> {
    if selected.iter().any(|known| known.ports.is_empty()) {
        return None;
    }
    let all = || selected.iter().flat_map(|known| &known.ports);
    if all().any(|known| known.workload == port) {
        return None;
    }
    let behind: BTreeSet<u16> = all()
        .filter(|known| known.service == port)
        .map(|known| known.workload)
        .collect();
    let shown = |ports: BTreeSet<u16>| {
        let ports: Vec<String> = ports
            .into_iter()
            .take(5)
            .map(|port| port.to_string())
            .collect();
        ports.join(", ")
    };
    Some(if behind.is_empty() {
        let ports = all().map(|known| known.workload).collect();
        format!("they listen on {}", shown(ports))
    } else {
        format!(
            "{port} is the port of the service: policies name the port of the workload, {}",
            shown(behind)
        )
    })
}

fn ports(policy: &AuthorizationPolicy, selected: &[&Known<'_>], found: &mut Vec<Diagnostic>) {
    for port in named_ports(policy) {
        found.extend(
            foreign_port(port.value, selected)
                .map(|help| nobody_has(port, "no workload that the policy selects", &help)),
        );
    }
}

fn named_ports(policy: &AuthorizationPolicy) -> impl Iterator<Item = &Spanned<u16>> {
    let operations = policy.rules.iter().flat_map(|rule| &rule.to);
    operations.flat_map(|operation| operation.ports.iter().chain(&operation.not_ports))
}

fn gateway_ports(
    policy: &AuthorizationPolicy,
    documents: &DocumentSet,
    found: &mut Vec<Diagnostic>,
) {
    let wanted = policy.selector.as_ref().map(labels).unwrap_or_default();
    let meets = |selector: &BTreeMap<String, String>| {
        selector
            .iter()
            .any(|(name, value)| wanted.get(name) == Some(value))
    };
    let known: BTreeSet<u16> = documents
        .gateways
        .iter()
        .filter(|gateway| gateway.selector.is_empty() || meets(&gateway.selector))
        .flat_map(|gateway| &gateway.servers)
        .map(|server| *server.port.number)
        .collect();
    for port in named_ports(policy).filter(|port| !known.contains(port)) {
        let ports: Vec<String> = known.iter().take(5).map(u16::to_string).collect();
        let help = format!("its Gateways have servers on {}", ports.join(", "));
        found.push(nobody_has(port, "no server of the gateway", &help));
    }
}

fn nobody_has(port: &Spanned<u16>, who: &str, help: &str) -> Diagnostic {
    let message = format!("{who} listens on port {port}");
    Diagnostic::warning(codes::PORT_NOBODY_HAS, port.at.clone(), &port.path, message)
        .with_help(help)
}

/// A selector that no workload meets, in a namespace whose workloads are declared.
fn selects_nothing(
    meta: &Meta,
    selector: Option<&LabelSelector>,
    workloads: &Workloads<'_>,
) -> Option<Diagnostic> {
    let selector = selector.filter(|selector| !selector.is_empty())?;
    let declared = workloads.of_namespace(&meta.namespace);
    if declared.is_empty() {
        return None;
    }
    let (name, value) = selector.match_labels.iter().find(|(name, value)| {
        !workloads.expects(&meta.namespace, name, value)
            && !declared
                .iter()
                .any(|known| known.labels.get(*name) == Some(&value.value))
    })?;
    let values: BTreeSet<&str> = declared
        .iter()
        .filter_map(|known| known.labels.get(name))
        .map(String::as_str)
        .collect();
    let help = match only_near(value, values.iter().copied()) {
        Some(near) => format!("did you mean `{name}: {near}`?"),
        None if values.is_empty() => format!("no workload of the namespace has the label `{name}`"),
        None => {
            let some: Vec<&str> = values.into_iter().take(5).collect();
            format!("values of `{name}` there are: {}", some.join(", "))
        }
    };
    let message =
        format!("{meta} selects no declared workload: none has the label `{name}: {value}`");
    let (at, path) = (value.at.clone(), &value.path);
    Some(Diagnostic::warning(codes::SELECTS_NOTHING, at, path, message).with_help(help))
}

/// A field that only HTTP has.
fn http_only(rule: &Rule) -> Option<&'static str> {
    let of_operation = |operation: &Operation| {
        [
            (
                "methods",
                !operation.methods.is_empty() || !operation.not_methods.is_empty(),
            ),
            (
                "paths",
                !operation.paths.is_empty() || !operation.not_paths.is_empty(),
            ),
            (
                "hosts",
                !operation.hosts.is_empty() || !operation.not_hosts.is_empty(),
            ),
        ]
        .into_iter()
        .find_map(|(name, there)| there.then_some(name))
    };
    let of_source = rule.from.iter().find_map(|source| {
        let tokens =
            !source.request_principals.is_empty() || !source.not_request_principals.is_empty();
        tokens.then_some("requestPrincipals")
    });
    let of_condition = rule.when.iter().find_map(|condition| {
        let http = condition.key.starts_with("request.");
        http.then_some("request")
    });
    rule.to
        .iter()
        .find_map(of_operation)
        .or(of_source)
        .or(of_condition)
}

/// On TCP, Istio drops an ALLOW rule with HTTP fields, and the fields alone from any other rule.
fn http_on_tcp(policy: &AuthorizationPolicy, selected: &[&Known<'_>], found: &mut Vec<Diagnostic>) {
    let ports = || selected.iter().flat_map(|known| &known.ports);
    let opaque =
        |port: u16| ports().any(|known| known.workload == port && !known.protocol.is_http());
    for rule in &policy.rules {
        let Some(field) = http_only(rule) else {
            continue;
        };
        let mut named = rule
            .to
            .iter()
            .flat_map(|operation| &operation.ports)
            .peekable();
        let unrestricted =
            rule.to.iter().any(|operation| operation.ports.is_empty()) || named.peek().is_none();
        let on_tcp: Vec<u16> = if unrestricted {
            ports()
                .filter(|known| !known.protocol.is_http())
                .map(|known| known.workload)
                .collect()
        } else {
            named
                .map(|port| port.value)
                .filter(|port| opaque(*port))
                .collect()
        };
        let Some(port) = on_tcp.first() else { continue };
        let only_tcp = ports().all(|known| !known.protocol.is_http());
        let message = match policy.action.value {
            // Beside HTTP ports an ALLOW rule simply does not speak of TCP.
            AuthorizationAction::Allow if unrestricted && !only_tcp => continue,
            AuthorizationAction::Allow => {
                format!(
                    "`{field}` exists in HTTP only, and port {port} is TCP: the whole rule never allows anything there"
                )
            }
            AuthorizationAction::Deny
            | AuthorizationAction::Audit
            | AuthorizationAction::Custom => {
                format!(
                    "`{field}` exists in HTTP only, and port {port} is TCP: there the rule matches every connection, whatever `{field}` says"
                )
            }
        };
        found.push(
            Diagnostic::warning(
                codes::HTTP_FIELDS_ON_TCP,
                rule.at.clone(),
                &rule.path,
                message,
            )
            .with_help("name the HTTP ports with `ports`, and write a rule of its own for TCP"),
        );
    }
}

/// Service accounts that somebody has or may get.
struct Accounts<'a>(HashSet<(&'a str, &'a str)>);

impl<'a> Accounts<'a> {
    fn new(documents: &'a DocumentSet, workloads: &Workloads<'a>, mesh: &Mesh) -> Self {
        let declared = workloads
            .all()
            .iter()
            .map(|known| (known.namespace, known.account));
        let entries = documents.registration_entries.iter().filter_map(|entry| {
            let principal = entry.spiffe_id.strip_prefix("spiffe://")?;
            parts(principal, mesh)
        });
        Self(
            declared
                .chain(entries)
                .filter(|(_, account)| !account.is_empty())
                .collect(),
        )
    }

    /// Callers whose name is a slip of one that is declared. Others may well live elsewhere.
    fn check(&self, policy: &AuthorizationPolicy, mesh: &Mesh, found: &mut Vec<Diagnostic>) {
        for source in policy.rules.iter().flat_map(|rule| &rule.from) {
            for principal in source.principals.iter().chain(&source.not_principals) {
                let Some((namespace, account)) = parts(principal, mesh) else {
                    continue;
                };
                found.extend(self.slip(namespace, account).map(|(namespace, account)| {
                    let domain = principal.split('/').next().unwrap_or_default();
                    unknown(principal, &format!("{domain}/ns/{namespace}/sa/{account}"))
                }));
            }
            for name in source
                .service_accounts
                .iter()
                .chain(&source.not_service_accounts)
            {
                let own = policy.meta.namespace.as_str();
                let (namespace, account) = name.split_once('/').unwrap_or((own, name.as_str()));
                found.extend(
                    self.slip(namespace, account).map(|(namespace, account)| {
                        unknown(name, &format!("{namespace}/{account}"))
                    }),
                );
            }
        }
    }

    fn slip(&self, namespace: &str, account: &str) -> Option<(&'a str, &'a str)> {
        if account.contains('*')
            || namespace.contains('*')
            || self.0.contains(&(namespace, account))
        {
            return None;
        }
        let mut sorted: Vec<(&str, &str)> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        // The same account in another namespace, or another spelling in the same one.
        let spelling = || {
            let names = sorted
                .iter()
                .filter(|(other, _)| *other == namespace)
                .map(|(_, name)| *name);
            only_near(account, names)
        };
        let place = || {
            let places = sorted
                .iter()
                .filter(|(_, other)| *other == account)
                .map(|(name, _)| *name);
            only_near(namespace, places)
        };
        sorted.iter().copied().find(|(other_namespace, other)| {
            (*other_namespace == namespace && Some(*other) == spelling())
                || (*other == account && Some(*other_namespace) == place())
        })
    }
}

/// The namespace and service account of a principal of our own trust domain.
fn parts<'p>(principal: &'p str, mesh: &Mesh) -> Option<(&'p str, &'p str)> {
    let rest = [mesh.trust_domain.as_str(), "cluster.local"]
        .into_iter()
        .chain(mesh.trust_domain_aliases.iter().map(String::as_str))
        .find_map(|domain| principal.strip_prefix(domain)?.strip_prefix("/ns/"))?;
    let (namespace, account) = rest.split_once("/sa/")?;
    (!account.contains('/') && !namespace.contains('/')).then_some((namespace, account))
}

fn unknown(name: &Spanned<String>, near: &str) -> Diagnostic {
    let message = format!("nobody is declared as `{name}`");
    Diagnostic::warning(
        codes::UNKNOWN_IDENTITY,
        name.at.clone(),
        &name.path,
        message,
    )
    .with_help(format!("did you mean `{near}`?"))
}
