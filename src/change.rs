//! A change of a running mesh's documents: planned, checked, written as a whole, and waited for.

mod diff;
pub(crate) mod plan;
mod report;
mod wait;
mod write;

use std::time::Duration;

use policies::diagnostic::{Diagnostic, render};
use policies::source::SourceFile;

pub(crate) use plan::Wanted;

use self::plan::Plan;

use self::report::Report;
use self::write::Written;
use crate::cli::{Changing, Format};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::lock::{self, Lock, Taken};
use crate::mesh_set::Readers;
use crate::record::Record;
use crate::services;
use crate::terminal;

/// Carries a change out: what `plan` makes of the documents as they are, checked, written and waited for.
pub(crate) fn carry_out(
    args: &Changing,
    plan: impl FnOnce(&MeshDir) -> Result<Plan, Failure>,
) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    Record::of_running(&dir)?;
    let _lock = take_lock(&dir, args.timeout)?;
    let plan = plan(&dir)?;
    let mut report = Report::new(&plan);
    let errors = check(&dir, &plan, &mut report);
    if errors {
        report.print(args.output)?;
        if args.output == Format::Text {
            terminal::note("error: nothing was changed: the documents would not be accepted");
        }
        return Ok(Exit::Finding);
    }
    if args.dry_run {
        report.diff = diff::unified(&dir, &plan);
        report.print(args.output)?;
        return Ok(Exit::Fine);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    runtime.block_on(put_in_force(&dir, &plan, args.timeout, &mut report))?;
    report.print(args.output)?;
    Ok(report.exit())
}

/// Two changes at once would each be checked without the other.
fn take_lock(dir: &MeshDir, timeout: Duration) -> Result<Lock, Failure> {
    let path = lock::path_in(dir.root(), "apply");
    let begun = std::time::Instant::now();
    loop {
        match Lock::take(&path).context(|| format!("cannot use `{}`", path.display()))? {
            Taken::Ours(lock) => return Ok(lock),
            Taken::Theirs(pid) if begun.elapsed() > timeout => {
                let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                return Err(Failure::new(format!(
                    "another apply or delete is at work (pid {pid})"
                )));
            }
            Taken::Theirs(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Checks the sets that would result; whether there are errors. Warnings are told only if the change brings them.
fn check(dir: &MeshDir, plan: &Plan, report: &mut Report) -> bool {
    let mut errors = false;
    let registered = services::documents(dir);
    for set in &plan.sets {
        let after = set.after();
        let known = set.readers.check(&set.before.files, &registered);
        let found = set.readers.check(&after, &registered);
        let (wrong, others): (Vec<_>, Vec<_>) = found.into_iter().partition(Diagnostic::is_error);
        errors |= !wrong.is_empty();
        let told = |known: &[Diagnostic], finding: &Diagnostic| {
            known
                .iter()
                .any(|known| (known.code, &known.message) == (finding.code, &finding.message))
        };
        let new = others.into_iter().filter(|finding| !told(&known, finding));
        let findings: Vec<Diagnostic> = wrong.into_iter().chain(new).collect();
        report.add_findings(&findings, &render(&findings, &after));
    }
    errors
}

async fn put_in_force(
    dir: &MeshDir,
    plan: &Plan,
    timeout: Duration,
    report: &mut Report,
) -> Result<(), Failure> {
    if plan.is_empty() {
        // Nothing is written, but whoever applies wants to know that it is in force.
        report.parts = wait::until_in_force(dir, &Readers::ALL, None, timeout).await?;
        return Ok(());
    }
    let readers: Vec<Readers> = plan.sets.iter().map(|set| set.readers).collect();
    let written = Written::write(dir, plan)?;
    report.parts = wait::until_in_force(dir, &readers, Some(&written), timeout).await?;
    if report.is_refused() {
        report.rolled_back = Some(written.roll_back(dir)?);
        // Those that took the change have to take it back.
        wait::until_in_force(dir, &readers, None, timeout).await?;
    }
    Ok(())
}

/// Findings about the documents of a command line alone; with any error nothing is planned.
pub(crate) fn refuse_errors(files: &[SourceFile]) -> Result<(), Failure> {
    let loaded = policies::load::load(files, &crate::mesh_set::mesh());
    let errors: Vec<Diagnostic> = loaded
        .diagnostics
        .into_iter()
        .filter(Diagnostic::is_error)
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    terminal::note(render(&errors, files).trim_end());
    let many = if errors.len() == 1 { "error" } else { "errors" };
    Err(Failure::new(format!(
        "nothing was changed: {} {many} in the documents",
        errors.len()
    )))
}
