//! One document's tree from parser events, with every budget kept.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, ScalarStyle, Tag};

use super::anchors::{AliasProblem, Anchors};
use super::{Entry, Node, Position, Value, shortened};
use crate::diagnostic::{Code, codes};

/// How deep lists and mappings may nest.
const MAX_DEPTH: usize = 64;
/// How many values one document may have.
const MAX_NODES: usize = 200_000;
/// How long one scalar may be, in bytes.
const MAX_SCALAR: usize = 2 << 20;
/// How many problems of one document are kept.
const MAX_PROBLEMS: usize = 100;

/// Something wrong with the YAML of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) position: Position,
    /// The first position behind what is wrong; the start if that is not known.
    pub(super) end: Position,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) fix: Option<Cure>,
}

/// A fix before it knows the file's name: what to write between which positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cure {
    pub(super) title: String,
    pub(super) edits: Vec<(Position, Position, String)>,
}

impl Problem {
    pub(super) fn new(code: Code, position: Position, message: impl Into<String>) -> Self {
        Self {
            code,
            position,
            end: position,
            message: message.into(),
            help: None,
            fix: None,
        }
    }
}

/// Builds one document.
#[derive(Debug, Default)]
pub(super) struct Builder {
    frames: Vec<Frame>,
    anchors: Anchors,
    nodes: usize,
    pub(super) root: Option<Node>,
    /// Problems that do not stop the reading; with any, the document is not used.
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug)]
struct Frame {
    anchor: usize,
    position: Position,
    /// Written with brackets.
    flow: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        key: Option<(String, Position, Position)>,
    },
}

