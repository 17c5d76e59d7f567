//! Documents as they are written: what they are called, where they stand, and their content as JSON.
//!
//! For tools that show, copy and change documents whole. Nothing is checked here; [`load`](crate::load::load) does.

mod edit;
mod redact;
mod weights;
mod yaml;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Number};

pub use edit::{Edit, change, extract};
pub use redact::{REDACTED, is_secret_name, redact};
pub use weights::{Destination, Split, Unset, set_weights, share, splits_of};
pub use yaml::to_yaml;

use crate::source::{Location, Position, SourceFile};
use crate::yaml::{self as tree, Node};

/// One document as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct RawDocument {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`, if it is written.
    pub namespace: Option<String>,
    /// `metadata.name`; empty if it is missing.
    pub name: String,
    /// Where it starts.
    pub at: Location,
    /// Its lines; none for an item of a `List`.
    pub extent: Option<Extent>,
    /// Everything.
    pub value: serde_json::Value,
}

/// The lines of a document from 1, both included; comments and markers around it are not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// The first line with content.
    pub first: u32,
    /// The last line with content.
    pub last: u32,
}

/// What makes two documents the same one: the version of the API does not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The group of `apiVersion`; empty for Kubernetes' core.
    pub group: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.namespace`, or the default.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl RawDocument {
    /// What it is called, with the namespace that it has if none is written.
    pub fn identity(&self, default_namespace: &str) -> Identity {
        Identity {
            group: self.group().to_owned(),
            kind: self.kind.clone(),
            namespace: (self.namespace.as_deref())
                .unwrap_or(default_namespace)
                .to_owned(),
            name: self.name.clone(),
        }
    }

    /// The group of `apiVersion`.
    pub fn group(&self) -> &str {
        let split = self.api_version.split_once('/');
        split.map_or("", |(group, _)| group)
    }
}

/// Every document of some files in the order of (file, position); `kind: List` is its items. What is no document, or
/// no YAML, is left out.
pub fn documents(files: &[SourceFile]) -> Vec<RawDocument> {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut found = Vec::new();
    for file in sorted {
        documents_of(file, &mut found);
    }
    found
}

/// The documents of one file.
pub fn documents_of(file: &SourceFile, found: &mut Vec<RawDocument>) {
    each(file, &mut |document, _| found.push(document));
}

/// The documents of one file with the place of each of their values: `spec.http[0].timeout` and where it stands.
pub fn values_of(file: &SourceFile) -> Vec<(RawDocument, Vec<(String, Position)>)> {
    let mut found = Vec::new();
    each(file, &mut |document, node| {
        let mut values = Vec::new();
        leaves(node, &mut String::new(), &mut values);
        found.push((document, values));
    });
    found
}

fn leaves(node: &Node, path: &mut String, found: &mut Vec<(String, Position)>) {
    let length = path.len();
    match &node.value {
        tree::Value::Mapping(entries) => {
            for entry in entries {
                // As in the paths of findings: a key with a dot stands in quotes.
                match (entry.key.contains('.'), path.is_empty()) {
                    (true, _) => path.extend(["[\"", &entry.key, "\"]"]),
                    (false, true) => path.push_str(&entry.key),
                    (false, false) => path.extend([".", &entry.key]),
                }
                leaves(&entry.value, path, found);
                path.truncate(length);
            }
        }
        tree::Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                path.extend(["[", &index.to_string(), "]"]);
                leaves(item, path, found);
                path.truncate(length);
            }
        }
        tree::Value::Scalar { .. } => found.push((path.clone(), node.position)),
    }
}

fn each(file: &SourceFile, found: &mut dyn FnMut(RawDocument, &Node)) {
    let extents = tree::extents(&file.text);
    // What is wrong with the text is said where it is loaded.
    let mut unread = Vec::new();
    tree::documents(file, &mut unread, |node| {
        let line = node.position.line;
        let position = extents.binary_search_by_key(&line, |extent| extent.first);
        let extent = position.ok().and_then(|at| extents.get(at)).copied();
        document(node, file, extent, found);
    });
}

fn document(
    node: &Node,
    file: &SourceFile,
    extent: Option<Extent>,
    found: &mut dyn FnMut(RawDocument, &Node),
) {
    let text = |node: &Node, key: &str| match &child(node, key)?.value {
        tree::Value::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    };
    let (Some(api_version), Some(kind)) = (text(node, "apiVersion"), text(node, "kind")) else {
        return;
    };
    if kind == "List" || (!api_version.contains('/') && kind.ends_with("List")) {
        if let Some(tree::Value::Sequence(items)) = child(node, "items").map(|node| &node.value) {
            for item in items {
                document(item, file, None, found);
            }
        }
        return;
    }
    let metadata = child(node, "metadata");
    let of_metadata = |key: &str| metadata.and_then(|metadata| text(metadata, key));
    let document = RawDocument {
        api_version,
        kind,
        namespace: of_metadata("namespace"),
        name: of_metadata("name").unwrap_or_default(),
        at: Location::spanning(Arc::clone(&file.name), node.position, node.end),
        extent,
        value: json(node),
    };
    found(document, node);
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.value {
        tree::Value::Mapping(entries) => entries
            .iter()
            .find(|entry| &*entry.key == key)
            .map(|entry| &entry.value),
        _ => None,
    }
}

/// The JSON of a tree, by YAML 1.2's core schema. The depth is bounded since the tree was read.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        tree::Value::Scalar { text, quoted: true } => text.clone().into(),
        tree::Value::Scalar { text, .. } => plain(text),
        tree::Value::Sequence(items) => items.iter().map(json).collect(),
        tree::Value::Mapping(entries) => {
            let pairs = entries.iter();
            let pairs = pairs.map(|entry| (entry.key.clone(), json(&entry.value)));
            serde_json::Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

fn plain(text: &str) -> serde_json::Value {
    match text {
        _ if tree::is_null(text) => serde_json::Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ if tree::is_number(text) => number(text).map_or_else(|| text.into(), Into::into),
        _ => text.into(),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    let whole = text.strip_prefix('+').unwrap_or(text);
    let signed = whole.parse::<i64>().ok().map(Number::from);
    signed
        .or_else(|| whole.parse::<u64>().ok().map(Number::from))
        .or_else(|| Number::from_f64(whole.parse().ok()?))
}

#[cfg(test)]
mod tests;
