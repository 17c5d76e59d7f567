//! Changes to the text of a YAML file that leave everything else, and so every line number, where it is.

use std::ops::Range;
use std::path::Path;

use saphyr_parser::{Event, Parser, Span, StrInput};

use super::{API_VERSION, ConfigError};

/// Nesting beyond this is no configuration.
const DEEPEST: usize = 32;

/// What is wrong, and where: a place in the file or the override itself.
#[derive(Debug)]
pub(super) enum Problem {
    File {
        line: u64,
        column: u64,
        message: String,
    },
    Override(String),
}

impl Problem {
    pub(super) fn at(self, path: &Path, assignment: &str) -> ConfigError {
        match self {
            Self::File {
                line,
                column,
                message,
            } => ConfigError::Content {
                path: path.to_owned(),
                line,
                column,
                message,
            },
            Self::Override(reason) => ConfigError::Override {
                assignment: assignment.to_owned(),
                reason,
            },
        }
    }
}

/// A node of the file with its place.
#[derive(Debug)]
struct Node {
    /// In bytes of the text.
    place: Range<usize>,
    line: u64,
    /// 0-based.
    column: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar(String),
    List {
        items: Vec<Node>,
    },
    Map {
        flow: bool,
        entries: Vec<(Node, Node)>,
    },
    Alias,
}

/// Applies one `key.path=value`.
pub(super) fn apply(text: &str, assignment: &str) -> Result<String, Problem> {
    let (keys, value) = assignment
        .split_once('=')
        .ok_or_else(|| Problem::Override("expected `key.path=value`".to_owned()))?;
    let keys: Vec<&str> = keys.split('.').collect();
    if keys
        .iter()
        .any(|key| key.is_empty() || key.contains(|c: char| c.is_control() || c == '"'))
    {
        return Err(Problem::Override(
            "the key path has an empty or odd part".to_owned(),
        ));
    }
    let value = written(value);
    let root = tree(text)?;
    let mut node = &root;
    let mut walked = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        walked.push(*key);
        let next = match &node.kind {
            Kind::Map { entries, .. } => entries
                .iter()
                .find(|(name, _)| matches!(&name.kind, Kind::Scalar(name) if name == key))
                .map(|(_, value)| value),
            Kind::List { items } => {
                let found = key.parse::<usize>().ok().and_then(|at| items.get(at));
                if found.is_none() {
                    return Err(Problem::Override(format!(
                        "`{}` is a list of {}; name an element by its number, counted from 0",
                        walked.get(..index).unwrap_or_default().join("."),
                        items.len()
                    )));
                }
                found
            }
            Kind::Scalar(_) | Kind::Alias => {
                return Err(Problem::Override(format!(
                    "`{}` is a single value and has no keys",
                    walked.get(..index).unwrap_or_default().join(".")
                )));
            }
        };
        let Some(next) = next else {
            let rest = keys.get(index + 1..).unwrap_or_default();
            return Ok(insert(text, node, key, rest, &value));
        };
        node = next;
    }
    if matches!(node.kind, Kind::Map { flow: false, .. } | Kind::List { .. })
        && !text
            .get(node.place.clone())
            .is_some_and(|old| old.starts_with(['[', '{']))
    {
        return Err(Problem::Override(format!(
            "`{}` is a block of its own; set its single keys",
            keys.join(".")
        )));
    }
    // An empty value (`key:`) has no extent and no blank before it.
    let blank = if node.place.is_empty() { " " } else { "" };
    Ok(spliced(
        text,
        node.place.clone(),
        &format!("{blank}{value}"),
    ))
}

/// Adds a key to a mapping that lacks it.
fn insert(text: &str, map: &Node, key: &str, rest: &[&str], value: &str) -> String {
    let mut entry = value.to_owned();
    for inner in rest.iter().rev() {
        entry = format!("{{{}: {entry}}}", written(inner));
    }
    entry = format!("{}: {entry}", written(key));
    let start = map.place.start;
    match &map.kind {
        Kind::Map { flow: false, .. } => {
            let indent = " ".repeat(map.column);
            spliced(text, start..start, &format!("{entry}\n{indent}"))
        }
        Kind::Map { entries, .. } => {
            let comma = if entries.is_empty() { "" } else { ", " };
            spliced(text, start + 1..start + 1, &format!("{entry}{comma}"))
        }
        _ => text.to_owned(),
    }
}

