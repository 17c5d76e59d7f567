//! How a Sidecar is read.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{
    CaptureMode, EgressHost, EgressListener, IngressListener, OutboundTrafficMode, Sidecar,
    SidecarOutboundTrafficPolicy, SidecarPort,
};
use crate::decode::{Cursor, Decode, Document, Fields, is_host_name, is_label};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::selector::WorkloadLabels;
use crate::document::{Destination, Meta, Protocol, Spanned};

impl Document for Sidecar {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let workload_selector = f
            .optional("workloadSelector")
            .map(|WorkloadLabels(selector)| selector);
        let ingress: Vec<IngressListener> = f.later_list(
            "ingress",
            codes::FIELD_NOT_IN_FORCE,
            "a workload takes in what `inbound` of its process file says, since nothing is captured",
        );
        let egress: Vec<EgressListener> = f.list("egress");
        let inbound_connection_pool = f.later(
            "inboundConnectionPool",
            codes::FIELD_NOT_IN_FORCE,
            "`limits` of the process file bound what is taken in",
        );
        let outbound_traffic_policy = f.optional("outboundTrafficPolicy");
        f.any_of(&[
            "ingress",
            "egress",
            "outboundTrafficPolicy",
            "inboundConnectionPool",
        ]);
        unique_ports(f, ingress.iter().map(|listener| &listener.port));
        let with_port = egress.iter().filter_map(|listener| listener.port.as_ref());
        unique_ports(f, with_port.filter(|port| port.number.value != 0));
        unique_sockets(f, &egress);
        catch_all_is_last(f, &egress);
        Some(Self {
            meta,
            workload_selector,
            ingress,
            egress,
            inbound_connection_pool,
            outbound_traffic_policy,
        })
    }
}

fn unique_ports<'a>(f: &Fields<'_>, ports: impl Iterator<Item = &'a SidecarPort>) {
    let mut seen = BTreeSet::new();
    for SidecarPort { number, .. } in ports {
        if !seen.insert(number.value) {
            let message = format!("the port {number} has two listeners");
            let at = number.at.clone();
            f.report(Diagnostic::error(
                codes::INVALID_VALUE,
                at,
                &number.path,
                message,
            ));
        }
    }
}

fn unique_sockets(f: &Fields<'_>, egress: &[EgressListener]) {
    let mut seen = BTreeSet::new();
    for bind in egress.iter().filter_map(|listener| listener.bind.as_ref()) {
        if bind.starts_with("unix://") && !seen.insert(bind.as_str()) {
            let message = format!("the socket `{bind}` has two listeners");
            let at = bind.at.clone();
            f.report(Diagnostic::error(
                codes::INVALID_VALUE,
                at,
                &bind.path,
                message,
            ));
        }
    }
}

/// A listener without a port takes what no other one does.
fn catch_all_is_last(f: &Fields<'_>, egress: &[EgressListener]) {
    let Some((_, others)) = egress.split_last() else {
        return;
    };
    for listener in others.iter().filter(|listener| listener.port.is_none()) {
        let message = "a listener without `port` takes the rest, so it has to be the last one";
        let at = listener.at.clone();
        f.report(Diagnostic::error(
            codes::INVALID_VALUE,
            at,
            &listener.path,
            message,
        ));
    }
}

impl Decode for IngressListener {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let port = f.required::<SidecarPort>("port");
            let bind = f.get("bind").and_then(|cursor| ip(&cursor));
            let capture_mode = f.or_default("captureMode");
            let default_endpoint = f.optional::<Spanned<DefaultEndpoint>>("defaultEndpoint");
            let tls = f.refused_typed("tls", "listeners end mTLS of the mesh only");
            let connection_pool = f.optional("connectionPool");
            let port = port?;
            if port.number.value == 0 {
                f.report(Diagnostic::error(
                    codes::INVALID_VALUE,
                    port.number.at.clone(),
                    &port.number.path,
                    "`0` is not a port between 1 and 65535",
                ));
            }
            Some(Self {
                port,
                bind,
                capture_mode,
                default_endpoint: default_endpoint
                    .map(|endpoint| endpoint.map(|DefaultEndpoint(text)| text)),
                tls,
                connection_pool,
            })
        })
    }
}

impl Decode for EgressListener {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let port = f.optional::<SidecarPort>("port");
            let bind: Option<Spanned<String>> = f.later(
                "bind",
                codes::BIND_NOT_IN_FORCE,
                "`outbound` and `upstreams` of the process file say where the sidecar listens",
            );
            let capture_mode = egress_capture(f);
            let hosts = f.non_empty("hosts");
            check_bind(f, port.as_ref(), bind.as_ref(), capture_mode);
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                port,
                bind,
                capture_mode,
                hosts: hosts?,
            })
        })
    }
}

/// Nothing is captured: the application calls the sidecar's own ports.
fn egress_capture(f: &mut Fields<'_>) -> CaptureMode {
    let Some(cursor) = f.get("captureMode") else {
        return CaptureMode::default();
    };
    let mode = CaptureMode::decode(&cursor).unwrap_or_default();
    if mode == CaptureMode::Iptables {
        f.warn_later(
            &cursor,
            "captureMode",
            codes::FIELD_NOT_IN_FORCE,
            "connections are not captured, applications call the sidecar's ports",
        );
    }
    mode
}

