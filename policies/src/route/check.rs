//! Whether documents fit together: hosts, subsets, ports and gateways that are named exist. The same for every proxy.

use std::collections::{HashMap, HashSet};

use crate::cluster::unknown_subset;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Destination, DocumentSet, Spanned};
use crate::host::HostPattern;
use crate::nearest::nearest;
use crate::registry::{HostError, Registry, Service};

/// After so many findings the cause is a missing file, not a typing mistake.
const MAX_SUGGESTIONS: usize = 50;

/// Every finding about references between documents.
pub(super) fn check(documents: &DocumentSet, registry: &Registry) -> Vec<Diagnostic> {
    let mut check = Check {
        registry,
        subsets: HashMap::new(),
        wildcard_subsets: Vec::new(),
        diagnostics: Vec::new(),
    };
    for rule in &documents.destination_rules {
        let names = rule.subsets.iter().map(|subset| subset.name.as_str());
        match HostPattern::parse(&rule.host) {
            HostPattern::Exact(_) => {
                if let Some(service) = check.service(&rule.host, &rule.meta.namespace) {
                    check
                        .subsets
                        .entry(&service.host)
                        .or_default()
                        .extend(names);
                }
            }
            pattern => check
                .wildcard_subsets
                .extend(names.map(|name| (pattern.clone(), name))),
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
        for gateway in document
            .gateways
            .iter()
            .chain(matches.flat_map(|found| &found.gateways))
        {
            check.gateway(gateway, namespace, &gateways);
        }
        for rule in &document.http {
            for destination in &rule.route {
                check.destination(&destination.destination, namespace);
            }
        }
    }
    check.diagnostics
}

/// A gateway's qualified name.
pub(super) fn qualified_gateway(name: &str, namespace: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
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

struct Check<'a> {
    registry: &'a Registry,
    /// Names of subsets by canonical host.
    subsets: HashMap<&'a str, Vec<&'a str>>,
    wildcard_subsets: Vec<(HostPattern, &'a str)>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    fn service(&mut self, host: &Spanned<String>, namespace: &str) -> Option<&'a Service> {
        if let Some(service) = self.registry.lookup(host, namespace) {
            return Some(service);
        }
        // Looking for the nearest name takes a look at every name.
        if self.diagnostics.len() >= MAX_SUGGESTIONS {
            self.diagnostics
                .push(unknown_host(host, &HostError::Unknown { nearest: None }));
            return None;
        }
        match self.registry.resolve(host, namespace) {
            Ok(service) => Some(service),
            Err(error) => {
                self.diagnostics.push(unknown_host(host, &error));
                None
            }
        }
    }

    fn gateway(&mut self, name: &Spanned<String>, namespace: &str, known: &HashSet<String>) {
        if name.value == "mesh" {
            return;
        }
        let qualified = qualified_gateway(name, namespace);
        if known.contains(&qualified) {
            return;
        }
        let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
        names.sort_unstable();
        let message = format!("no document declares the gateway `{qualified}`");
        // The right name in another namespace is the likeliest mistake.
        let short = name.rsplit('/').next().unwrap_or_default();
        let elsewhere = names
            .iter()
            .copied()
            .find(|known| known.rsplit('/').next() == Some(short));
        let help = elsewhere
            .or_else(|| nearest(&qualified, names))
            .map(|name| format!("did you mean `{name}`?"));
        let diagnostic =
            Diagnostic::error(codes::UNKNOWN_GATEWAY, name.at.clone(), &name.path, message);
        self.diagnostics.push(diagnostic.with_help_if(help));
    }

    fn destination(&mut self, destination: &Destination, namespace: &str) {
        let Some(service) = self.service(&destination.host, namespace) else {
            return;
        };
        if let Some(number) = &destination.port {
            let ports: Vec<String> = service
                .ports
                .iter()
                .map(|port| port.number.to_string())
                .collect();
            match service.port(**number) {
                Some(port) if port.protocol.is_http() => {}
                Some(port) => {
                    let message = format!(
                        "port {number} of `{}` speaks {}, an HTTP route needs HTTP",
                        service.host, port.protocol
                    );
                    self.diagnostics.push(Diagnostic::error(
                        codes::UNKNOWN_PORT,
                        number.at.clone(),
                        &number.path,
                        message,
                    ));
                }
                None => {
                    let message = format!("`{}` has no port {number}", service.host);
                    let diagnostic = Diagnostic::error(
                        codes::UNKNOWN_PORT,
                        number.at.clone(),
                        &number.path,
                        message,
                    );
                    self.diagnostics
                        .push(diagnostic.with_help(format!("it has {}", ports.join(", "))));
                }
            }
        }
        if let Some(subset) = &destination.subset {
            let exact = self
                .subsets
                .get(&*service.host)
                .into_iter()
                .flatten()
                .copied();
            let wildcards = self.wildcard_subsets.iter();
            let wild = wildcards
                .filter(|(pattern, _)| pattern.matches(&service.host))
                .map(|(_, name)| *name);
            let known: Vec<&str> = exact.chain(wild).collect();
            if !known.contains(&subset.as_str()) {
                self.diagnostics
                    .push(unknown_subset(subset, service, known.into_iter()));
            }
        }
    }
}
