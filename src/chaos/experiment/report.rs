//! What an experiment came to.

use serde::Serialize;

use super::load::Measured;
use crate::terminal::{self, Mark};

/// The whole experiment.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) passed: bool,
    steps: Vec<StepReport>,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct StepReport {
    step: usize,
    title: String,
    /// What came back, for requests.
    #[serde(flatten)]
    pub(super) measured: Option<Measured>,
    /// The assertions that do not hold.
    pub(super) failures: Vec<String>,
}

impl Report {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            passed: true,
            steps: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, step: StepReport) {
        self.passed &= step.failures.is_empty();
        self.steps.push(step);
    }

    /// The last line.
    pub(super) fn verdict(&self) -> String {
        let failed: usize = self.steps.iter().map(|step| step.failures.len()).sum();
        match failed {
            0 => "passed".to_owned(),
            1 => "failed: 1 assertion does not hold".to_owned(),
            many => format!("failed: {many} assertions do not hold"),
        }
    }
}

impl StepReport {
    pub(super) const fn new(step: usize, title: String) -> Self {
        Self {
            step,
            title,
            measured: None,
            failures: Vec::new(),
        }
    }

    /// Prints it.
    pub(super) fn show(&self) {
        let mark = if self.failures.is_empty() {
            Mark::Good
        } else {
            Mark::Bad
        };
        let text = match &self.measured {
            None => String::new(),
            Some(measured) => {
                let statuses: Vec<String> = measured
                    .statuses
                    .iter()
                    .map(|(status, count)| format!("{count} × {status}"))
                    .collect();
                let took = &measured.latency_ms;
                format!(
                    "{}; p50 {:.1} ms, p99 {:.1} ms",
                    statuses.join(", "),
                    took.p50,
                    took.p99
                )
            }
        };
        terminal::marked(mark, &self.title, text);
        for failure in &self.failures {
            terminal::line(format_args!("     {failure}"));
        }
    }
}
