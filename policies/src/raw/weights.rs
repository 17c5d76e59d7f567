//! The weights of a VirtualService's routes: where they stand, what others they call for, and how they are set without
//! touching anything else in their file.

use std::sync::Arc;

use super::edit::{Patch, patch};
use super::{RawDocument, child, documents_of, each};
use crate::source::{Lines, Location, Position, SourceFile};
use crate::yaml::{Node, Value};

/// What the weights of a route come to once they are set.
const WHOLE: u32 = 100;

/// A route of a VirtualService with its destinations (`http[].route[]`, and the same under `tls` and `tcp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// `http`, `tls` or `tcp`.
    pub protocol: &'static str,
    /// Its position in that list.
    pub index: usize,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Where it stands.
    pub at: Location,
    /// Where it sends to, in the order of the text.
    pub destinations: Vec<Destination>,
}

/// One destination of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// `destination.host` as it is written.
    pub host: String,
    /// `destination.subset`.
    pub subset: Option<String>,
    /// `weight`, if it is written.
    pub weight: Option<u32>,
    /// Where its weight stands; the destination itself if none is written.
    pub at: Location,
    place: Place,
    /// The position of its document in the file.
    document: usize,
    /// Where it stands in its document, as a JSON Pointer (RFC 6901).
    pointer: String,
}

/// Where a weight is written, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// It stands between these.
    Written(Position, Position),
    /// On a line of its own behind this line, beginning in this column.
    Behind { line: u32, column: u32 },
    /// Between brackets, in front of this.
    Before(Position),
}

/// Why the weights of a route cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unset {
    /// The route has no destination of this subset.
    Lacks(String),
    /// What was asked for comes to this, and no other destination takes the rest of 100.
    Sum(u32),
}

impl Split {
    /// The weights as they count: one that is not written is 0, and everything where there is one destination only.
    pub fn weights(&self) -> Vec<u32> {
        let unwritten = if self.destinations.len() == 1 {
            WHOLE
        } else {
            0
        };
        let each = self.destinations.iter();
        each.map(|to| to.weight.unwrap_or(unwritten)).collect()
    }

    /// Whether requests are divided at all.
    pub fn is_divided(&self) -> bool {
        self.destinations.len() > 1
    }

    /// The weights, 100 together, after these subsets of a host have what is asked for; `is_host` knows that host by what
    /// documents call it. All other destinations share the rest in the proportion that they have now.
    ///
    /// # Errors
    /// When a subset is no destination of this route, or nothing is left to take the rest.
    pub fn reckon(
        &self,
        wanted: &[(String, u32)],
        is_host: impl Fn(&str) -> bool,
    ) -> Result<Vec<u32>, Unset> {
        let now = self.weights();
        let whose = |to: &Destination| {
            let subset = to.subset.as_ref().filter(|_| is_host(&to.host))?;
            wanted.iter().position(|(name, _)| name == subset)
        };
        let whose: Vec<Option<usize>> = self.destinations.iter().map(whose).collect();
        if let Some((_, (lacking, _))) =
            (wanted.iter().enumerate()).find(|(number, _)| !whose.contains(&Some(*number)))
        {
            return Err(Unset::Lacks(lacking.clone()));
        }
        let asked = wanted
            .iter()
            .fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
        let rest = WHOLE.checked_sub(asked).ok_or(Unset::Sum(asked))?;
        if rest > 0 && !whose.contains(&None) {
            return Err(Unset::Sum(asked));
        }
        let mut after = now.clone();
        let groups = wanted.iter().map(|(_, weight)| *weight).enumerate();
        let groups = groups.map(|(number, weight)| (Some(number), weight));
        for (group, total) in groups.chain([(None, rest)]) {
            let members = || whose.iter().zip(&now).filter(|(of, _)| **of == group);
            let weights: Vec<u32> = members().map(|(_, weight)| *weight).collect();
            let mut parts = share(total, &weights).into_iter();
            for (of, weight) in whose.iter().zip(&mut after) {
                if *of == group {
                    *weight = parts.next().unwrap_or(0);
                }
            }
        }
        Ok(after)
    }
}

/// Divides `total` in proportion to some weights into whole numbers that come to it again: the largest remainders are
/// rounded up, the first of equal ones before the others. Where all weights are 0 the parts are even.
pub fn share(total: u32, weights: &[u32]) -> Vec<u32> {
    let even = weights.iter().all(|weight| *weight == 0);
    let weight_of = |weight: u32| if even { 1 } else { u64::from(weight) };
    let sum: u64 = weights.iter().map(|weight| weight_of(*weight)).sum();
    if sum == 0 {
        return Vec::new();
    }
    let exact = |weight: u32| u64::from(total) * weight_of(weight);
    let whole = |weight: u32| u32::try_from(exact(weight) / sum).unwrap_or(total);
    let mut parts: Vec<u32> = weights.iter().map(|weight| whole(*weight)).collect();
    let given = parts
        .iter()
        .fold(0_u32, |sum, part| sum.saturating_add(*part));
    let mut rests: Vec<(u64, usize)> = weights
        .iter()
        .enumerate()
        .map(|(number, weight)| (exact(*weight) % sum, number))
        .collect();
    rests.sort_by_key(|(rest, number)| (std::cmp::Reverse(*rest), *number));
    let left = usize::try_from(total.saturating_sub(given)).unwrap_or(usize::MAX);
    for (_, number) in rests.into_iter().take(left) {
        if let Some(part) = parts.get_mut(number) {
            *part += 1;
        }
    }
    parts
}

