//! What `portcullis explain` and `portcullis who-can` are told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use dataplane::decisions::{OneOrMore, Protocol, RequestFacts};
use serde_json::{Map, Value};

use crate::cli::{Dir, Format, header};
use crate::exit::{Context as _, Failure};
use crate::names::{DEFAULT_NAMESPACE, Label};

/// What the help of `explain` shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis explain 1f0c9a7be2d43355                   the number in x-portcullis-decision
  portcullis explain --from order-service --to product-service --method DELETE --path /api/products/1
  portcullis explain --from cluster.local/ns/ops/sa/cron --to my-app/product-service --path /admin -f policies/
  portcullis explain --to gateway --path /api/orders --jwt @token.txt -H x-team=red
  portcullis explain --from order-service --to product-service --path / --in-force

By number, every process of the running mesh is asked. Otherwise the documents are judged: those of the
mesh, or those that -f names, or with --in-force those that the workload's own proxy has in force.
A token of --jwt is taken as verified.

Exit codes: 0 allowed, 1 denied, 2 a wrong command line or documents with errors, 3 no mesh reachable.";

/// `portcullis explain`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["id", "to"]))]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The number of a decision, as in `x-portcullis-decision`
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The caller: a principal, NAMESPACE/ACCOUNT, or ACCOUNT; without it nobody proves an identity
    #[arg(long, value_name = "PRINCIPAL")]
    pub(crate) from: Option<String>,
    #[command(flatten)]
    pub(crate) request: Request,
    /// Ask the workload's own proxy in the running mesh
    #[arg(long, requires = "to", conflicts_with = "files")]
    pub(crate) in_force: bool,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// A request to judge, but for its caller.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// The workload that is called: [NAMESPACE/]NAME, or `gateway`
    #[arg(long, value_name = "WORKLOAD")]
    pub(crate) to: Option<String>,
    /// A label of that workload, beside those that a WorkloadEntry of its name gives; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// What is spoken
    #[arg(long, value_enum, default_value_t = Speaks::Http)]
    pub(crate) protocol: Speaks,
    /// The method [default: GET; POST for gRPC]
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// The path, as on the wire
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// The host, with a port if the client sends one
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The workload's port, or the gateway's logical one
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// A header; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// A verified token: the token, its claims as JSON, or @FILE with either
    #[arg(long, value_name = "TOKEN|JSON|@FILE")]
    pub(crate) jwt: Option<String>,
    /// The direct TCP peer [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) source_ip: Option<IpAddr>,
    /// The client behind trusted proxies [default: the source]
    #[arg(long, value_name = "IP")]
    pub(crate) remote_ip: Option<IpAddr>,
    /// The proxy's own address [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) destination_ip: Option<IpAddr>,
    /// The server name of the TLS handshake
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// Files and directories with the documents, `-` for standard input [default: those of the mesh]
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Speaks {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
    /// Opaque TCP.
    Tcp,
}

impl Request {
    /// The facts of the request of one caller.
    pub(crate) fn facts(&self, principal: Option<String>) -> Result<RequestFacts, Failure> {
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in &self.headers {
            let name = name.to_ascii_lowercase();
            headers.entry(name).or_default().push(value.clone());
        }
        Ok(RequestFacts {
            protocol: match self.protocol {
                Speaks::Http => Protocol::Http,
                Speaks::Grpc => Protocol::Grpc,
                Speaks::Tcp => Protocol::Tcp,
            },
            mtls: principal.is_some(),
            principal,
            source_ip: self.source_ip,
            remote_ip: self.remote_ip,
            destination_ip: self.destination_ip,
            destination_port: Some(self.port),
            sni: self.sni.clone(),
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            headers: headers
                .into_iter()
                .map(|(name, values)| (name, OneOrMore::More(values)))
                .collect(),
            claims: self.jwt.as_deref().map(claims).transpose()?,
        })
    }

    /// Namespace and name of the workload that is called.
    pub(crate) fn target(&self) -> (&str, &str) {
        let to = self.to.as_deref().unwrap_or_default();
        to.split_once('/').unwrap_or((DEFAULT_NAMESPACE, to))
    }
}

/// The principal that a person means by a whole one, by `namespace/account` or by an account.
pub(crate) fn principal(written: &str, trust_domain: &str) -> String {
    let written = written.strip_prefix("spiffe://").unwrap_or(written);
    match written.split_once('/') {
        None => format!("{trust_domain}/ns/{DEFAULT_NAMESPACE}/sa/{written}"),
        Some((namespace, account)) if !account.contains('/') => {
            format!("{trust_domain}/ns/{namespace}/sa/{account}")
        }
        Some(_) => written.to_owned(),
    }
}

/// The claims of `--jwt`; never repeated in an error.
fn claims(written: &str) -> Result<Map<String, Value>, Failure> {
    let text = match written.strip_prefix('@') {
        None => written.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .context(|| format!("cannot read the token in `{file}`"))?,
    };
    let text = text.trim();
    let bad = || {
        Failure::usage("--jwt is neither a token of three parts nor a JSON object")
            .hint("a token looks like eyJ….eyJ….…")
    };
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|_| bad());
    }
    let mut parts = text.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| bad())?;
    serde_json::from_slice(&payload).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_named_in_three_ways() {
        for (written, expected) in [
            ("order", "td/ns/my-app/sa/order"),
            ("ops/cron", "td/ns/ops/sa/cron"),
            ("other/ns/a/sa/b", "other/ns/a/sa/b"),
            ("spiffe://other/ns/a/sa/b", "other/ns/a/sa/b"),
        ] {
            assert_eq!(principal(written, "td"), expected);
        }
    }

    #[test]
    fn tokens_are_read_and_never_repeated() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"alice"}"#);
        for written in [
            r#"{"sub":"alice"}"#.to_owned(),
            format!("e30.{payload}.sig"),
        ] {
            assert_eq!(claims(&written).unwrap()["sub"], "alice");
        }
        for written in ["secret-token", "a.b", "a.!.c", "{"] {
            let error = claims(written).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