/// The value as YAML: flow collections and harmless plain words as they are, anything else in quotes.
fn written(value: &str) -> String {
    let flow = value.starts_with(['[', '{']) && !value.contains('\n') && tree(value).is_ok();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./:@+-".contains(c);
    let plain = !value.is_empty()
        && value.chars().all(harmless)
        && !value.ends_with(':')
        && !value.starts_with(['-', '@', ':']);
    if flow || plain {
        value.to_owned()
    } else {
        // Every JSON string is a YAML double-quoted scalar.
        serde_json::Value::from(value).to_string()
    }
}

/// Checks `apiVersion` and `kind` and blanks them out.
pub(super) fn take_header(text: &str, kind: &str) -> Result<String, Problem> {
    let root = tree(text)?;
    let Kind::Map {
        flow: false,
        entries,
    } = &root.kind
    else {
        return Err(Problem::File {
            line: root.line,
            column: 1,
            message: format!(
                "expected a mapping that begins with `apiVersion: {API_VERSION}` and `kind: {kind}`"
            ),
        });
    };
    let mut rest = text.to_owned();
    for (key, expected) in [("apiVersion", API_VERSION), ("kind", kind)] {
        let entry = entries
            .iter()
            .find(|(name, _)| matches!(&name.kind, Kind::Scalar(name) if name == key));
        let Some((name, value)) = entry else {
            return Err(Problem::File {
                line: root.line,
                column: 1,
                message: format!("`{key}` is missing; write `{key}: {expected}`"),
            });
        };
        match &value.kind {
            Kind::Scalar(found) if found == expected => {}
            found => {
                let found = match found {
                    Kind::Scalar(found) => found.as_str(),
                    _ => "something else",
                };
                return Err(Problem::File {
                    line: value.line,
                    column: u64::try_from(value.column)
                        .unwrap_or(u64::MAX)
                        .saturating_add(1),
                    message: format!(
                        "`{key}` is `{}`, expected `{expected}`",
                        crate::escape::escape(found, 64)
                    ),
                });
            }
        }
        let place = name.place.start..value.place.end;
        let blank: String = rest
            .get(place.clone())
            .unwrap_or_default()
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect();
        rest = spliced(&rest, place, &blank);
    }
    // With nothing else in it the file would be empty, which is no mapping.
    if entries.len() == 2 {
        rest.push_str("\n{}\n");
    }
    Ok(rest)
}

fn spliced(text: &str, place: Range<usize>, new: &str) -> String {
    let before = text.get(..place.start).unwrap_or_default();
    let after = text.get(place.end..).unwrap_or_default();
    format!("{before}{new}{after}")
}

/// Parses exactly one document into places.
fn tree(text: &str) -> Result<Node, Problem> {
    let mut reader = Reader {
        text,
        starts: text.char_indices().map(|(at, _)| at).collect(),
        parser: Parser::new_from_str(text),
    };
    let root = loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd => {
                return Err(Problem::File {
                    line: 1,
                    column: 1,
                    message: "the file is empty".to_owned(),
                });
            }
            event => break reader.node(event, span, 0)?,
        }
    };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(root),
            _ => {
                return Err(problem_at(
                    span,
                    "a process file holds one document".to_owned(),
                ));
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// The byte offset of each character; the parser counts characters.
    starts: Vec<usize>,
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(Problem::File {
                line: number(error.marker().line()),
                column: number(error.marker().col()) + 1,
                message: error.info().to_owned(),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn offset(&self, character: usize) -> usize {
        self.starts
            .get(character)
            .copied()
            .unwrap_or(self.text.len())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        if depth > DEEPEST {
            return Err(problem_at(span, format!("nested deeper than {DEEPEST}")));
        }
        let start = self.offset(span.start.index());
        let mut end = self.offset(span.end.index());
        let kind = match event {
            Event::Scalar(text, ..) => Kind::Scalar(text.into_owned()),
            Event::Alias(_) => Kind::Alias,
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        end = self.offset(span.end.index());
                        break Kind::List { items };
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        end = self.offset(span.end.index());
                        let flow = self
                            .text
                            .get(start..)
                            .is_some_and(|rest| rest.starts_with('{'));
                        break Kind::Map { flow, entries };
                    }
                    let key = self.node(event, span, depth + 1)?;
                    let (event, span) = self.next()?;
                    entries.push((key, self.node(event, span, depth + 1)?));
                }
            }
            _ => {
                return Err(problem_at(
                    span,
                    "unexpected end of the document".to_owned(),
                ));
            }
        };
        Ok(Node {
            place: start..end,
            line: number(span.start.line()),
            column: span.start.col(),
            kind,
        })
    }
}

fn problem_at(span: Span, message: String) -> Problem {
    Problem::File {
        line: number(span.start.line()),
        column: number(span.start.col()) + 1,
        message,
    }
}

fn number(small: usize) -> u64 {
    u64::try_from(small).unwrap_or(u64::MAX)
}
