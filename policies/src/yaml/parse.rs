//! Every document of a source text, and what is wrong with its YAML.

use saphyr_parser::{Event, Parser};

use super::builder::{Builder, Problem, position};
use super::chunks::{Chunk, chunks};
use super::comments::slash_comment;
use super::{Node, Position};
use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::source::{Location, SourceFile};

/// How long one source text may be, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The documents of a text; those with bad YAML are reported and left out.
pub(crate) fn documents(file: &SourceFile, diagnostics: &mut Vec<Diagnostic>) -> Vec<Node> {
    let mut report = |problem: Problem| {
        let at = Location {
            file: std::sync::Arc::clone(&file.name),
            line: problem.position.line,
            column: problem.position.column,
        };
        let diagnostic = Diagnostic::error(problem.code, at, DocPath::root(), problem.message);
        diagnostics.push(diagnostic.with_help_if(problem.help));
    };
    if file.text.len() > MAX_BYTES {
        let message = format!("the text is longer than {} MiB", MAX_BYTES >> 20);
        report(Problem::new(
            codes::YAML_BUDGET,
            Position { line: 1, column: 1 },
            message,
        ));
        return Vec::new();
    }
    // A byte order mark belongs to the encoding, not to the first key.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut found = Vec::new();
    for chunk in chunks(text) {
        if let Err(problem) = read(&chunk, &mut found, &mut report) {
            report(problem);
        }
    }
    found
}

/// Reads the documents of a chunk: usually one, more if `...` ends one without a marker behind it.
fn read(
    chunk: &Chunk<'_>,
    found: &mut Vec<Node>,
    report: &mut impl FnMut(Problem),
) -> Result<(), Problem> {
    let mut parser = Parser::new_from_str(chunk.text);
    let mut builder = Builder::default();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| syntax(chunk, &error))?;
        match event {
            Event::DocumentStart(_) => builder = Builder::default(),
            Event::DocumentEnd => {
                let done = std::mem::take(&mut builder);
                if done.problems.is_empty() {
                    found.extend(done.root.filter(|root| !root.is_null()));
                }
                done.problems.into_iter().for_each(&mut *report);
            }
            event => {
                if let Err(problem) = builder.event(event, position(span, chunk.lines_before)) {
                    builder.problems.drain(..).for_each(&mut *report);
                    return Err(problem);
                }
            }
        }
    }
    Ok(())
}

/// A syntax error, or what it comes from if that can be told.
fn syntax(chunk: &Chunk<'_>, error: &saphyr_parser::ScanError) -> Problem {
    if let Some(mut comment) = slash_comment(chunk.text) {
        comment.line = comment.line.saturating_add(chunk.lines_before);
        return Problem {
            help: Some("write `# …` instead".to_owned()),
            ..Problem::new(
                codes::SLASH_COMMENT,
                comment,
                "`//` does not start a comment in YAML",
            )
        };
    }
    let marker = *error.marker();
    let at = position(saphyr_parser::Span::empty(marker), chunk.lines_before);
    if error.info().contains("recursion limit") {
        return Problem::new(codes::YAML_BUDGET, at, "lists and mappings nest too deeply");
    }
    let line = chunk
        .text
        .lines()
        .nth(marker.line().saturating_sub(1))
        .unwrap_or_default();
    let help = line
        .trim_start_matches(' ')
        .starts_with('\t')
        .then(|| "indent with spaces: YAML does not allow tabs".to_owned());
    Problem {
        help,
        ..Problem::new(
            codes::YAML_SYNTAX,
            at,
            format!("not valid YAML: {}", error.info()),
        )
    }
}
