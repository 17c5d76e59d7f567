//! The command line: verbs, flags and the examples that their help shows.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::names::Label;

const AFTER: &str = "\
Examples:
  portcullis up                                   start the mesh and its demo
  eval \"$(portcullis env)\"                        learn GATEWAY_URL
  curl -i http://$GATEWAY_URL/api/products        through gateway, mTLS, sidecar
  portcullis run --name billing --port 9000 -- python3 app.py
  portcullis status                               parts, identities, policy
  portcullis down --purge                         stop it and remove its state

Exit codes: 0 fine, 1 finding or failure, 2 usage, 3 no mesh reachable.";

/// A zero-trust mesh from one command: gateway, certificate authority, sidecars, policies.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    /// The parent to end with; set by `portcullis` for its own children.
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<i32>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a mesh on this machine: CA, gateway, sidecars and the demo services
    #[command(after_help = "\
Examples:
  portcullis up
  portcullis up --dir /tmp/mesh --http 0 --https 0      any free ports
  portcullis up --no-demo                               CA and gateway only

Everything lives in one directory; Ctrl-C stops every process. Your edits of the documents in
<dir>/policies and <dir>/entries are kept, and take effect as you save them.")]
    Up(Up),
    /// Stop the mesh
    #[command(after_help = "\
Examples:
  portcullis down
  portcullis down --purge               also remove its keys, documents and logs
  portcullis down --dir /tmp/mesh")]
    Down(Down),
    /// Show parts, identities, certificate lifetimes and the policy in force
    #[command(after_help = "\
Examples:
  portcullis status
  portcullis status -o json | python3 -m json.tool

Exits with 0 when every part is ready and no document is refused, 1 otherwise, 3 without a mesh.")]
    Status(Report),
    /// List the services that are registered, with their instances, versions, identities and health
    #[command(after_help = "\
Examples:
  portcullis services
  portcullis services -o json | python3 -m json.tool

Exits with 0 when every service has an instance that is ready, 1 otherwise, 3 without a mesh.")]
    Services(Report),
    /// Print GATEWAY_URL=host:port for `eval`
    #[command(after_help = "\
Examples:
  eval \"$(portcullis env)\"
  curl -i http://$GATEWAY_URL/api/products")]
    Env(Env),
    /// Run a program of your own inside the running mesh
    #[command(after_help = "\
Examples:
  portcullis run --name billing --port 9000 -- python3 app.py
  portcullis run --name shell -- curl -s http://product-service/api/products
  portcullis run --name shop --dapr -- python3 dapr_app.py
  portcullis run --name prices --service-account product-service --label version=v3 --port 9100 -- ./prices

The program finds http_proxy, no_proxy and PORTCULLIS_OUTBOUND in its environment, so plain
http://<service>/ goes through its sidecar as mutual TLS. With --port, other workloads reach it as
http://<name>/. Everything is taken back when the program ends; its exit code is passed on.")]
    Run(Run),
    /// Print JSON Schema of the policy documents, for editors
    #[command(after_help = "\
Examples:
  portcullis schema > portcullis.schema.json     any document; which schema holds is told by `kind`
  portcullis schema VirtualService               one kind; `vs` and `virtualservices` will do
  portcullis schema --list

In VS Code with the YAML extension, in settings.json:
  \"yaml.schemas\": {\"./portcullis.schema.json\": \"policies/**/*.yaml\"}
In any editor with the YAML language server, as the first line of a file:
  # yaml-language-server: $schema=portcullis.schema.json")]
    Schema(Schema),
    /// Say which route answers a request, and why the earlier ones do not
    #[command(after_help = "\
Examples:
  portcullis route --host shop.test --path /api/products -H x-canary=true
  portcullis route --host product-service --path / --from mesh --source order-service
  portcullis route --host shop.test --path '/old?id=1' policies/ services.yaml -o json

Works on files, also of a mesh that does not run. Exits with 0 when a route answers, 1 when none does.")]
    Route(Route),
    /// Show, explain and reset circuit breakers of the running mesh
    #[command(after_help = crate::breaker::EXAMPLES)]
    Breaker(crate::breaker::Breaker),
    /// Show and set how requests are divided between the versions of a service
    #[command(after_help = crate::canary::EXAMPLES)]
    Canary(crate::canary::Canary),
    /// Show documents of a running process or of files, with the place where each is written
    #[command(after_help = "\
Examples:
  portcullis get vs                                     VirtualServices that the gateway has in force
  portcullis get authorizationpolicies -A -o wide
  portcullis get vs storefront -o yaml > storefront.yaml
  portcullis get all --from order-service-sidecar
  portcullis get dr -f policies/ -o json")]
    Get(Get),
    /// Put documents in force in the running mesh
    #[command(after_help = "\
