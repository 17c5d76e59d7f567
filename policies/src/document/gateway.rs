//! Gateway (`networking.istio.io`): what a gateway listens to, and with which certificates.

mod server_tls;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use server_tls::{OtherServerTls, ServerCertificate, ServerTls, ServerTlsMode, TlsVersion};

use super::{Meta, Protocol, Spanned};
use crate::decode::{
    Cursor, Decode, Document, Fields, NonEmpty, Port, ends_in_a_number, is_dns_label, is_host_name,
    unix_path_problem,
};
use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::source::Location;

/// Istio's Gateway.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector`: labels of the gateway workloads, in any namespace.
    pub selector: BTreeMap<String, String>,
    /// `spec.servers`.
    pub servers: Vec<Server>,
}

impl Gateway {
    /// Whether it holds for a gateway with these labels.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
    }
}

/// Istio's `Server`.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `name`.
    pub name: Option<String>,
    /// `port`.
    pub port: ServerPort,
    /// `hosts`: `[namespace/]host`, as written.
    pub hosts: Vec<Spanned<String>>,
    /// `tls`.
    pub tls: Option<ServerTls>,
    /// `bind`: an IP address or `unix://…`; not in force.
    pub bind: Option<Box<str>>,
    /// `defaultEndpoint`; not in force.
    pub default_endpoint: Option<Box<str>>,
}

/// Istio's `Port` of a server.
#[derive(Clone, Debug)]
pub struct ServerPort {
    /// `number`: the logical port; the process says where it listens.
    pub number: Spanned<u16>,
    /// `name`, once per document.
    pub name: Spanned<String>,
    /// `protocol`.
    pub protocol: Spanned<Protocol>,
}

impl Document for Gateway {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let selector = f.map("selector");
        let servers: Option<Vec<Server>> = f.non_empty("servers");
        if meta.name.contains('.') {
            let message = format!(
                "`{}` cannot be the name of a Gateway: it has a dot",
                meta.name
            );
            let at = meta.at.clone();
            f.report(Diagnostic::error(
                codes::INVALID_VALUE,
                at,
                "metadata.name",
                message,
            ));
        }
        let servers = servers?;
        for (position, server) in servers.iter().enumerate() {
            let name = &server.port.name;
            let mut earlier = servers.iter().take(position);
            if earlier.any(|earlier| earlier.port.name == *name) {
                let message = format!("the port name `{name}` is used twice");
                let at = name.at.clone();
                f.report(Diagnostic::error(
                    codes::DUPLICATE_ENTRY,
                    at,
                    &name.path,
                    message,
                ));
            }
        }
        Some(Self {
            meta,
            selector,
            servers,
        })
    }
}

impl Decode for Server {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.optional("name");
            let port = f.required::<ServerPort>("port");
            let hosts = f.non_empty::<Spanned<ServerHost>>("hosts");
            let tls = f.optional::<ServerTls>("tls");
            let bind = f.later::<Bind>(
                "bind",
                codes::BIND_NOT_IN_FORCE,
                "the process says where it listens",
            );
            let default_endpoint = f.later::<String>(
                "defaultEndpoint",
                codes::FIELD_NOT_IN_FORCE,
                "requests go where routes say",
            );
            let port = port?;
            check_tls(f, &port, tls.as_ref());
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                name,
                port,
                hosts: hosts?
                    .into_iter()
                    .map(|host| host.map(|ServerHost(text)| text))
                    .collect(),
                tls,
                bind: bind.map(|Bind(text)| text),
                default_endpoint: default_endpoint.map(String::into_boxed_str),
            })
        })
    }
}

/// TLS ports need a mode and a certificate, other ports have neither.
fn check_tls(f: &Fields<'_>, port: &ServerPort, tls: Option<&ServerTls>) {
    let path = f.cursor().path.field("tls");
    let report = |code, message: String, help: Option<&str>| {
        let at = tls.map_or_else(|| f.cursor().at(), |tls| tls.at.clone());
        f.report(Diagnostic::error(code, at, &path, message).with_help_if(help.map(str::to_owned)));
    };
    let protocol = port.protocol.value;
    match (protocol, tls) {
        (Protocol::Https | Protocol::Tls, None) => {
            let article = if protocol == Protocol::Https {
                "an"
            } else {
                "a"
            };
            let message = format!("{article} {protocol} server needs `tls`");
            report(codes::MISSING_FIELD, message, None);
        }
        (Protocol::Https | Protocol::Tls, Some(tls)) if tls.https_redirect => {
            let help = Some("redirect on the HTTP server of the same hosts");
            let message = format!("{protocol} servers cannot redirect to themselves");
            report(codes::INVALID_VALUE, message, help);
        }
        (Protocol::Https | Protocol::Tls, Some(_)) => {}
        (Protocol::Tcp, Some(_)) => {
            let message = "a TCP server has no TLS of its own".to_owned();
            report(
                codes::FIELD_OUT_OF_PLACE,
                message,
                Some("set `port.protocol: TLS`"),
            );
        }
        (_, Some(tls)) if tls.mode.is_some() || tls.has_certificate() => {
            let message = format!("a {protocol} server has no TLS of its own");
            report(
                codes::FIELD_OUT_OF_PLACE,
                message,
                Some("set `port.protocol: HTTPS`"),
            );
        }
        _ => {}
    }
}

impl Decode for ServerPort {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let number = f.required::<Spanned<Port>>("number");
            let name = f.required::<Spanned<NonEmpty>>("name");
            let protocol = f.required("protocol");
            if f.optional::<u32>("targetPort")
                .is_some_and(|port| port != 0)
            {
                let message = "`targetPort` has no meaning on a Gateway";
                let help = "routes say which port of a service requests go to";
                f.error_at("targetPort", codes::FIELD_OUT_OF_PLACE, message, Some(help));
            }
            Some(Self {
                number: number?.map(|Port(port)| port),
                name: name?.map(|NonEmpty(name)| name),
                protocol: protocol?,
            })
        })
    }
}

/// `bind`: an IP address or a Unix socket.
struct Bind(Box<str>);

impl Decode for Bind {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        match text.strip_prefix("unix://") {
            Some(path) => {
                if let Some(problem) = unix_path_problem(path) {
                    return cursor.invalid_with("a Unix socket", Some(problem.to_owned()));
                }
            }
            None if text.parse::<IpAddr>().is_err() => {
                return cursor.invalid("an IP address or `unix://…`");
            }
            None => {}
        }
        Some(Self(text.into()))
    }
}

/// `[namespace/]host`, where the namespace may be `.` or `*`.
#[derive(Clone, Debug)]
struct ServerHost(String);

impl Decode for ServerHost {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
        let name = host.strip_prefix("*.").unwrap_or(host);
        let named = is_host_name(name) && !ends_in_a_number(name);
        let good_host = host == "*" || named || host.parse::<IpAddr>().is_ok();
        let good_namespace = namespace == "." || namespace == "*" || is_dns_label(namespace);
        if good_namespace && named && !host.contains('.') {
            let help = format!("write a name with dots, such as `{host}.example.com`, or `*`");
            return cursor.invalid_with("a full host name", Some(help));
        }
        if good_namespace && good_host {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a host",
            Some("write `example.com`, `*.example.com`, `*` or `namespace/host`".to_owned()),
        )
    }
}
