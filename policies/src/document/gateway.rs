//! Gateway (`networking.istio.io`): what a gateway listens to, and with which certificates.

use std::collections::BTreeMap;

use super::{Meta, Protocol, Spanned};
use crate::diagnostic::DocPath;
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