impl Builder {
    /// Takes the next event and where it starts and ends; an error ends the document.
    pub(super) fn event(
        &mut self,
        event: Event<'_>,
        position: Position,
        end: Position,
    ) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if text.len() > MAX_SCALAR {
                    return Err(Problem::new(
                        codes::YAML_BUDGET,
                        position,
                        "a text is longer than 2 MiB",
                    ));
                }
                let tagged = self.tag(tag.as_deref(), position);
                let quoted = style != ScalarStyle::Plain || tagged;
                self.finish(
                    Node {
                        value: Value::Scalar {
                            text: text.into_owned(),
                            quoted,
                        },
                        position,
                        end,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), position);
                self.open(anchor, position, end, Content::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), position);
                self.open(
                    anchor,
                    position,
                    end,
                    Content::Mapping {
                        entries: Vec::new(),
                        key: None,
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(frame) = self.frames.pop() else {
                    return Ok(());
                };
                // Flow collections end with a bracket, block collections with their last value.
                let last = match &frame.content {
                    _ if frame.flow && position != end => Some(end),
                    Content::Sequence(items) => items.last().map(|item| item.end),
                    Content::Mapping { entries, .. } => entries.last().map(|entry| entry.value.end),
                };
                let value = match frame.content {
                    Content::Sequence(items) => Value::Sequence(items),
                    Content::Mapping { entries, .. } => Value::Mapping(self.unique(entries)),
                };
                self.finish(
                    Node {
                        value,
                        position: frame.position,
                        end: last.unwrap_or(frame.position),
                    },
                    frame.anchor,
                )
            }
            Event::Alias(id) => match self.anchors.copy(id) {
                Ok((_, depth)) if self.frames.len() + depth > MAX_DEPTH => Err(too_deep(position)),
                // Findings about a copy point to the alias.
                Ok((node, _)) => self.finish(
                    Node {
                        position,
                        end,
                        ..node
                    },
                    0,
                ),
                Err(problem) => Err(alias_problem(problem, position)),
            },
            _ => Ok(()),
        }
    }

    /// Keeps a problem that does not stop the reading; beyond a bound nobody reads them.
    fn note(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        position: Position,
        end: Position,
        content: Content,
    ) -> Result<(), Problem> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        self.frames.push(Frame {
            anchor,
            position,
            // The parser gives a block collection's start no width.
            flow: position != end,
            content,
        });
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} values");
            return Err(Problem::new(codes::YAML_BUDGET, node.position, message));
        }
        self.anchors
            .keep(anchor, &node)
            .map_err(|problem| alias_problem(problem, node.position))?;
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, key }) => match key.take() {
                Some((key, position, end)) => entries.push(Entry {
                    key,
                    position,
                    end,
                    value: node,
                }),
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.position, node.end)),
                    Value::Sequence(_) | Value::Mapping(_) => {
                        *key = Some(("?".into(), node.position, node.end));
                        let message = "a key is a list or a mapping, expected a text";
                        self.note(Problem::new(
                            codes::YAML_UNSUPPORTED,
                            node.position,
                            message,
                        ));
                    }
                },
            },
        }
        Ok(())
    }

    /// Reports tags that policy documents do not use; true for `!!str` and `!`.
    fn tag(&mut self, tag: Option<&Tag>, position: Position) -> bool {
        let Some(tag) = tag else { return false };
        if tag.handle == "!" && tag.suffix.is_empty() {
            return true;
        }
        let known = ["str", "int", "float", "bool", "null", "seq", "map"];
        if !tag.is_yaml_core_schema() || !known.contains(&tag.suffix.as_str()) {
            let message = format!("the tag `{}` is not supported", shortened(&tag.to_string()));
            self.note(Problem::new(codes::YAML_UNSUPPORTED, position, message));
        }
        tag.suffix == "str"
    }

    /// Refuses a key that stands twice, then merges `<<`.
    fn unique(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut seen = Seen::among(entries.len());
        let mut merge = false;
        for (position, entry) in entries.iter().enumerate() {
            merge |= entry.key == "<<";
            let earlier = entries.get(..position).unwrap_or_default();
            if !seen.is_new(&entry.key, earlier) {
                let message = format!(
                    "the key `{}` stands twice in one mapping",
                    shortened(&entry.key)
                );
                self.note(Problem {
                    end: entry.end,
                    ..Problem::new(codes::DUPLICATE_KEY, entry.position, message)
                });
            }
        }
        if merge { self.merge(entries) } else { entries }
    }

    /// YAML 1.1 merge keys: the keys of the merged mappings, where the mapping does not have them itself.
    fn merge(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let (merges, mut own): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| &*entry.key == "<<");
        let mut seen: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
        for merge in merges {
            let sources = match merge.value.value {
                Value::Sequence(items) => items,
                value => vec![Node {
                    value,
                    position: merge.value.position,
                    end: merge.value.end,
                }],
            };
            for source in sources {
                if let Value::Mapping(inherited) = source.value {
                    own.extend(
                        inherited
                            .into_iter()
                            .filter(|entry| seen.insert(entry.key.clone())),
                    );
                } else {
                    let message = "`<<` merges a mapping or a list of mappings";
                    self.note(Problem::new(
                        codes::YAML_UNSUPPORTED,
                        merge.position,
                        message,
                    ));
                }
            }
        }
        own
    }
}

/// The keys of a mapping so far; a table only where there are many.
enum Seen<'a> {
    Few,
    Many(HashSet<&'a str>),
}

impl<'a> Seen<'a> {
    fn among(keys: usize) -> Self {
        if keys <= 16 {
            Self::Few
        } else {
            Self::Many(HashSet::with_capacity(keys))
        }
    }

    fn is_new(&mut self, key: &'a str, earlier: &[Entry]) -> bool {
        match self {
            Self::Few => earlier.iter().all(|entry| entry.key != key),
            Self::Many(keys) => keys.insert(key),
        }
    }
}

/// A parser's place, with the lines before its chunk added.
pub(super) fn position(marker: Marker, lines_before: u32) -> Position {
    Position {
        line: u32::try_from(marker.line())
            .unwrap_or(u32::MAX)
            .saturating_add(lines_before),
        column: u32::try_from(marker.col())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
    }
}

fn too_deep(position: Position) -> Problem {
    let message = format!("lists and mappings nest deeper than {MAX_DEPTH} levels");
    Problem::new(codes::YAML_BUDGET, position, message)
}

fn alias_problem(problem: AliasProblem, position: Position) -> Problem {
    match problem {
        AliasProblem::Unknown => Problem::new(
            codes::YAML_UNSUPPORTED,
            position,
            "the alias refers to nothing, or to a value that contains it",
        ),
        AliasProblem::Budget => Problem::new(
            codes::YAML_BUDGET,
            position,
            "anchors and aliases copy too many values",
        ),
    }
}
