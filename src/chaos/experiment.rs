//! `portcullis chaos run`: steps with scenarios, requests and assertions, and whether they hold.

mod expect;
mod file;
mod load;
mod report;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use self::file::{Action, Experiment, Step, Target};
use self::report::{Report, StepReport};
use super::client::Client;
use crate::cli::{Dir, Format};
use crate::exit::{Context as _, Exit, Failure};
use crate::terminal;

/// The longest experiment file, in bytes.
const LONGEST: u64 = 1 << 20;

/// Carries an experiment out; what it began is stopped at its end, whatever that is.
pub(super) fn run(dir: &Dir, path: &Path, format: Format) -> Result<Exit, Failure> {
    let experiment = Experiment::parse(&read(path)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    let client = Client::of_running(dir)?;
    let mut running = Running {
        client: &client,
        began: Vec::new(),
        quiet: format == Format::Json,
    };
    let outcome = running.steps(&experiment);
    let cleaned = running.clean_up();
    let report = outcome?;
    cleaned?;
    match format {
        Format::Json => super::text::json(&report),
        Format::Text => terminal::line(report.verdict()),
    }
    Ok(if report.passed {
        Exit::Fine
    } else {
        Exit::Finding
    })
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let doing = || format!("cannot read `{}`", path.display());
    let file: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let opened = std::fs::File::open(path);
        Box::new(opened.map_err(|error| Failure::usage(format!("{}: {error}", doing())))?)
    };
    file.take(LONGEST)
        .read_to_string(&mut text)
        .context(doing)?;
    Ok(text)
}

struct Running<'a> {
    client: &'a Client,
    /// The services at which this experiment began something.
    began: Vec<String>,
    quiet: bool,
}

impl Running<'_> {
    fn steps(&mut self, experiment: &Experiment) -> Result<Report, Failure> {
        let mut report = Report::new(experiment.name.clone());
        if !self.quiet {
            terminal::line(terminal::heading(&report.name));
        }
        for (number, step) in experiment.steps.iter().enumerate() {
            let done = self.step(number + 1, step)?;
            if !self.quiet {
                done.show();
            }
            report.add(done);
        }
        Ok(report)
    }

    fn step(&mut self, number: usize, step: &Step) -> Result<StepReport, Failure> {
        let mut report = StepReport::new(number, step.title());
        match &step.action {
            Action::Error(body) => {
                self.began.push(body.service.clone());
                self.client.error(body)?;
            }
            Action::Latency(body) => {
                self.began.push(body.service.clone());
                self.client.latency(body)?;
            }
            Action::Stop(Target::All) => drop(self.client.stop(None)?),
            Action::Stop(Target::Service(service)) => {
                drop(self.client.stop(Some(service))?);
            }
            Action::Pause(length) => self.unless_interrupted(async {
                tokio::time::sleep(*length).await;
            })?,
            Action::Requests(requests) => {
                let at = requests.destination(&self.client.record)?;
                let sent = load::send(&at, requests);
                let measured = self.unless_interrupted(sent)?;
                report.failures = step.expect.failures(&measured);
                report.measured = Some(measured);
            }
        }
        Ok(report)
    }

    /// Runs something that takes long; Ctrl-C ends the experiment, and everything is put back.
    fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.client.runtime.block_on(async {
            let listen = |kind| signal(kind).context(|| "cannot listen for signals".to_owned());
            let (mut interrupt, mut terminate) = (
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
            );
            tokio::select! {
                done = work => Ok(done),
                _ = interrupt.recv() => Err(Failure::new("interrupted")),
                _ = terminate.recv() => Err(Failure::new("interrupted")),
            }
        })
    }

    /// Stops whatever this experiment began.
    fn clean_up(&mut self) -> Result<(), Failure> {
        self.began.sort();
        self.began.dedup();
        for service in std::mem::take(&mut self.began) {
            self.client.stop(Some(&service))?;
        }
        Ok(())
    }
}

/// How long one request may take if the file does not say.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
