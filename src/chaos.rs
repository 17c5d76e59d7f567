//! `portcullis chaos`: errors and delays on purpose, at services of the running mesh.

mod board;
mod bodies;
mod client;
mod experiment;
mod instances;
pub(crate) mod server;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dataplane::chaos::{ErrorType, Share};

use self::bodies::{ErrorBody, LatencyBody};
use self::client::Client;
use crate::cli::{Dir, Format, duration};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// What the help of the group shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis chaos error payment-service --rate 0.5           half of its answers are 500
  portcullis chaos error payment-service --type RESET --for 30s
  portcullis chaos latency inventory-service --delay 20s
  portcullis chaos ls
  portcullis chaos stop payment-service
  portcullis chaos run outage.yaml                            steps with requests and assertions

The same over HTTP, with the address that `portcullis up` prints:
  curl -X POST http://localhost:8092/api/chaos/error -d '{\"service\": \"payment-service\", \"errorRate\": 0.5}'
  curl -X DELETE http://localhost:8092/api/chaos/scenarios/payment-service

Errors and delays happen at the service's own sidecars, so callers' retries, timeouts and breakers take them for
real. Every scenario ends by itself, after 5 minutes if nothing else is said.";

const RUN_EXAMPLES: &str = "\
Example:
  portcullis chaos run outage.yaml

outage.yaml:
  name: an outage of payment-service does not take the orders along
  steps:
  - requests: {path: /api/orders, count: 20}
    expect: {successRate: {min: 99%}}
  - error: {service: payment-service, rate: 100%, for: 1m}
  - requests: {path: /api/orders, count: 50, concurrency: 5}
    expect: {statuses: {503: {min: 40}}, latency: {p99: 100ms}}
  - stop: payment-service
  - pause: 2s
  - requests: {path: /api/orders, count: 20}
    expect: {successRate: {min: 90%}}

Whatever it began is stopped at its end. Exits with 0 when every assertion holds, 1 when one does not, 2 for a file with
mistakes, 3 without a mesh.";

/// The verbs of the group.
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a share of a service's answers fail
    #[command(after_help = "\
Examples:
  portcullis chaos error payment-service
  portcullis chaos error payment-service --rate 30% --type HTTP_503 --for 1m")]
    Error(ErrorArgs),
    /// Let a share of the requests to a service wait
    #[command(after_help = "\
Examples:
  portcullis chaos latency inventory-service --delay 20s
  portcullis chaos latency order-service --delay 200ms --probability 0.1")]
    Latency(LatencyArgs),
    /// Show what goes wrong on purpose now
    #[command(after_help = "\
Examples:
  portcullis chaos ls
  portcullis chaos ls -o json")]
    Ls(Ls),
    /// Stop the scenarios of a service, or all
    #[command(after_help = "\
Examples:
  portcullis chaos stop payment-service
  portcullis chaos stop --all")]
    Stop(Stop),
    /// Carry out an experiment: steps with scenarios, requests and assertions
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
}

/// What a new scenario always has.
#[derive(Debug, Args)]
struct Begin {
    #[command(flatten)]
    dir: Dir,
    /// The service: NAME or NAME.NAMESPACE
    #[arg(value_name = "SERVICE")]
    service: String,
    /// When it ends by itself, at most 24h
    #[arg(long = "for", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    lasts: Duration,
    /// The same requests in the same order are struck again with the same number
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Args)]
struct ErrorArgs {
    #[command(flatten)]
    begin: Begin,
    /// Which share of the requests fails: 0.3 or 30%
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    rate: Share,
    /// HTTP_400 to HTTP_599; RESET: no answer; ABORT: half an answer; TIMEOUT: an answer never comes
    #[arg(long = "type", value_name = "TYPE", default_value = "HTTP_500")]
    error_type: ErrorType,
}

#[derive(Debug, Args)]
struct LatencyArgs {
    #[command(flatten)]
    begin: Begin,
    /// How long a request waits before it reaches the application, at most 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    delay: Duration,
    /// Which share of the requests waits: 0.3 or 30%
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    probability: Share,
}

#[derive(Debug, Args)]
struct Ls {
    #[command(flatten)]
    dir: Dir,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Args)]
struct Stop {
    #[command(flatten)]
    dir: Dir,
    /// The service: NAME or NAME.NAMESPACE
    #[arg(value_name = "SERVICE", required_unless_present = "all")]
    service: Option<String>,
    /// Everything that goes wrong on purpose
    #[arg(long, conflicts_with = "service")]
    all: bool,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    dir: Dir,
    /// The experiment, `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The form of the report
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Runs a verb of the group.
pub(crate) fn run(args: &Chaos) -> Result<Exit, Failure> {
    match &args.command {
        Command::Error(args) => {
            let client = Client::of_running(&args.begin.dir)?;
            let begun = client.error(&ErrorBody {
                service: args.begin.service.clone(),
                error_rate: args.rate,
                error_type: args.error_type,
                duration_seconds: Some(whole_seconds(args.begin.lasts)?),
                seed: args.begin.seed,
            })?;
            text::begun(&begun, &client.dir, args.begin.output);
            Ok(Exit::Fine)
        }
        Command::Latency(args) => {
            let client = Client::of_running(&args.begin.dir)?;
            let begun = client.latency(&LatencyBody {
                service: args.begin.service.clone(),
                delay_ms: u64::try_from(args.delay.as_millis()).unwrap_or(u64::MAX),
                probability: args.probability,
                duration_seconds: Some(whole_seconds(args.begin.lasts)?),
                seed: args.begin.seed,
            })?;
            text::begun(&begun, &client.dir, args.begin.output);
            Ok(Exit::Fine)
        }
        Command::Ls(args) => {
            let client = Client::of_running(&args.dir)?;
            text::list(&client.list()?, args.output);
            Ok(Exit::Fine)
        }
        Command::Stop(args) => {
            let client = Client::of_running(&args.dir)?;
            let stopped = client.stop(args.service.as_deref())?;
            match args.output {
                Format::Json => text::json(&stopped),
                Format::Text if stopped.scenarios == 0 => {
                    terminal::line("nothing was to be stopped");
                }
                Format::Text => {
                    terminal::line(format_args!("stopped at {}", stopped.stopped.join(", ")));
                }
            }
            Ok(Exit::Fine)
        }
        Command::Run(args) => experiment::run(&args.dir, &args.file, args.output),
    }
}

/// The API counts whole seconds.
fn whole_seconds(lasts: Duration) -> Result<u64, Failure> {
    if lasts.subsec_nanos() == 0 {
        Ok(lasts.as_secs())
    } else {
        Err(Failure::usage(format!(
            "`--for` is {lasts:?}, expected whole seconds"
        )))
    }
}
