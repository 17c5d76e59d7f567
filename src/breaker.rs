//! `portcullis breaker`: the circuit breakers of the running mesh, each as the proxies that call see it.

mod text;
mod words;

use clap::{Args, Subcommand};
use dataplane::breakers::{Breakers, ClusterShown, Reset};
use serde::Serialize;

use crate::admin_port;
use crate::cli::{Dir, Format};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::explain::show;
use crate::mesh_set::Readers;
use crate::processes::{Process, ask_all, of_mesh};
use crate::terminal;

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis breaker ls                             every breaker, as each caller sees it
  portcullis breaker explain payment-service        when it opens, for how long, and what happens then
  portcullis breaker reset payment-service          close it now, at every caller
  portcullis breaker reset payment-service --endpoint 127.0.0.1:15106 --from gateway

A breaker belongs to the proxy that calls: the gateway may have given up on an endpoint that a sidecar still uses. It is
set up by `trafficPolicy.outlierDetection` of a DestinationRule.

Exit codes: 0 done, 1 a failure, 2 a wrong command line or an unknown host, 3 no mesh there.";

/// `portcullis breaker`.
#[derive(Debug, Args)]
pub(crate) struct Breaker {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the breakers
    Ls(List),
    /// Say in words what a service's breaker will do with its present endpoints
    Explain(One),
    /// Close a service's breakers and forget their past
    Reset(ResetArgs),
}

/// Which processes are asked, and how the answer is printed.
#[derive(Debug, Args)]
struct Asking {
    #[command(flatten)]
    dir: Dir,
    /// Only as this proxy sees it: `gateway`, `order-service-sidecar`
    #[arg(long, value_name = "PROCESS")]
    from: Option<String>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    asking: Asking,
    /// Also services without a breaker
    #[arg(short, long)]
    all: bool,
}

#[derive(Debug, Args)]
struct One {
    #[command(flatten)]
    asking: Asking,
    /// The service: `payment-service`, `payment-service.my-app` or its whole name
    host: String,
}

#[derive(Debug, Args)]
struct ResetArgs {
    #[command(flatten)]
    asking: Asking,
    /// The service
    host: String,
    /// Only this endpoint
    #[arg(long, value_name = "ADDRESS")]
    endpoint: Option<String>,
}

/// A cluster as one proxy sees it.
#[derive(Debug, Serialize)]
struct Seen {
    /// The proxy.
    process: String,
    #[serde(flatten)]
    cluster: ClusterShown,
    /// What the breaker will do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explained: Vec<String>,
}

/// What became of a reset at one proxy.
#[derive(Debug, Serialize)]
struct Done {
    process: String,
    cluster: String,
    #[serde(flatten)]
    reset: Reset,
}

/// Runs a verb of the group.
pub(crate) fn run(args: &Breaker) -> Result<Exit, Failure> {
    match &args.command {
        Command::Ls(args) => list(args),
        Command::Explain(args) => explain(args),
        Command::Reset(args) => reset(args),
    }
}

fn list(args: &List) -> Result<Exit, Failure> {
    let seen = ask(&args.asking)?.into_iter().map(|(_, seen)| seen);
    let seen: Vec<Seen> = seen
        .filter(|seen| args.all || seen.cluster.detection.is_some())
        .collect();
    show(args.asking.output, &seen, || text::list(&seen))?;
    Ok(Exit::Fine)
}

fn explain(args: &One) -> Result<Exit, Failure> {
    let mut seen = of_host(&args.asking, &args.host)?;
    for (_, seen) in &mut seen {
        seen.explained = words::explain(&seen.cluster);
    }
    let seen: Vec<Seen> = seen.into_iter().map(|(_, seen)| seen).collect();
    show(args.asking.output, &seen, || text::explained(&seen))?;
    Ok(Exit::Fine)
}

fn reset(args: &ResetArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let mut all = Vec::new();
    for (process, seen) in of_host(&args.asking, &args.host)? {
        let Some(admin) = process.admin else { continue };
        let has = |endpoint: &String| {
            let mut endpoints = seen.cluster.endpoints.iter();
            endpoints.any(|found| found.address == *endpoint)
        };
        if !args.endpoint.as_ref().is_none_or(has) {
            continue;
        }
        // Bars are not allowed in a URL.
        let mut path = "/breakers/reset?cluster=".to_owned();
        path.push_str(&seen.cluster.cluster.replace('|', "%7C"));
        if let Some(endpoint) = &args.endpoint {
            path.push_str("&endpoint=");
            path.push_str(endpoint);
        }
        let doing = || format!("cannot reset the breaker at `{}`", process.name);
        let posted = admin_port::post(admin, &path, bytes::Bytes::new());
        let (status, body) = runtime.block_on(posted).context(doing)?;
        if !status.is_success() {
            let why = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(Failure::new(format!("{}: {why}", doing())));
        }
        let reset = serde_json::from_slice(&body).context(doing)?;
        all.push(Done {
            process: process.name,
            cluster: seen.cluster.cluster,
            reset,
        });
    }
    if let (true, Some(endpoint)) = (all.is_empty(), &args.endpoint) {
        let why = format!("`{}` has no endpoint `{endpoint}`", args.host);
        let hint = format!("{} breaker explain {}", terminal::me(), args.host);
        return Err(Failure::usage(why).hint(hint));
    }
    show(args.asking.output, &all, || text::reset(&all))?;
    Ok(Exit::Fine)
}

/// What every proxy that is asked knows of every cluster.
fn ask(asking: &Asking) -> Result<Vec<(Process, Seen)>, Failure> {
    let dir = MeshDir::resolve(&asking.dir)?;
    let processes = match &asking.from {
        Some(name) => vec![crate::processes::proxy(&dir, name)?],
        None => of_mesh(&dir, Readers::Proxies)?,
    };
    let mut all = Vec::new();
    for (process, answer) in ask_all(&processes, "/breakers")? {
        match answer {
            Ok(body) => {
                let page: Breakers = serde_json::from_slice(&body)
                    .context(|| format!("cannot understand `{}`", process.name))?;
                all.extend(page.clusters.into_iter().map(|cluster| {
                    let seen = Seen {
                        process: process.name.clone(),
                        cluster,
                        explained: Vec::new(),
                    };
                    (process.clone(), seen)
                }));
            }
            Err(why) => terminal::note(format_args!("not asked: {}: {why}", process.name)),
        }
    }
    Ok(all)
}

/// As [`ask`], of one service.
fn of_host(asking: &Asking, host: &str) -> Result<Vec<(Process, Seen)>, Failure> {
    let all = ask(asking)?;
    let mut known: Vec<String> = all
        .iter()
        .map(|(_, seen)| seen.cluster.service.clone())
        .collect();
    let found: Vec<_> = all
        .into_iter()
        .filter(|(_, seen)| is_called(&seen.cluster, host))
        .collect();
    if found.is_empty() {
        known.sort();
        known.dedup();
        return Err(Failure::usage(format!("no proxy calls `{host}`"))
            .hint(format!("services are: {}", known.join(", "))));
    }
    Ok(found)
}

/// Whether a cluster's service is called so: by its short name, its whole name, or a beginning of that.
fn is_called(cluster: &ClusterShown, host: &str) -> bool {
    let rest = cluster.host.strip_prefix(host);
    cluster.service == host || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
