//! Whether the hosts, subsets, ports and gateways that documents name exist.

use std::collections::{HashMap, HashSet};

use crate::cluster::providers;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Destination, DocumentSet, FallbackAnswer, ProviderService, Spanned};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::nearest::nearest;
use crate::registry::{HostError, Registry, Service};
use crate::route::{MESH, qualified_gateway};

/// After so many findings the cause is a missing file, not a typing mistake.
const MAX_SUGGESTIONS: usize = 50;
/// How many names a help line lists.
const MAX_LISTED: usize = 10;

/// Finds references that lead nowhere.
pub(super) fn check(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let mut check = Check {
        registry,
        subsets: HashMap::new(),
        wildcard_subsets: HashMap::new(),
        suggestions: MAX_SUGGESTIONS,
        found,
    };
    for rule in &documents.destination_rules {
        let names = rule.subsets.iter().map(|subset| subset.name.as_str());
        match HostPattern::parse(&rule.host) {
            HostPattern::Exact(_) => {
                if let Some(service) = check.service(&rule.host, &rule.meta.namespace) {
                    let of_host = check.subsets.entry(&service.host).or_default();
                    of_host.extend(names);
                }
            }
            HostPattern::Suffix(suffix) => {
                let of_suffix = check.wildcard_subsets.entry(suffix).or_default();
                of_suffix.extend(names);
            }
            HostPattern::Any => {
                let of_any = check.wildcard_subsets.entry(Box::default()).or_default();
                of_any.extend(names);
            }
        }
    }
    let gateways: HashSet<String> = documents
        .gateways
        .iter()
        .map(|gateway| gateway.meta.qualified())
        .collect();
    for document in &documents.virtual_services {
        let namespace = &document.meta.namespace;
        let matches = document.http.iter().flat_map(|rule| &rule.matches);
        let opaque = || document.tls.iter().chain(&document.tcp);
        let opaque_matches = opaque().flat_map(|rule| &rule.matches);
        for gateway in document
            .gateways
            .iter()
            .chain(matches.flat_map(|found| &found.gateways))
            .chain(opaque_matches.flat_map(|found| &found.gateways))
        {
            check.gateway(gateway, namespace, &gateways);
        }
        for rule in &document.http {
            for destination in &rule.route {
                check.destination(&destination.destination, namespace, User::Requests);
            }
            for mirror in &rule.mirrors {
                check.destination(&mirror.destination, namespace, User::Requests);
            }
        }
        for destination in opaque().flat_map(|rule| &rule.route) {
            check.destination(&destination.destination, namespace, User::Bytes);
        }
    }
    for document in &documents.rate_limits {
        let named = document.service();
        let declared = named.map(|at| (at, check.service(&at.host, &document.meta.namespace)));
        if let Some((at, Some(declared))) = declared {
            check.port(&at.port, declared, User::Provider("a rate limit service"));
        }
    }
    for document in &documents.health_checks {
        let declared = check.service(&document.host, &document.meta.namespace);
        if let (Some(declared), Some(port)) = (declared, &document.port) {
            let user = if document.settings.probe.needs_http() {
                User::Provider("a check by `http` or `grpc`")
            } else {
                User::Anybody
            };
            check.port(port, declared, user);
        }
    }
    for (number, document) in documents.fallbacks.iter().enumerate() {
        let namespace = &document.meta.namespace;
        if let FallbackAnswer::Destination(to) = &document.answer {
            check.destination(to, namespace, User::Requests);
        }
        let Some(service) = check.service(&document.host, namespace) else {
            continue;
        };
        let earlier = documents.fallbacks.iter().take(number);
        let twice = earlier
            .filter(|other| other.meta.namespace == *namespace)
            .find(|other| {
                let other = registry.lookup(&other.host, namespace);
                other.is_some_and(|other| other.host == service.host)
            });
        if let Some(other) = twice {
            let message = format!(
                "`{}` has a Fallback of this namespace already, at {}",
                service.host, other.host.at
            );
            let (at, path) = (document.host.at.clone(), &document.host.path);
            let finding = Diagnostic::error(codes::DUPLICATE_ENTRY, at, path, message);
            check.found.push(finding);
        }
    }
    for (_, at) in providers::authorizers(documents) {
        check.provider(at, &mesh.root_namespace);
    }
}

/// A destination host that means no service.
fn unknown_host(host: &Spanned<String>, error: &HostError) -> Diagnostic {
    match error {
        HostError::Unknown { nearest } => {
            let help = match nearest {
                Some(name) => format!("did you mean `{name}`?"),
                None => "declare it with a ServiceEntry".to_owned(),
            };
            let message = format!("no document declares the host `{host}`");
            Diagnostic::error(codes::UNKNOWN_HOST, host.at.clone(), &host.path, message)
                .with_help(help)
        }
        HostError::Ambiguous { candidates } => {
            let message = format!(
                "the host `{host}` means several services: {}",
                candidates.join(", ")
            );
            let help = "write one of the full names";
            Diagnostic::error(codes::AMBIGUOUS_HOST, host.at.clone(), &host.path, message)
                .with_help(help)
        }
    }
}

/// What a port is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Requests,
    /// What the mesh asks about requests.
    Provider(&'static str),
    Bytes,
    /// Whatever is spoken there.
    Anybody,
}

struct Check<'a, 'f> {
    registry: &'a Registry,
    /// Names of subsets by canonical host.
    subsets: HashMap<&'a str, HashSet<&'a str>>,
    /// Names of subsets by the text behind the star.
    wildcard_subsets: HashMap<Box<str>, HashSet<&'a str>>,
    /// How many nearest names may still be looked for: each takes a look at every name.
    suggestions: usize,
    found: &'f mut Vec<Diagnostic>,
}

