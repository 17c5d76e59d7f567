//! The golden table of a matrix: one block for each caller, one line for each operation.
//!
//! ```text
//! [cluster.local/ns/shop/sa/order]
//! allow  GET /api/products/1     shop/catalog-read/rules[0]
//! deny   DELETE /api/products/1  -
//! ```
//!
//! A line is the outcome, the operation, and who decides (`-` for nobody), with as much space between them as one likes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use policies::document::PolicyTest;
use policies::document::policy_test::Outcome;
use policies::source::SourceFile;

use super::results::{CaseResult, Expected, Got, Place};
use crate::exit::{Context as _, Failure};

/// One caller with one operation.
#[derive(Debug)]
pub(super) struct Cell<'a> {
    pub(super) caller: &'a str,
    pub(super) operation: &'a str,
    pub(super) at: Place,
    pub(super) got: Got,
}

const HEAD: &str = "\
# Written by `portcullis policy test --update`: outcome, operation, and the rule that decides.
";

/// Writes the table if it is not so already; its name if it was written.
pub(super) fn write(
    file: &SourceFile,
    test: &PolicyTest,
    cells: &[Cell<'_>],
) -> Result<Option<String>, Failure> {
    let Some(path) = path(file, test) else {
        return Ok(None);
    };
    let text = table(cells);
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(None);
    }
    let name = path.to_string_lossy().into_owned();
    std::fs::write(&path, text).context(|| format!("cannot write `{name}`"))?;
    Ok(Some(name))
}

/// Holds every cell against the table.
pub(super) fn compare(
    file: &SourceFile,
    test: &PolicyTest,
    cells: Vec<Cell<'_>>,
) -> Result<Vec<CaseResult>, Failure> {
    let Some(path) = path(file, test) else {
        return Ok(Vec::new());
    };
    let name = path.to_string_lossy().into_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::usage(format!("cannot read `{name}`: {error}"))),
    };
    let missing = text.is_empty();
    let mut rows = parse(&name, &text)?;
    let mut results: Vec<CaseResult> = cells
        .into_iter()
        .map(|cell| {
            let key = (cell.caller.to_owned(), squeezed(cell.operation));
            let row = rows.remove(&key);
            let expected = row.map(|(expected, _)| expected);
            let passed = expected.as_ref().is_some_and(|expected| {
                expected.outcome == cell.got.outcome && expected.by == cell.got.by
            });
            let notes = match &expected {
                None if missing => vec![format!("there is no `{name}`; --update writes it")],
                None => vec![format!("`{name}` has no such row; --update adds it")],
                Some(_) if passed => Vec::new(),
                Some(_) => vec![format!(
                    "--update renews `{name}`, if this is what is meant"
                )],
            };
            CaseResult {
                name: format!("{}: {}", cell.caller, cell.operation),
                at: cell.at,
                passed,
                expected,
                got: Some(cell.got),
                notes,
            }
        })
        .collect();
    results.extend(
        rows.into_iter()
            .map(|((caller, operation), (row, line))| CaseResult {
                name: format!("{caller}: {operation}"),
                at: Place {
                    file: name.as_str().into(),
                    line,
                    column: 1,
                },
                passed: false,
                expected: Some(row),
                got: None,
                notes: vec!["the matrix has no such row; --update removes it".to_owned()],
            }),
    );
    Ok(results)
}

fn path(file: &SourceFile, test: &PolicyTest) -> Option<PathBuf> {
    let golden = &test.matrix.as_ref()?.golden;
    let folder = Path::new(&*file.name)
        .parent()
        .unwrap_or_else(|| Path::new(""));
    Some(folder.join(&golden.value))
}

/// The table as it is written.
fn table(cells: &[Cell<'_>]) -> String {
    let mut text = HEAD.to_owned();
    let mut block = None;
    // One width for each column of the whole file would change every line with one long name.
    for cell in cells {
        if block != Some(cell.caller) {
            // Writing into a string cannot fail.
            _ = write!(text, "\n[{}]\n", cell.caller);
            block = Some(cell.caller);
        }
        let by = cell.got.by.as_deref().unwrap_or("-");
        let operation = squeezed(cell.operation);
        _ = writeln!(text, "{:<15}  {operation}  {by}", cell.got.outcome);
    }
    text
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A row's caller and operation.
type Key = (String, String);

/// The rows of a table with their lines.
fn parse(name: &str, text: &str) -> Result<BTreeMap<Key, (Expected, u32)>, Failure> {
    let mut rows = BTreeMap::new();
    let mut caller = None;
    for (number, line) in (1_u32..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(named) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            caller = Some(named.to_owned());
            continue;
        }
        let row = caller.as_ref().zip(row(line));
        let Some((caller, (operation, expected))) = row else {
            let message = format!("`{name}` line {number} is no row of a table: `{line}`");
            return Err(Failure::usage(message).hint("--update writes the table anew"));
        };
        rows.insert((caller.clone(), operation), (expected, number));
    }
    Ok(rows)
}

/// `allow  GET /  shop/catalog/rules[0]`.
fn row(line: &str) -> Option<(String, Expected)> {
    let (outcome, rest) = line.split_once(char::is_whitespace)?;
    let (operation, by) = rest.rsplit_once(char::is_whitespace)?;
    let outcome = Outcome::ALL
        .into_iter()
        .find_map(|(name, known)| (name == outcome).then_some(known))?;
    let by = (by != "-").then(|| by.to_owned());
    Some((squeezed(operation), Expected { outcome, by }))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed test is a panic"
    )]

    use super::*;

    fn cell<'a>(
        caller: &'a str,
        operation: &'a str,
        outcome: Outcome,
        by: Option<&str>,
    ) -> Cell<'a> {
        Cell {
            caller,
            operation,
            at: Place {
                file: "test.yaml".into(),
                line: 1,
                column: 1,
            },
            got: Got {
                outcome,
                by: by.map(str::to_owned),
                by_at: None,
                reason: String::new(),
            },
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let cells = [
            cell(
                "td/ns/a/sa/b",
                "GET /x",
                Outcome::Allow,
                Some("a/p/rules[0]"),
            ),
            cell(
                "td/ns/a/sa/b",
                "an  odd name",
                Outcome::Unauthenticated,
                None,
            ),
            cell("anonymous", "GET /x", Outcome::Deny, None),
        ];
        let text = table(&cells);
        let rows = parse("golden", &text).unwrap();
        assert_eq!(rows.len(), 3, "{text}");
        let key = |caller: &str, operation: &str| (caller.to_owned(), operation.to_owned());
        let (expected, line) = &rows[&key("td/ns/a/sa/b", "GET /x")];
        assert_eq!(expected.outcome, Outcome::Allow);
        assert_eq!(expected.by.as_deref(), Some("a/p/rules[0]"));
        assert_eq!(*line, 4);
        let (expected, _) = &rows[&key("td/ns/a/sa/b", "an odd name")];
        assert_eq!(expected.outcome, Outcome::Unauthenticated);
        assert_eq!(expected.by, None);
    }

    #[test]
    fn a_line_of_another_shape_is_refused() {
        for text in ["allow GET / -", "[a]\nallow", "[a]\nmaybe GET / -"] {
            assert!(parse("golden", text).is_err(), "{text}");
        }
    }
}