/// The VirtualServices of a file with their routes that send somewhere.
pub fn splits_of(file: &SourceFile) -> Vec<(RawDocument, Vec<Split>)> {
    let mut found = Vec::new();
    let mut number = 0;
    each(file, &mut |document, node| {
        if document.kind == "VirtualService" && document.group() == "networking.istio.io" {
            let splits = splits(node, file, number);
            found.push((document, splits));
        }
        number += 1;
    });
    found
}

/// The text of `file` with these weights, every other byte as it was; `destinations` are of [`splits_of`] the same file.
///
/// None if that cannot be done by an edit in place, such as where a YAML alias repeats a route that is to have other
/// weights: what the text says afterwards is read again and is exactly what was asked for.
pub fn set_weights(file: &SourceFile, wanted: &[(&Destination, u32)]) -> Option<String> {
    let lines = Lines::new(&file.text);
    let patches: Option<Vec<Patch>> = wanted
        .iter()
        .filter(|(to, weight)| to.weight != Some(*weight))
        .map(|(to, weight)| to.patch(&lines, *weight))
        .collect();
    let text = patch(&file.text, &patches?)?;
    let values = |file: &SourceFile| {
        let mut documents = Vec::new();
        documents_of(file, &mut documents);
        let values = documents.into_iter().map(|document| document.value);
        values.collect::<Vec<_>>()
    };
    let mut expected = values(file);
    for (to, weight) in wanted {
        let route = expected.get_mut(to.document)?.pointer_mut(&to.pointer)?;
        let fields = route.as_object_mut()?;
        fields.insert("weight".to_owned(), (*weight).into());
    }
    let after = SourceFile::new(Arc::clone(&file.name), text.as_str());
    (values(&after) == expected).then_some(text)
}

impl Destination {
    fn patch(&self, lines: &Lines<'_>, weight: u32) -> Option<Patch> {
        let text = lines.text();
        Some(match &self.place {
            Place::Written(start, end) => Patch {
                at: lines.range(*start, *end)?,
                with: weight.to_string(),
            },
            Place::Behind { line, column } => {
                let end = lines.line(*line)?.end;
                let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
                let indent = usize::try_from(*column).ok()?.checked_sub(1)?;
                Patch {
                    at: end..end,
                    with: format!("{ending}{}weight: {weight}", " ".repeat(indent)),
                }
            }
            Place::Before(first) => {
                let start = lines.offset(*first)?;
                // JSON stays JSON.
                let json = text.get(start..)?.starts_with('"');
                let quote = if json { "\"" } else { "" };
                Patch {
                    at: start..start,
                    with: format!("{quote}weight{quote}: {weight}, "),
                }
            }
        })
    }
}

fn splits(document: &Node, file: &SourceFile, number: usize) -> Vec<Split> {
    let mut found = Vec::new();
    let Some(spec) = child(document, "spec") else {
        return found;
    };
    for protocol in ["http", "tls", "tcp"] {
        for (index, route) in items(spec, protocol).iter().enumerate() {
            let each = items(route, "route").iter().enumerate();
            let destinations: Vec<Destination> = each
                .filter_map(|(position, item)| {
                    let pointer = format!("/spec/{protocol}/{index}/route/{position}");
                    destination(item, file, number, pointer)
                })
                .collect();
            if !destinations.is_empty() {
                found.push(Split {
                    protocol,
                    index,
                    name: text(route, "name"),
                    at: location(file, route),
                    destinations,
                });
            }
        }
    }
    found
}

fn destination(
    item: &Node,
    file: &SourceFile,
    document: usize,
    pointer: String,
) -> Option<Destination> {
    let to = child(item, "destination")?;
    let weight = child(item, "weight");
    let Value::Mapping(entries) = &item.value else {
        return None;
    };
    let place = match (weight, entries.first()?) {
        (Some(weight), _) => Place::Written(weight.position, weight.end),
        // A mapping without brackets begins with its first key.
        (None, first) if first.position == item.position => Place::Behind {
            line: to.end.line,
            column: first.position.column,
        },
        (None, first) => Place::Before(first.position),
    };
    Some(Destination {
        host: text(to, "host")?,
        subset: text(to, "subset"),
        weight: text(item, "weight").and_then(|weight| weight.parse().ok()),
        at: location(file, weight.unwrap_or(item)),
        place,
        document,
        pointer,
    })
}

fn location(file: &SourceFile, node: &Node) -> Location {
    Location::spanning(Arc::clone(&file.name), node.position, node.end)
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    match child(node, key).map(|node| &node.value) {
        Some(Value::Sequence(items)) => items,
        _ => &[],
    }
}

fn text(node: &Node, key: &str) -> Option<String> {
    match &child(node, key)?.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
