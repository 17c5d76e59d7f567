//! What a change came to, for people and for programs.

use std::fmt::Write as _;

use policies::diagnostic::Diagnostic;
use serde_json::json;

use super::plan::{Change, Effect, Plan};
use super::wait::{PartState, State};
use crate::cli::Format;
use crate::exit::{Context as _, Exit, Failure};
use crate::terminal;

/// Everything that there is to say about a change.
#[derive(Debug)]
pub(super) struct Report {
    changes: Vec<Change>,
    effect: Effect,
    findings: Vec<Diagnostic>,
    /// The findings with their source lines.
    rendered: String,
    /// What a dry run would do to the files.
    pub(super) diff: String,
    /// How far each process came.
    pub(super) parts: Vec<PartState>,
    /// The change was taken back; the files that somebody else had changed by then.
    pub(super) rolled_back: Option<Vec<String>>,
}

impl Report {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            changes: plan.changes.clone(),
            effect: plan.effect.clone(),
            findings: Vec::new(),
            rendered: String::new(),
            diff: String::new(),
            parts: Vec::new(),
            rolled_back: None,
        }
    }

    pub(super) fn add_findings(&mut self, findings: &[Diagnostic], rendered: &str) {
        self.findings.extend_from_slice(findings);
        self.rendered.push_str(rendered);
    }

    pub(super) fn is_refused(&self) -> bool {
        self.parts.iter().any(|part| part.state == State::Refused)
    }

    /// 0 when every process has the change in force.
    pub(super) fn exit(&self) -> Exit {
        let well = self.parts.iter().all(|part| part.state == State::InForce);
        if well { Exit::Fine } else { Exit::Finding }
    }

    pub(super) fn print(&self, output: Format) -> Result<(), Failure> {
        match output {
            Format::Json => {
                let json = serde_json::to_string_pretty(&self.json());
                terminal::line(json.context(|| "cannot print".to_owned())?);
            }
            Format::Text => {
                if !self.rendered.is_empty() {
                    terminal::note(self.rendered.trim_end());
                }
                terminal::print(&self.text());
            }
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let changes = self.changes.iter().map(|change| {
            json!({
                "kind": change.identity.kind,
                "namespace": change.identity.namespace,
                "name": change.identity.name,
                "change": change.what.as_str(),
                "file": change.file,
            })
        });
        let mut told = json!({
            "changes": changes.collect::<Vec<_>>(),
            "diagnostics": self.findings,
            "diff": self.diff,
            "parts": self.parts,
            "rolledBack": self.rolled_back.is_some(),
            "leftAlone": self.rolled_back.clone().unwrap_or_default(),
        });
        if let Some(told) = told.as_object_mut() {
            told.extend(self.effect.json.clone());
        }
        told
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let failed = self.findings.iter().any(Diagnostic::is_error);
        if !failed {
            text.push_str(&self.effect.text);
        }
        for change in self.changes.iter().filter(|_| !failed) {
            let kind = change.identity.kind.to_lowercase();
            let dot = if change.identity.group.is_empty() {
                ""
            } else {
                "."
            };
            // Writing to a String does not fail.
            writeln!(
                text,
                "{kind}{dot}{}/{} {}",
                change.identity.group,
                change.identity.name,
                change.what.as_str(),
            )
            .ok();
        }
        text.push_str(&self.diff);
        self.outcome(&mut text);
        text
    }

    fn outcome(&self, text: &mut String) {
        let of = |state: State| self.parts.iter().filter(move |part| part.state == state);
        let in_force = of(State::InForce).count();
        if self.parts.is_empty() {
            return;
        }
        if in_force == self.parts.len() {
            let last = self
                .parts
                .iter()
                .map(|part| part.milliseconds)
                .max()
                .unwrap_or(0);
            writeln!(text, "in force in {} after {last} ms", processes(in_force)).ok();
            return;
        }
        for part in of(State::Refused) {
            writeln!(text, "✗ {} refuses it:", part.name).ok();
            for reason in &part.reasons {
                writeln!(text, "    {reason}").ok();
            }
        }
        for part in of(State::Behind) {
            let why = part.reasons.join("; ");
            writeln!(text, "! {} has not taken it: {why}", part.name).ok();
        }
        if in_force > 0 {
            writeln!(text, "  {} took it", processes(in_force)).ok();
        }
        match &self.rolled_back {
            Some(left) => {
                writeln!(text, "rolled back: the documents are as they were before").ok();
                for file in left {
                    writeln!(text, "! {file} was changed by somebody else and left alone").ok();
                }
            }
            None => {
                writeln!(
                    text,
                    "the documents stand; who is behind takes them when it can"
                )
                .ok();
            }
        }
    }
}

fn processes(count: usize) -> String {
    match count {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    }
}
