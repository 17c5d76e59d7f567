//! Every document of a source text, and what is wrong with its YAML.

use std::sync::Arc;

use saphyr_parser::{Event, Parser};

use super::builder::{Builder, Cure, Problem, position};
use super::chunks::{Chunk, chunks};
use super::comments::{slash_comments, tabbed_lines};
use super::{Node, Position};
use crate::diagnostic::{Diagnostic, DocPath, Edit, Fix, codes};
use crate::source::{Location, SourceFile};

/// How long one source text may be, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// Hands over the documents of a text, one after the other; those with bad YAML are reported and left out.
pub(crate) fn documents(
    file: &SourceFile,
    diagnostics: &mut Vec<Diagnostic>,
    mut found: impl FnMut(&Node),
) {
    let mut report = |problem: Problem| {
        let name = Arc::clone(&file.name);
        let at = Location::spanning(Arc::clone(&name), problem.position, problem.end);
        let diagnostic = Diagnostic::error(problem.code, at, DocPath::root(), problem.message);
        let edit = |(start, end, text)| Edit {
            file: Arc::clone(&name),
            start,
            end,
            text,
        };
        let fix = problem.fix.map(|Cure { title, edits }| Fix {
            title,
            edits: edits.into_iter().map(edit).collect(),
        });
        diagnostics.push(diagnostic.with_help_if(problem.help).with_fix_if(fix));
    };
    if file.text.len() > MAX_BYTES {
        let message = format!("the text is longer than {} MiB", MAX_BYTES >> 20);
        report(Problem::new(
            codes::YAML_BUDGET,
            Position { line: 1, column: 1 },
            message,
        ));
        return;
    }
    // A byte order mark belongs to the encoding, not to the first key.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    for chunk in chunks(text) {
        if let Err(problem) = read(&chunk, &mut found, &mut report) {
            report(problem);
        }
    }
}

/// Reads the documents of a chunk: usually one, more if `...` ends one without a marker behind it.
fn read(
    chunk: &Chunk<'_>,
    found: &mut impl FnMut(&Node),
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
                    done.root
                        .iter()
                        .filter(|root| !root.is_null())
                        .for_each(&mut *found);
                }
                done.problems.into_iter().for_each(&mut *report);
            }
            event => {
                let start = position(span.start, chunk.lines_before);
                let end = position(span.end, chunk.lines_before);
                if let Err(problem) = builder.event(event, start, end) {
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
    let shift = |position: Position| Position {
        line: position.line.saturating_add(chunk.lines_before),
        ..position
    };
    let comments: Vec<Position> = slash_comments(chunk.text).map(shift).collect();
    if let Some(comment) = comments.first() {
        let behind = |start: &Position| Position {
            column: start.column.saturating_add(2),
            ..*start
        };
        return Problem {
            end: behind(comment),
            fix: Some(Cure {
                title: "write `#` instead of `//`".to_owned(),
                edits: comments
                    .iter()
                    .map(|start| (*start, behind(start), "#".to_owned()))
                    .collect(),
            }),
            help: Some("write `# …` instead".to_owned()),
            ..Problem::new(
                codes::SLASH_COMMENT,
                *comment,
                "`//` does not start a comment in YAML",
            )
        };
    }
    let marker = *error.marker();
    let at = position(marker, chunk.lines_before);
    if error.info().contains("recursion limit") {
        return Problem::new(codes::YAML_BUDGET, at, "lists and mappings nest too deeply");
    }
    let line = chunk
        .text
        .lines()
        .nth(marker.line().saturating_sub(1))
        .unwrap_or_default();
    let code = line.trim_start();
    let tabs = line
        .strip_suffix(code)
        .is_some_and(|indent| indent.contains('\t'));
    let cure = tabs.then(|| Cure {
        title: "indent with spaces: YAML does not allow tabs".to_owned(),
        edits: tabbed_lines(chunk.text)
            .map(|(line, column, spaces)| {
                let start = shift(Position { line, column: 1 });
                (start, Position { column, ..start }, spaces)
            })
            .collect(),
    });
    Problem {
        fix: cure,
        ..Problem::new(
            codes::YAML_SYNTAX,
            at,
            format!("not valid YAML: {}", error.info()),
        )
    }
}
