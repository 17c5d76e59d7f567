//! Findings as text and as JSON.

use policies::diagnostic::{Diagnostic, Paint, Severity, render_with};
use policies::source::SourceFile;
use serde::Serialize;

use super::args::Format;
use super::{Findings, sarif};
use crate::terminal;

/// The JSON form: fields in the order in which people read them.
#[derive(Serialize)]
struct Answer<'a> {
    documents: usize,
    diagnostics: &'a [Diagnostic],
}

/// The findings in one form; ends with a line break. `fixed` is how many fixes were made, if any were asked for.
pub(super) fn report(
    findings: &Findings,
    files: &[SourceFile],
    format: Format,
    fixed: Option<usize>,
) -> String {
    match format {
        Format::Json => {
            let answer = Answer {
                documents: findings.documents,
                diagnostics: &findings.diagnostics,
            };
            // Texts and numbers have no form that JSON lacks.
            let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
            format!("{text}\n")
        }
        Format::Sarif => format!("{:#}\n", sarif::log(&findings.diagnostics)),
        Format::Text => {
            let paint = if terminal::colours() {
                Paint::Coloured
            } else {
                Paint::Plain
            };
            let mut text = render_with(&findings.diagnostics, files, paint);
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&terminal::heading(&summary(findings, fixed)));
            text.push('\n');
            text
        }
    }
}

/// `3 errors, 2 warnings in 14 documents; 2 can be fixed with --fix`.
fn summary(findings: &Findings, fixed: Option<usize>) -> String {
    let counts: Vec<String> = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Info, "note"),
    ]
    .into_iter()
    .map(|(severity, word)| (findings.count(severity), word))
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| numbered(count, word))
    .collect();
    let found = if counts.is_empty() {
        "no findings".to_owned()
    } else {
        counts.join(", ")
    };
    let documents = numbered(findings.documents, "document");
    let fixes = match fixed {
        Some(fixed) => format!("; {} fixed", numbered(fixed, "problem")),
        None if findings.fixable() > 0 => {
            format!("; {} can be fixed with --fix", findings.fixable())
        }
        None => String::new(),
    };
    format!("{found} in {documents}{fixes}")
}

fn numbered(count: usize, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}
