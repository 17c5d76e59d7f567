//! Health checks of workloads outside Kubernetes (Istio's `ReadinessProbe`).

use super::Spanned;
use crate::decode::{Cursor, Decode, Fields, HeaderNameText, NonEmpty, Port};

/// Istio's `ReadinessProbe`. Times are whole seconds, 0 means the default.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadinessProbe {
    /// `initialDelaySeconds`: before the first check, default 0.
    pub initial_delay_seconds: u32,
    /// `timeoutSeconds` of one check, default 1.
    pub timeout_seconds: u32,
    /// `periodSeconds` between checks, default 10.
    pub period_seconds: u32,
    /// `successThreshold`: successes in a row that make an unhealthy workload healthy, default 1.
    pub success_threshold: u32,
    /// `failureThreshold`: failures in a row that make a healthy workload unhealthy, default 3.
    pub failure_threshold: u32,
    /// How it is checked.
    pub method: Spanned<ProbeMethod>,
}

/// Exactly one of `httpGet`, `tcpSocket`, `exec`, `grpc`.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeMethod {
    /// `httpGet`: a status from 200 to 399 is healthy.
    Http {
        /// `path`, default `/`.
        path: String,
        /// `port`.
        port: u16,
        /// `host` to connect to, default the workload's address.
        host: Option<String>,
        /// `scheme: HTTPS`; default HTTP.
        tls: bool,
        /// `httpHeaders`.
        headers: Vec<(String, String)>,
    },
    /// `tcpSocket`: a connection is healthy.
    Tcp {
        /// `host`, default localhost.
        host: Option<String>,
        /// `port`.
        port: u16,
    },
    /// `exec.command`: exit status 0 is healthy.
    Exec(Vec<String>),
    /// `grpc`: the gRPC health protocol.
    Grpc {
        /// `port`.
        port: u16,
        /// `service`: its full name; empty for the whole server.
        service: String,
    },
}

const METHODS: &[&str] = &["httpGet", "tcpSocket", "exec", "grpc"];

impl Decode for ReadinessProbe {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let mut seconds = |name| f.or_default::<u32>(name);
            let initial_delay_seconds = seconds("initialDelaySeconds");
            let timeout_seconds = seconds("timeoutSeconds");
            let period_seconds = seconds("periodSeconds");
            let success_threshold = seconds("successThreshold");
            let failure_threshold = seconds("failureThreshold");
            let http = method(f, "httpGet", http);
            let tcp = method(f, "tcpSocket", |f| {
                let host = f.optional::<NonEmpty>("host").map(|NonEmpty(text)| text);
                let Port(port) = f.required("port")?;
                Some(ProbeMethod::Tcp { host, port })
            });
            let exec = method(f, "exec", |f| {
                let command = f.non_empty::<NonEmpty>("command")?;
                let words = command.into_iter().map(|NonEmpty(word)| word);
                Some(ProbeMethod::Exec(words.collect()))
            });
            let grpc = method(f, "grpc", |f| {
                let service = f.or_default("service");
                let Port(port) = f.required("port")?;
                Some(ProbeMethod::Grpc { port, service })
            });
            f.exclusive(METHODS);
            f.any_of(METHODS);
            Some(Self {
                initial_delay_seconds,
                timeout_seconds,
                period_seconds,
                success_threshold,
                failure_threshold,
                method: http.or(tcp).or(exec).or(grpc)?,
            })
        })
    }
}

fn method(
    f: &mut Fields<'_>,
    name: &'static str,
    schema: impl FnOnce(&mut Fields<'_>) -> Option<ProbeMethod>,
) -> Option<Spanned<ProbeMethod>> {
    let cursor = f.get(name)?;
    cursor.fields(schema).map(|method| cursor.spanned(method))
}

fn http(f: &mut Fields<'_>) -> Option<ProbeMethod> {
    let path: Option<String> = f.get("path").and_then(|cursor| match cursor.text()? {
        "" => Some("/".to_owned()),
        path if path.starts_with('/') => Some(path.to_owned()),
        _ => cursor.invalid("a path that starts with `/`"),
    });
    let port = f.required::<Port>("port");
    let host = f.optional::<NonEmpty>("host").map(|NonEmpty(host)| host);
    let scheme = f
        .get("scheme")
        .and_then(|cursor| cursor.one_of(&[("HTTP", false), ("HTTPS", true), ("", false)]));
    let headers = f.list::<Header>("httpHeaders");
    Some(ProbeMethod::Http {
        path: path.unwrap_or_else(|| "/".to_owned()),
        port: port?.0,
        host,
        tls: scheme.unwrap_or(false),
        headers: headers
            .into_iter()
            .map(|Header(name, value)| (name, value))
            .collect(),
    })
}

/// `{name: …, value: …}`.
pub(super) struct Header(pub(super) String, pub(super) String);

impl Decode for Header {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<HeaderNameText>("name");
            let value = f.or_default("value");
            Some(Self(name?.0, value))
        })
    }
}
