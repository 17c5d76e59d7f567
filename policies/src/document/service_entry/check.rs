//! Whether the fields of a ServiceEntry go together.

use std::net::IpAddr;

use super::{Resolution, ServiceEntry};
use crate::decode::Fields;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Protocol, Spanned, WorkloadAddress, WorkloadSpec};

pub(super) fn check(f: &Fields<'_>, entry: &ServiceEntry) {
    f.exclusive(&["endpoints", "workloadSelector"]);
    check_hosts(f, entry);
    check_ports(f, entry);
    check_resolution(f, entry);
    for endpoint in &entry.endpoints {
        check_endpoint(f, entry, endpoint);
    }
}

fn error<T>(f: &Fields<'_>, value: &Spanned<T>, message: String, help: Option<&str>) {
    let at = value.at.clone();
    let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &value.path, message);
    f.report(diagnostic.with_help_if(help.map(str::to_owned)));
}

fn check_hosts(f: &Fields<'_>, entry: &ServiceEntry) {
    for host in &entry.hosts {
        if host.value == "*" {
            let message = "a service cannot have every host (`*`)".to_owned();
            error(
                f,
                host,
                message,
                Some("name the hosts, or write `*.example.com`"),
            );
        } else if host.parse::<IpAddr>().is_ok() {
            let message = format!("`{host}` is an address, a host is a name");
            error(f, host, message, Some("write the address into `endpoints`"));
        }
    }
    let named = |protocol: Protocol| {
        protocol.is_http() || matches!(protocol, Protocol::Https | Protocol::Tls)
    };
    let nameless = entry.ports.iter().find(|port| !named(port.protocol));
    if let Some(port) = nameless
        && entry.hosts.len() > 1
        && entry.resolution.value != Resolution::None
    {
        let message = format!(
            "port {} speaks {}, which does not tell which of the {} hosts is meant",
            port.number,
            port.protocol,
            entry.hosts.len()
        );
        error(
            f,
            &port.number,
            message,
            Some("write one document for each host"),
        );
    }
}

fn check_ports(f: &Fields<'_>, entry: &ServiceEntry) {
    if !f.has("ports") {
        let subject = f.cursor().context.subject.borrow().clone();
        let message = format!("{subject} has no ports, so it cannot be called");
        let help = "add `ports: [{number: 8080, name: http, protocol: HTTP}]`";
        f.warn_at("ports", codes::SERVICE_WITHOUT_PORTS, message, Some(help));
    }
    for (position, port) in entry.ports.iter().enumerate() {
        let earlier = || entry.ports.iter().take(position);
        let message = if earlier().any(|earlier| earlier.number == port.number) {
            format!("the port {} is listed twice", port.number)
        } else if earlier().any(|earlier| earlier.name == port.name) {
            format!("the port name `{}` is used twice", port.name)
        } else {
            continue;
        };
        let at = port.number.at.clone();
        let path = &port.number.path;
        f.report(Diagnostic::error(codes::DUPLICATE_ENTRY, at, path, message));
    }
}

fn check_resolution(f: &Fields<'_>, entry: &ServiceEntry) {
    let resolution = &entry.resolution;
    let name = resolution.value.as_str();
    if let Some(block) = entry.addresses.iter().find(|address| address.contains('/'))
        && !matches!(resolution.value, Resolution::None | Resolution::Static)
    {
        let message = format!("the block `{block}` needs resolution NONE or STATIC, it is {name}");
        error(f, block, message, None);
    }
    match resolution.value {
        Resolution::None | Resolution::DynamicDns => {
            if f.has("endpoints") {
                let message = format!("endpoints have no effect with resolution {name}");
                error(f, resolution, message, Some("set `resolution: STATIC`"));
            } else {
                refuse(f, resolution);
            }
            if f.has("workloadSelector") {
                let message = format!("`workloadSelector` has no effect with resolution {name}");
                let help = "set `resolution: STATIC`";
                let code = codes::FIELD_WITHOUT_EFFECT;
                f.warn_at("workloadSelector", code, message, Some(help));
            }
        }
        Resolution::Static if !f.has("endpoints") && !f.has("workloadSelector") => {
            let message = "resolution STATIC needs `endpoints` or `workloadSelector`".to_owned();
            error(
                f,
                resolution,
                message,
                Some("list the endpoints' addresses"),
            );
        }
        Resolution::Static => {}
        Resolution::Dns | Resolution::DnsRoundRobin => {
            let wildcard = entry.hosts.iter().find(|host| host.contains('*'));
            if let Some(host) = wildcard.filter(|_| entry.endpoints.is_empty()) {
                let message = format!("resolution {name} cannot resolve the wildcard `{host}`");
                error(f, host, message, Some("list `endpoints`"));
            }
            if resolution.value == Resolution::DnsRoundRobin && entry.endpoints.len() > 1 {
                let message = "resolution DNS_ROUND_ROBIN has at most one endpoint".to_owned();
                error(f, resolution, message, Some("set `resolution: DNS`"));
            }
        }
    }
}

fn refuse(f: &Fields<'_>, resolution: &Spanned<Resolution>) {
    let subject = f.cursor().context.subject.borrow().clone();
    let message = format!(
        "resolution {} of {subject} is not in force: it needs transparent capture",
        resolution.value.as_str()
    );
    let path = f.cursor().path.field("resolution");
    let code = codes::RESOLUTION_NOT_IN_FORCE;
    let diagnostic = Diagnostic::error(code, resolution.at.clone(), path, message);
    f.report(diagnostic.with_help("use `resolution: DNS` or `resolution: STATIC`"));
}

fn check_endpoint(f: &Fields<'_>, entry: &ServiceEntry, endpoint: &WorkloadSpec) {
    for name in endpoint.ports.keys() {
        if !entry.ports.iter().any(|port| port.name == *name) {
            let message = format!("the service has no port named `{name}`");
            let names: Vec<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
            let help = crate::nearest::nearest(name, names.iter().copied())
                .map(|name| format!("did you mean `{name}`?"));
            let path = endpoint.path.field("ports").key(name);
            let at = endpoint.at.clone();
            let diagnostic = Diagnostic::error(codes::UNKNOWN_PORT, at, path, message);
            f.report(diagnostic.with_help_if(help));
        }
    }
    let Some(address) = &endpoint.address else {
        return;
    };
    match (&address.value, entry.resolution.value) {
        (WorkloadAddress::Name(name), Resolution::Static) => {
            let message = format!("resolution STATIC needs IP addresses, found the name `{name}`");
            error(f, address, message, Some("set `resolution: DNS`"));
        }
        (WorkloadAddress::Unix(_), Resolution::Dns | Resolution::DnsRoundRobin) => {
            let message = "a Unix socket needs resolution STATIC".to_owned();
            error(f, address, message, Some("set `resolution: STATIC`"));
        }
        (WorkloadAddress::Unix(_), _) if entry.ports.len() != 1 => {
            let message = format!(
                "a Unix socket stands for exactly one port, the service has {}",
                entry.ports.len()
            );
            error(f, address, message, None);
        }
        _ => {}
    }
}
