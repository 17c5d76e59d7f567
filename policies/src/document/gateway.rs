//! Gateway (`networking.istio.io`): what a gateway listens to, and with which certificates.

use std::collections::BTreeMap;

use super::{Meta, Protocol, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields, Port, is_host_name};
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
}

/// Istio's `Port` of a server.
#[derive(Clone, Debug)]
pub struct ServerPort {
    /// `number`: the logical port; the process says where it listens.
    pub number: Spanned<u16>,
    /// `name`.
    pub name: String,
    /// `protocol`.
    pub protocol: Spanned<Protocol>,
}

/// Istio's `ServerTLSSettings`.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Where it stands.
    pub at: Location,
    /// `mode`; other modes are refused at load.
    pub mode: Option<ServerTlsMode>,
    /// `credentialName`: the directory of the certificate among the gateway's credentials.
    pub credential_name: Option<Spanned<String>>,
    /// `httpsRedirect`: 301 to https for all hosts of the server.
    pub https_redirect: bool,
    /// `minProtocolVersion`.
    pub min_version: TlsVersion,
}

/// `tls.mode` as far as it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// `SIMPLE`: the server shows a certificate, the client does not.
    Simple,
}

/// `minProtocolVersion`; older versions are refused at load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLSV1_2`, also the default.
    #[default]
    V1_2,
    /// `TLSV1_3`.
    V1_3,
}

impl Document for Gateway {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let selector = f.map("selector");
        let servers = f.non_empty("servers");
        Some(Self {
            meta,
            selector,
            servers: servers?,
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
            f.unread(
                "bind",
                codes::FIELD_NOT_IN_FORCE,
                "the process says where it listens",
            );
            f.optional::<String>("defaultEndpoint");
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
    match (port.protocol.value, tls) {
        (Protocol::Tls | Protocol::Tcp, _) => {
            let message = format!(
                "{} servers are not in force, only HTTP, HTTP2, GRPC and HTTPS are",
                port.protocol
            );
            report(codes::SECURITY_FIELD_NOT_IN_FORCE, message, None);
        }
        (Protocol::Https, None) => {
            report(
                codes::MISSING_FIELD,
                "an HTTPS server needs `tls`".to_owned(),
                None,
            );
        }
        (Protocol::Https, Some(tls)) if tls.https_redirect => {
            let help = Some("redirect on the HTTP server of the same hosts");
            report(
                codes::INVALID_VALUE,
                "an HTTPS server cannot redirect to itself".to_owned(),
                help,
            );
        }
        (Protocol::Https, Some(tls))
            // A refused mode has been reported.
            if tls.mode.is_some() && tls.credential_name.is_none() => {
                let help = Some(
                    "name the directory of `tls.crt` and `tls.key` among the gateway's credentials",
                );
                report(
                    codes::MISSING_FIELD,
                    format!("`{path}.credentialName` is missing"),
                    help,
                );
            }
        (protocol, Some(tls))
            if protocol.is_http() && (tls.mode.is_some() || tls.credential_name.is_some()) =>
        {
            let message = format!("a {} server has no TLS of its own", port.protocol);
            report(
                codes::INVALID_VALUE,
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
            let name = f.optional("name");
            let protocol = f.required("protocol");
            f.optional::<u32>("targetPort");
            Some(Self {
                number: number?.map(|Port(port)| port),
                name: name.unwrap_or_default(),
                protocol: protocol?,
            })
        })
    }
}

impl Decode for ServerTls {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let https_redirect: bool = f.or_default("httpsRedirect");
            let mode = match f.get("mode") {
                Some(cursor) => mode(&cursor),
                // A block that only redirects has no mode; any other means the default.
                None => {
                    (!https_redirect || f.has("credentialName")).then_some(ServerTlsMode::Simple)
                }
            };
            let credential_name = f.get("credentialName").and_then(|cursor| {
                let text = cursor.text()?;
                // It names a directory, so it must not lead out of the credentials.
                if is_host_name(text) {
                    Some(cursor.spanned(text.to_owned()))
                } else {
                    cursor.invalid_with(
                        "a credential name",
                        Some("use letters, digits, `-` and `.`".to_owned()),
                    )
                }
            });
            let min_version = f
                .get("minProtocolVersion")
                .and_then(|cursor| min_version(&cursor));
            if let Some(cursor) = f.get("maxProtocolVersion")
                && !matches!(cursor.text(), Some("TLSV1_3" | "TLS_AUTO"))
            {
                let message = "`maxProtocolVersion` is not in force below TLSV1_3";
                cursor.error(codes::SECURITY_FIELD_NOT_IN_FORCE, message, None);
            }
            for field in [
                "serverCertificate",
                "privateKey",
                "caCertificates",
                "caCertCredentialName",
                "caCrl",
                "credentialNames",
                "tlsCertificates",
            ] {
                f.refused(
                    field,
                    "certificates come from the directory that `credentialName` names",
                );
            }
            for field in [
                "subjectAltNames",
                "verifyCertificateSpki",
                "verifyCertificateHash",
            ] {
                f.refused(field, "clients are not asked for certificates");
            }
            f.refused(
                "cipherSuites",
                "the suites are fixed: AEAD with forward secrecy only",
            );
            Some(Self {
                at: f.cursor().at(),
                mode,
                credential_name,
                https_redirect,
                min_version: min_version.unwrap_or_default(),
            })
        })
    }
}

fn mode(cursor: &Cursor<'_>) -> Option<ServerTlsMode> {
    let mode = cursor.one_of(&[
        ("SIMPLE", Some(ServerTlsMode::Simple)),
        ("MUTUAL", None),
        ("OPTIONAL_MUTUAL", None),
        ("ISTIO_MUTUAL", None),
        ("PASSTHROUGH", None),
        ("AUTO_PASSTHROUGH", None),
    ])?;
    if mode.is_none() {
        let name = cursor.text().unwrap_or_default();
        let message =
            format!("the mode {name} is not in force, and a security field is never ignored");
        cursor.error(
            codes::SECURITY_FIELD_NOT_IN_FORCE,
            message,
            Some("in force is SIMPLE".to_owned()),
        );
    }
    mode
}

fn min_version(cursor: &Cursor<'_>) -> Option<TlsVersion> {
    let version = cursor.one_of(&[
        ("TLS_AUTO", Some(TlsVersion::V1_2)),
        ("TLSV1_0", None),
        ("TLSV1_1", None),
        ("TLSV1_2", Some(TlsVersion::V1_2)),
        ("TLSV1_3", Some(TlsVersion::V1_3)),
    ])?;
    if version.is_none() {
        cursor.invalid("TLSV1_2 or TLSV1_3: older versions are broken and not spoken")
    } else {
        version
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
        let good = (namespace == "." || namespace == "*" || is_host_name(namespace))
            && (host == "*" || is_host_name(name));
        if good {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a host",
            Some("write `example.com`, `*.example.com`, `*` or `namespace/host`".to_owned()),
        )
    }
}