impl<'a> Check<'a, '_> {
    fn may_suggest(&mut self) -> bool {
        let left = self.suggestions.checked_sub(1);
        self.suggestions = left.unwrap_or(0);
        left.is_some()
    }

    fn service(&mut self, host: &Spanned<String>, namespace: &str) -> Option<&'a Service> {
        if let Some(service) = self.registry.lookup(host, namespace) {
            return Some(service);
        }
        let error = if self.may_suggest() {
            self.registry.resolve(host, namespace).err()
        } else {
            None
        };
        let error = error.unwrap_or(HostError::Unknown { nearest: None });
        self.found.push(unknown_host(host, &error));
        None
    }

    /// The service of an external authorizer, which has to be declared: nobody else is asked.
    fn provider(&mut self, at: &ProviderService, root_namespace: &str) {
        let ProviderService { service, port } = at;
        let (namespace, host) = providers::split(service);
        let written = service.clone().map(|_| host.to_owned());
        let Some(found) = self.service(&written, namespace.unwrap_or(root_namespace)) else {
            return;
        };
        if let Some(namespace) = namespace.filter(|namespace| **namespace != *found.namespace) {
            let message = format!(
                "the host `{host}` is a service of namespace `{}`, not of `{namespace}`",
                found.namespace
            );
            let (place, path) = (service.at.clone(), &service.path);
            let finding = Diagnostic::error(codes::UNKNOWN_HOST, place, path, message);
            let help = format!("write `{}/{host}`, or the host alone", found.namespace);
            self.found.push(finding.with_help(help));
        } else {
            self.port(port, found, User::Provider("an external authorizer"));
        }
    }

    fn gateway(&mut self, name: &Spanned<String>, namespace: &str, known: &HashSet<String>) {
        if name.value == MESH {
            return;
        }
        let qualified = qualified_gateway(name, namespace);
        if known.contains(&qualified) {
            return;
        }
        let message = format!("no document declares the gateway `{qualified}`");
        let help = self.may_suggest().then(|| {
            let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
            names.sort_unstable();
            // The right name in another namespace is the likeliest mistake.
            let short = name.rsplit('/').next().unwrap_or_default();
            let elsewhere = names
                .iter()
                .copied()
                .find(|known| known.rsplit('/').next() == Some(short));
            elsewhere
                .or_else(|| nearest(&qualified, names))
                .map(|name| format!("did you mean `{name}`?"))
        });
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_GATEWAY, name.at.clone(), &name.path, message);
        self.found.push(diagnostic.with_help_if(help.flatten()));
    }

    fn destination(&mut self, destination: &Destination, namespace: &str, user: User) {
        let Some(service) = self.service(&destination.host, namespace) else {
            return;
        };
        if let Some(number) = &destination.port {
            self.port(number, service, user);
        }
        if let Some(subset) = &destination.subset {
            self.subset(subset, service);
        }
    }

    fn port(&mut self, number: &Spanned<u16>, service: &Service, user: User) {
        let (message, help) = match service.port(**number) {
            Some(port) if port.protocol.is_http() != (user == User::Bytes) => return,
            Some(port) => {
                let (who, needs) = match user {
                    User::Requests => ("an HTTP route", "HTTP"),
                    User::Provider(who) => (who, "HTTP"),
                    User::Bytes => ("a `tcp` or `tls` route", "TCP, TLS or HTTPS"),
                    User::Anybody => return,
                };
                let message = format!(
                    "port {number} of `{}` speaks {}, {who} needs {needs}",
                    service.host, port.protocol
                );
                (message, None)
            }
            None => {
                let ports: Vec<String> = service
                    .ports
                    .iter()
                    .map(|port| port.number.to_string())
                    .collect();
                (
                    format!("`{}` has no port {number}", service.host),
                    Some(format!("it has {}", ports.join(", "))),
                )
            }
        };
        let (at, path) = (number.at.clone(), &number.path);
        let diagnostic = Diagnostic::error(codes::UNKNOWN_PORT, at, path, message);
        self.found.push(diagnostic.with_help_if(help));
    }

    fn subset(&mut self, subset: &Spanned<String>, service: &Service) {
        let dots = service.host.char_indices().skip(1);
        let suffixes = dots
            .filter(|(_, character)| *character == '.')
            .filter_map(|(dot, _)| service.host.get(dot..))
            .chain([""]);
        let wild = suffixes.filter_map(|suffix| self.wildcard_subsets.get(suffix));
        let exact = self.subsets.get(&*service.host);
        let known: Vec<&HashSet<&str>> = exact.into_iter().chain(wild).collect();
        if known.iter().any(|names| names.contains(subset.as_str())) {
            return;
        }
        let mut known: Vec<&str> = known.into_iter().flatten().copied().collect();
        known.sort_unstable();
        let message = format!(
            "no DestinationRule defines the subset `{subset}` of `{}`",
            service.host
        );
        let meant = if self.may_suggest() {
            nearest(subset, known.iter().copied())
        } else {
            None
        };
        let help = if known.is_empty() {
            "define it in a DestinationRule for the host".to_owned()
        } else if let Some(name) = meant {
            format!("did you mean `{name}`?")
        } else {
            known.truncate(MAX_LISTED);
            format!("defined are: {}", known.join(", "))
        };
        let (at, path) = (subset.at.clone(), &subset.path);
        self.found
            .push(Diagnostic::error(codes::UNKNOWN_SUBSET, at, path, message).with_help(help));
    }
}