Examples:
  portcullis apply -f canary.yaml
  portcullis apply -f policies/ --dry-run               show what would change in which file
  kubectl get vs,dr -o yaml | portcullis apply -f -

The whole set that would result is checked first. Then the files change all at once, and every process is asked until it
has the new documents in force. If one refuses them, everything is put back. A document that stands in a file already is
replaced there; a new one gets a file in <dir>/policies/applied.

Exits with 0 when every process has them in force, 1 when something was refused or late, 2 for a wrong command line, 3
without a mesh.")]
    Apply(Apply),
    /// Take documents out of the running mesh
    #[command(after_help = "\
Examples:
  portcullis delete -f canary.yaml
  portcullis delete vs storefront
  portcullis delete authorizationpolicy/product-service-policy -n my-app --dry-run

Checked, written and waited for as `apply` does it.")]
    Delete(Delete),
    /// Check policy documents: every mistake with its place and its cure
    #[command(after_help = crate::lint::args::EXAMPLES)]
    Lint(crate::lint::args::Lint),
    /// Say why a request was or would be allowed or denied, and what would change that
    #[command(after_help = crate::explain::args::EXAMPLES)]
    Explain(crate::explain::args::Explain),
    /// Say who may do something at a workload, and by which rule
    #[command(after_help = crate::who_can::EXAMPLES)]
    WhoCan(crate::who_can::WhoCan),
    /// Explain a finding's code, with a wrong and a right example
    #[command(after_help = crate::explain_code::EXAMPLES)]
    ExplainCode(crate::explain_code::ExplainCode),
    /// Test policies
    #[command(after_help = crate::policy::EXAMPLES)]
    Policy(crate::policy::Policy),
    /// Let other proxies ask our policies
    #[command(after_help = crate::authz::EXAMPLES)]
    Authz(crate::authz::Authz),
    /// Let services fail on purpose, and see what their callers make of it
    #[command(after_help = crate::chaos::EXAMPLES)]
    Chaos(crate::chaos::Chaos),
    /// Print the versions of the command and of the running parts
    #[command(after_help = "\
Examples:
  portcullis version
  portcullis version -o json")]
    Version(Report),
    /// Run the certificate authority in the foreground
    #[command(after_help = "\
Example:
  portcullis ca --config ca.yaml --set log.level=debug")]
    Ca(ca::command::Args),
    /// Run the gateway in the foreground
    #[command(after_help = "\
Example:
  portcullis gateway --config gateway.yaml")]
    Gateway(gateway::command::Args),
    /// Run a sidecar in the foreground
    #[command(after_help = "\
Example:
  portcullis sidecar --config sidecar.yaml --set takenPorts=free")]
    Sidecar(sidecar::command::Args),
    /// Run the registry of workloads in the foreground
    #[command(after_help = "\
Example:
  portcullis registry --config registry.yaml --set lease.timeout=5s")]
    Registry(registry::command::Args),
    /// Run one of the demo's services in the foreground
    #[command(hide = true)]
    Demo(Demo),
    /// Become another program, tied to the parent
    #[command(hide = true)]
    Exec(Exec),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  portcullis completion bash > ~/.local/share/bash-completion/completions/portcullis
  portcullis completion zsh > \"${fpath[1]}/_portcullis\"
  portcullis completion fish > ~/.config/fish/completions/portcullis.fish")]
    Completion(Completion),
}

/// Where the mesh lives.
#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// The mesh's directory [default: $XDG_STATE_HOME/portcullis or ~/.local/state/portcullis]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The gateway's HTTP port on 127.0.0.1; a taken one falls back to a free one, 0 is any
    #[arg(long, value_name = "PORT", default_value_t = 8090)]
    pub(crate) http: u16,
    /// The gateway's HTTPS port on 127.0.0.1; a taken one falls back to a free one, 0 is any
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    pub(crate) https: u16,
    /// The chaos API's port on 127.0.0.1; a taken one falls back to the next free one, 0 is any
    #[arg(long, value_name = "PORT", default_value_t = 8092)]
    pub(crate) chaos: u16,
    /// Start no demo services
    #[arg(long)]
    pub(crate) no_demo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Remove the mesh's directory as well: keys, certificates, documents, logs
    #[arg(long)]
    pub(crate) purge: bool,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// One kind, as `kubectl` would know it [default: a schema for all of them]
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// The form of the schema
    #[arg(short, long, value_enum, default_value_t = SchemaFormat::Json)]
    pub(crate) output: SchemaFormat,
    /// List the kinds instead
    #[arg(long, conflicts_with = "kind")]
    pub(crate) list: bool,
}

