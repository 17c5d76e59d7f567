//! `portcullis explain`: why a request is, was or would be allowed or denied.

pub(crate) mod args;
pub(crate) mod subject;
mod text;

use bytes::Bytes;
use dataplane::decisions::{DecisionExplained, ExplanationShown, VerdictShown};
use serde::Serialize;

use crate::admin_port;
use crate::cli::Format;
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::mesh_set::Readers;
use crate::names::TRUST_DOMAIN;
use crate::processes::{self, ask_all, of_mesh};
use crate::terminal;
use args::Explain;
use subject::Subject;

/// An answer about a request that somebody thought up.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// `namespace/name`, or the process that was asked.
    to: String,
    /// The port takes mutual TLS alone and the caller proved no identity: the connection is closed before anything else.
    closed_before: bool,
    explanation: ExplanationShown,
}

/// A decision with the process that made it.
#[derive(Debug, Serialize)]
struct Found {
    process: String,
    #[serde(flatten)]
    explained: DecisionExplained,
}

/// Explains; exits with 1 for a denial.
pub(crate) fn run(args: &Explain) -> Result<Exit, Failure> {
    if let Some(id) = &args.id {
        let found = by_number(args, id)?;
        show(args.output, &found, || {
            text::decision(&found.process, &found.explained)
        })?;
        return Ok(exit(found.explained.decision.verdict));
    }
    let answer = if args.in_force {
        in_force(args)?
    } else {
        offline(args)?
    };
    show(args.output, &answer, || {
        text::answer(&answer.to, answer.closed_before, &answer.explanation)
    })?;
    Ok(if answer.closed_before {
        Exit::Finding
    } else {
        exit(answer.explanation.verdict)
    })
}

const fn exit(verdict: VerdictShown) -> Exit {
    match verdict {
        VerdictShown::Allow => Exit::Fine,
        VerdictShown::Deny => Exit::Finding,
    }
}

/// Prints an answer in its form.
pub(crate) fn show(
    format: Format,
    answer: &impl Serialize,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(answer);
            terminal::line(json.context(|| "cannot print".to_owned())?);
        }
        Format::Text => terminal::print(&text()),
    }
    Ok(())
}

/// Asks every process of the mesh for a decision.
fn by_number(args: &Explain, id: &str) -> Result<Found, Failure> {
    if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(
            Failure::usage("the number of a decision has 16 hexadecimal digits").hint(
                "it stands in the header x-portcullis-decision of the answer, and in the logs",
            ),
        );
    }
    let dir = MeshDir::resolve(&args.dir)?;
    let processes = of_mesh(&dir, Readers::Proxies)?;
    let mut silent = Vec::new();
    for (process, answer) in ask_all(&processes, &format!("/decisions/{id}"))? {
        match answer {
            Ok(body) => {
                let explained = serde_json::from_slice(&body)
                    .context(|| format!("cannot understand `{}`", process.name))?;
                return Ok(Found {
                    process: process.name,
                    explained,
                });
            }
            Err(why) if why.starts_with("no such decision") => {}
            Err(why) => silent.push(format!("{}: {why}", process.name)),
        }
    }
    let failure = Failure::new(format!(
        "no process of the mesh remembers the decision `{id}`"
    ));
    Err(if silent.is_empty() {
        failure.hint(
            "the last 1024 are kept (`decisions.buffer`); older ones stand in the decision log, if there is one",
        )
    } else {
        failure.hint(format!("not asked: {}", silent.join("; ")))
    })
}

/// Judges by the documents.
fn offline(args: &Explain) -> Result<Answer, Failure> {
    let subject = Subject::read(&args.dir, &args.request)?;
    let mesh = &subject.checked.mesh;
    let from = args.from.as_deref();
    let caller = from.map(|written| args::principal(written, &mesh.trust_domain));
    let facts = args.request.facts(caller)?;
    let explanation = facts
        .explain(&subject.policies, mesh.path_normalization)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Answer {
        to: subject.name(),
        closed_before: args.from.is_none() && subject.demands_mtls(args.request.port),
        explanation,
    })
}

/// Asks the workload's own proxy.
fn in_force(args: &Explain) -> Result<Answer, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let process = processes::proxy(&dir, args.request.target().1)?;
    let admin = process.admin.ok_or_else(|| {
        Failure::unreachable(format!("`{}` is not ready", process.name))
            .hint("try again in a second")
    })?;
    let from = args.from.as_deref();
    let caller = from.map(|written| args::principal(written, TRUST_DOMAIN));
    let facts =
        serde_json::to_vec(&args.request.facts(caller)?).context(|| "cannot ask".to_owned())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let (status, body) = runtime
        .block_on(admin_port::post(admin, "/explain", Bytes::from(facts)))
        .map_err(Failure::unreachable)?;
    if !status.is_success() {
        let why = String::from_utf8_lossy(&body);
        return Err(Failure::usage(format!(
            "`{}`: {}",
            process.name,
            why.trim()
        )));
    }
    let explanation = serde_json::from_slice(&body)
        .context(|| format!("cannot understand `{}`", process.name))?;
    Ok(Answer {
        to: process.name,
        closed_before: false,
        explanation,
    })
}