/// Port 0 is a Unix socket, any other port an IP address.
fn check_bind(
    f: &Fields<'_>,
    port: Option<&SidecarPort>,
    bind: Option<&Spanned<String>>,
    capture_mode: CaptureMode,
) {
    let wrong = |at: &Spanned<String>, message: &str| {
        let (at, path) = (at.at.clone(), &at.path);
        f.report(Diagnostic::error(codes::INVALID_VALUE, at, path, message));
    };
    let socket = bind.filter(|bind| is_socket(bind));
    match (port.map(|port| &port.number), bind) {
        (None, Some(bind)) => wrong(bind, "`bind` needs a `port`"),
        (Some(number), _) if number.value == 0 && socket.is_none() => {
            let message = "a listener on port 0 needs a Unix socket";
            let finding = Diagnostic::error(
                codes::INVALID_VALUE,
                number.at.clone(),
                &number.path,
                message,
            );
            f.report(finding.with_help("write `bind: unix:///path/to/socket`"));
        }
        (Some(number), Some(bind)) if number.value == 0 => {
            if capture_mode == CaptureMode::Iptables {
                wrong(
                    bind,
                    "a Unix socket cannot be captured: `captureMode` is DEFAULT or NONE",
                );
            }
        }
        (Some(_), Some(bind)) => {
            if bind.parse::<IpAddr>().is_err() {
                wrong(bind, "`bind` of a listener with a port is an IP address");
            }
        }
        (_, None) => {}
    }
}

fn is_socket(text: &str) -> bool {
    text.strip_prefix("unix://").is_some_and(|path| {
        let abstract_name = path.strip_prefix('@').is_some_and(|name| !name.is_empty());
        abstract_name || (path.starts_with('/') && path.len() > 1)
    })
}

fn ip(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    match text.parse::<IpAddr>() {
        Ok(_) => Some(text.to_owned()),
        Err(_) => cursor.invalid("an IP address"),
    }
}

impl Decode for SidecarPort {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let number = f.required::<Spanned<u32>>("number").and_then(|number| {
                if let Ok(port) = u16::try_from(number.value) {
                    return Some(number.map(|_| port));
                }
                let message = format!("`{number}` is not a port between 0 and 65535");
                let (at, path) = (number.at, number.path);
                f.report(Diagnostic::error(codes::INVALID_VALUE, at, path, message));
                None
            });
            let protocol = f.optional("protocol");
            let name = f.get("name").and_then(|cursor| {
                let text = cursor.text()?;
                if is_label(text) {
                    Some(text.to_owned())
                } else {
                    cursor.invalid("the name of a port")
                }
            });
            if let Some(cursor) = f.get("targetPort") {
                let help = "write the application's port into `defaultEndpoint`";
                cursor.note(|shape| shape.refused(help));
                let message = "`targetPort` has no effect in a Sidecar";
                cursor.error(codes::INVALID_VALUE, message, Some(help.to_owned()));
            }
            Some(Self {
                number: number?,
                // Istio looks into the traffic to tell.
                protocol: protocol.unwrap_or(Protocol::Tcp),
                name,
            })
        })
    }
}

impl Decode for CaptureMode {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("DEFAULT", Self::Default),
            ("IPTABLES", Self::Iptables),
            ("NONE", Self::None),
        ])
    }
}

/// A loopback or wildcard address with a port, or a Unix socket.
struct DefaultEndpoint(String);

impl Decode for DefaultEndpoint {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        const HOSTS: &[&str] = &["", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"];
        let text = cursor.text()?;
        let at_port = text.rsplit_once(':').is_some_and(|(host, port)| {
            HOSTS.contains(&host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if at_port || is_socket(text) {
            return Some(Self(text.to_owned()));
        }
        let help = "write `127.0.0.1:8080`, `0.0.0.0:8080`, `[::1]:8080` or `unix:///path`";
        cursor.invalid_with("an endpoint of the workload", Some(help.to_owned()))
    }
}

impl Decode for EgressHost {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let Some((namespace, host)) = text.split_once('/') else {
            let help = format!("write `./{text}` for the own namespace, `*/{text}` for any");
            return cursor.invalid_with("a namespace and a host", Some(help));
        };
        let good_namespace = matches!(namespace, "*" | "." | "~") || is_label(namespace);
        let name = host.strip_prefix("*.").unwrap_or(host);
        if good_namespace && (host == "*" || is_host_name(name)) {
            return Some(Self {
                namespace: namespace.to_owned(),
                host: host.to_owned(),
            });
        }
        let help = "write `<namespace>/<host>`, as in `./*`, `*/api.example.com` or `~/*`";
        cursor.invalid_with("a namespace and a host", Some(help.to_owned()))
    }
}

impl Decode for SidecarOutboundTrafficPolicy {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let mode = f
                .optional("mode")
                .unwrap_or(OutboundTrafficMode::RegistryOnly);
            let egress_proxy = f.refused_typed::<Spanned<Destination>>(
                "egressProxy",
                "calls to unknown hosts would go around the proxy that it names",
            );
            if let Some(proxy) = &egress_proxy
                && mode != OutboundTrafficMode::AllowAny
            {
                let message = "`egressProxy` belongs to the mode ALLOW_ANY";
                let (at, path) = (proxy.at.clone(), &proxy.path);
                f.report(Diagnostic::error(
                    codes::EXCLUSIVE_FIELDS,
                    at,
                    path,
                    message,
                ));
            }
            Some(Self {
                mode,
                egress_proxy: egress_proxy.map(|proxy| proxy.value),
            })
        })
    }
}

impl Decode for OutboundTrafficMode {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("REGISTRY_ONLY", Self::RegistryOnly),
            ("ALLOW_ANY", Self::AllowAny),
        ])
    }
}
