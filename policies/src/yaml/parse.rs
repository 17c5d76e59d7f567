//! Every document of a source text, and what is wrong with its YAML.

use std::sync::Arc;

use saphyr_parser::{Event, Parser};

use super::builder::{Builder, Cure, Problem, position};
use super::characters::deceptive;
use super::chunks::{Chunk, chunks};
use super::comments::{slash_comments, tabbed_lines};
use super::{Node, Position};
use crate::diagnostic::{Diagnostic, DocPath, Edit, Fix, codes};
use crate::source::{Lines, Location, SourceFile};

/// How long one source text may be, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// How many documents one source text may have, empty ones included.
const MAX_DOCUMENTS: usize = 100_000;
/// After how many YAML problems the rest of a text is not read.
const MAX_PROBLEMS: usize = 1_000;

/// Hands over the documents of a text, one after the other; those with bad YAML are reported and left out.
pub(crate) fn documents(
    file: &SourceFile,
    diagnostics: &mut Vec<Diagnostic>,
    found: impl FnMut(&Node),
) {
    let mut reader = Reader {
        file: &file.name,
        diagnostics,
        problems: 0,
        documents: 0,
        found,
    };
    if file.text.len() > MAX_BYTES {
        let message = format!("the text is longer than {} MiB", MAX_BYTES >> 20);
        reader.error(Problem::new(codes::YAML_BUDGET, Position::START, message));
        return;
    }
    // A byte order mark belongs to the encoding, not to the first key.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    for (problem, forbidden) in deceptive(text) {
        reader.report(problem, forbidden);
    }
    for chunk in chunks(text, MAX_DOCUMENTS + 1) {
        if let Err(problem) = reader.read(&chunk) {
            reader.error(problem);
        }
        if reader.is_full() {
            break;
        }
    }
}

/// What has been read of a text so far.
struct Reader<'a, F> {
    file: &'a Arc<str>,
    diagnostics: &'a mut Vec<Diagnostic>,
    problems: usize,
    documents: usize,
    found: F,
}

impl<F: FnMut(&Node)> Reader<'_, F> {
    /// Reads the documents of a chunk: usually one, more if `...` ends one without a marker behind it.
    fn read(&mut self, chunk: &Chunk<'_>) -> Result<(), Problem> {
        let mut parser = Parser::new_from_str(chunk.text);
        let mut builder = Builder::default();
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| syntax(chunk, &error))?;
            match event {
                Event::DocumentStart(_) => builder = Builder::default(),
                Event::DocumentEnd => {
                    let done = std::mem::take(&mut builder);
                    self.keep(done)?;
                    self.documents += 1;
                    if self.documents > MAX_DOCUMENTS {
                        let message = format!("the text has more than {MAX_DOCUMENTS} documents");
                        let at = position(span.start, chunk.lines_before);
                        return Err(Problem::new(codes::YAML_BUDGET, at, message));
                    }
                }
                event => {
                    let start = position(span.start, chunk.lines_before);
                    let end = position(span.end, chunk.lines_before);
                    if let Err(problem) = builder.event(event, start, end) {
                        self.keep(builder)?;
                        return Err(problem);
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps a document if nothing is wrong with it; fails when too much is wrong with the text.
    fn keep(&mut self, done: Builder) -> Result<(), Problem> {
        if done.problems.is_empty() {
            (done.root.iter().filter(|root| !root.is_null())).for_each(&mut self.found);
            return Ok(());
        }
        for problem in done.problems {
            let position = problem.position;
            self.error(problem);
            if self.problems == MAX_PROBLEMS {
                let message = format!("{MAX_PROBLEMS} problems: the rest of the text is not read");
                return Err(Problem::new(codes::YAML_BUDGET, position, message));
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.problems >= MAX_PROBLEMS || self.documents > MAX_DOCUMENTS
    }

    fn error(&mut self, problem: Problem) {
        self.report(problem, true);
    }

    fn report(&mut self, problem: Problem, error: bool) {
        let file = || Arc::clone(self.file);
        let at = Location::spanning(file(), problem.position, problem.end);
        let diagnostic = if error {
            self.problems += 1;
            Diagnostic::error(problem.code, at, DocPath::root(), problem.message)
        } else {
            Diagnostic::warning(problem.code, at, DocPath::root(), problem.message)
        };
        let edit = |(start, end, text)| Edit {
            file: file(),
            start,
            end,
            text,
        };
        let fix = problem.fix.map(|Cure { title, edits }| Fix {
            title,
            edits: edits.into_iter().map(edit).collect(),
        });
        let diagnostic = diagnostic.with_help_if(problem.help).with_fix_if(fix);
        self.diagnostics.push(diagnostic);
    }
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
    // The parser may count one more line than there is when the last one has no end.
    let lines = Lines::new(chunk.text);
    let at = match lines.line(u32::try_from(marker.line()).unwrap_or(u32::MAX)) {
        Some(_) => position(marker, chunk.lines_before),
        None => shift(lines.position(chunk.text.len())),
    };
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
