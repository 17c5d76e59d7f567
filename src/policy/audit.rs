//! `portcullis policy audit report`: who would have been denied, from what processes remember and from decision logs.

mod group;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use dataplane::decisions::DecisionShown;
use serde::{Deserialize, Serialize};

use crate::cli::{Dir, Format};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::explain::show;
use crate::mesh_set::Readers;
use crate::processes::{ask_all, of_mesh};
use crate::terminal;
use group::{Group, Seen, group};

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis policy audit report                              what the running processes remember
  portcullis policy audit report --log decisions.log -o json  what decision logs say
  portcullis policy audit report --all                        with the denials that were enforced

Would-be denials are those of policies with `istio.io/dry-run` and of processes with
`authorization: {mode: audit}`. Grouped by caller, workload, method, path and rule.

Exit codes: 0 nobody would have been denied, 1 somebody would, 2 a wrong command line, 3 no mesh there.";

/// `portcullis policy audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say who would have been denied
    #[command(after_help = EXAMPLES)]
    Report(Report),
}

#[derive(Debug, Args)]
struct Report {
    #[command(flatten)]
    dir: Dir,
    /// A decision log to read instead of asking the processes; may be repeated
    #[arg(long = "log", value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// Count the denials that were enforced too
    #[arg(long)]
    all: bool,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// `/decisions`.
#[derive(Debug, Deserialize)]
struct Page {
    decisions: Vec<DecisionShown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// How many decisions were looked at.
    decisions: usize,
    /// How many of them would have been denials.
    would_be_denied: usize,
    groups: Vec<Group>,
}

/// Runs a verb of the group.
pub(crate) fn run(args: &Audit) -> Result<Exit, Failure> {
    match &args.command {
        Command::Report(args) => report(args),
    }
}

fn report(args: &Report) -> Result<Exit, Failure> {
    let decisions = if args.logs.is_empty() {
        remembered(args)?
    } else {
        let mut all = Vec::new();
        for log in &args.logs {
            all.extend(logged(log)?);
        }
        all
    };
    let groups = group(&decisions, args.all);
    let would_be = groups.iter().filter(|group| group.seen != Seen::Denied);
    let answer = Answer {
        decisions: decisions.len(),
        would_be_denied: would_be.map(|group| group.count).sum(),
        groups,
    };
    show(args.output, &answer, || text(&answer))?;
    Ok(if answer.would_be_denied == 0 {
        Exit::Fine
    } else {
        Exit::Finding
    })
}

/// What the processes of the running mesh remember.
fn remembered(args: &Report) -> Result<Vec<DecisionShown>, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let mut all = Vec::new();
    for (process, answer) in ask_all(&of_mesh(&dir, Readers::Proxies)?, "/decisions?denied")? {
        match answer {
            Ok(body) => {
                let page: Page = serde_json::from_slice(&body)
                    .context(|| format!("cannot understand `{}`", process.name))?;
                all.extend(page.decisions);
            }
            Err(why) => terminal::note(format_args!("not asked: {}: {why}", process.name)),
        }
    }
    Ok(all)
}

/// What a decision log says; lines of other logs are passed over.
fn logged(path: &Path) -> Result<Vec<DecisionShown>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", path.display())))?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    Ok(lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn text(answer: &Answer) -> String {
    if answer.groups.is_empty() {
        return format!(
            "Nobody would have been denied, in {} that are remembered.\n",
            group::counted(answer.decisions, "denial", "denials")
        );
    }
    let heads = ["COUNT", "", "CALLER", "WORKLOAD", "REQUEST", "BY", "LAST"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for group in &answer.groups {
        rows.push(vec![
            group.count.to_string(),
            group.seen.words().to_owned(),
            group.caller.clone(),
            group.workload.clone(),
            format!("{} {}", group.method, group.path).trim().to_owned(),
            group.by.clone(),
            group.last.clone(),
        ]);
    }
    let mut text = terminal::table(&rows);
    let would_be = group::counted(answer.would_be_denied, "request", "requests");
    text.push('\n');
    text.push_str(&would_be);
    text.push_str(" would have been denied.");
    if let Some(group) = answer.groups.first() {
        let why = [
            " Why, for one of them: ",
            &terminal::me(),
            " explain ",
            &group.example,
        ];
        text.push_str(&why.concat());
    }
    text.push('\n');
    text
}