/// How a schema is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaFormat {
    /// JSON Schema, draft 7.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Env {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The workload's name, and the service's if it has a port
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// The port on 127.0.0.1 where the program serves HTTP
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// The workload's namespace
    #[arg(long, value_name = "NAMESPACE", default_value = crate::names::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// The workload's service account, which is its identity [default: the name]
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) service_account: Option<String>,
    /// A label of the workload; may be repeated [default: app=NAME]
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// Offer Dapr's service invocation: sets DAPR_HTTP_PORT and DAPR_GRPC_PORT
    #[arg(long)]
    pub(crate) dapr: bool,
    /// Print nothing but what the program prints
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) program: Vec<OsString>,
}

/// Which proxy routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RouteFrom {
    /// The ingress gateway.
    Gateway,
    /// The sidecar of a workload that calls.
    Mesh,
}

#[derive(Debug, Args)]
pub(crate) struct Route {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The request's host, with a port if the client sends one
    #[arg(long, value_name = "HOST")]
    pub(crate) host: String,
    /// The request's path, with its query
    #[arg(long, value_name = "PATH")]
    pub(crate) path: String,
    /// The request's method
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    pub(crate) method: String,
    /// `http` or `https`
    #[arg(long, value_name = "SCHEME", default_value = "http", value_parser = ["http", "https"])]
    pub(crate) scheme: String,
    /// The logical port [default: 80, 443 for https; on a sidecar that of the host]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// A header of the request; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Which proxy routes
    #[arg(long, value_enum, default_value_t = RouteFrom::Gateway)]
    pub(crate) from: RouteFrom,
    /// The calling workload, with `--from mesh`; its label `app` is its name
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) source: Option<String>,
    /// A label of the gateway or of the calling workload; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<Label>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Files and directories, `-` for standard input [default: the documents of the mesh]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

/// `name=value`, or `name: value` as curl has it.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let place = text.find(['=', ':']);
    let (name, value) = place
        .and_then(|place| text.split_at_checked(place))
        .ok_or_else(|| format!("header `{text}` is not `name=value`"))?;
    let value = value.get(1..).unwrap_or_default().trim_start();
    Ok((name.to_owned(), value.to_owned()))
}

/// How documents are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetFormat {
    /// One line per document.
    Table,
    /// The same with more columns.
    Wide,
    /// Documents that can be applied again.
    Yaml,
    /// A document, or a `List` of them.
    Json,
    /// `kind.group/name` only.
    Name,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The kind by any name that kubectl has (`vs`, `virtualservices`), several with commas, `KIND/NAME`, or `all`
    #[arg(value_name = "KIND")]
    pub(crate) kind: String,
    /// The names of the documents [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The namespace [default: my-app; all with -f]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// The process to ask, as `portcullis status` names it [default: gateway, and ca for registration entries]
    #[arg(long, value_name = "PROCESS")]
    pub(crate) from: Option<String>,
    /// Files and directories to read instead, `-` for standard input
    #[arg(
        short = 'f',
        long = "filename",
        value_name = "FILE",
        conflicts_with = "from"
    )]
    pub(crate) files: Vec<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = GetFormat::Table)]
    pub(crate) output: GetFormat,
}

/// What `apply` and `delete` have in common.
#[derive(Debug, Args)]
pub(crate) struct Changing {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Check, and print what would change in which file
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long every process may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// A duration such as `30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    runtime::duration::parse(text).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) change: Changing,
    /// Files and directories, `-` for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace of documents that name none [default: my-app]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) change: Changing,
    /// `KIND NAME…` or `KIND/NAME…`
    #[arg(value_name = "KIND NAME", conflicts_with = "files")]
    pub(crate) what: Vec<String>,
    /// Files and directories that hold the documents, `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The namespace [default: my-app]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// A document that is not there is no failure
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[command(subcommand)]
    pub(crate) service: DemoService,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DemoService {
    /// The product catalogue
    #[command(name = "product-service")]
    Product(DemoServer),
    /// The catalogue that customers read
    #[command(name = "catalog-service")]
    Catalog(DemoServer),
    /// Payments of orders
    #[command(name = "payment-service")]
    Payment(DemoServer),
    /// What is in stock
    #[command(name = "inventory-service")]
    Inventory(DemoServer),
    /// The orders, which ask for products, stock and payments through the mesh
    #[command(name = "order-service")]
    Order {
        #[command(flatten)]
        server: DemoServer,
        /// The sidecar's outbound port, by which other services are called
        #[arg(long, value_name = "ADDR")]
        outbound: SocketAddr,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoServer {
    /// The version that answers
    #[arg(long, default_value = "v1")]
    pub(crate) version: String,
    /// Where to listen; without it, on the listening socket that standard input is
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_verb_shows_an_example() {
        for verb in Cli::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
        {
            let after = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                after.contains("Example"),
                "{} shows no example",
                verb.get_name()
            );
        }
    }
}
