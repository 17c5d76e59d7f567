//! Anchors and aliases within a budget: an alias is a copy, and copies of copies grow without bounds.

use std::collections::HashMap;

use super::{Node, Value};

/// Values that aliases and anchors of one document may copy in total.
const MAX_COPIED_NODES: usize = 20_000;
/// Bytes of text in those values: a few long texts are as heavy as many short ones.
const MAX_COPIED_BYTES: usize = 4 << 20;

/// The anchored values of one document.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    by_id: HashMap<usize, Anchored>,
    copied_nodes: usize,
    copied_bytes: usize,
}

#[derive(Debug)]
struct Anchored {
    node: Node,
    size: Size,
}

/// What a copy of a value costs.
#[derive(Clone, Copy, Debug)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// Why an alias is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasProblem {
    /// No finished value has the anchor: it is unknown or contains the alias.
    Unknown,
    /// More copies than allowed.
    Budget,
}

impl Anchors {
    /// Keeps an anchored value; 0 is no anchor.
    pub(super) fn keep(&mut self, id: usize, node: &Node) -> Result<(), AliasProblem> {
        if id == 0 {
            return Ok(());
        }
        let size = measure(node);
        self.spend(size)?;
        let node = node.clone();
        self.by_id.insert(id, Anchored { node, size });
        Ok(())
    }

    /// A copy of an anchored value, and how deep it is.
    pub(super) fn copy(&mut self, id: usize) -> Result<(Node, usize), AliasProblem> {
        let size = self.by_id.get(&id).ok_or(AliasProblem::Unknown)?.size;
        self.spend(size)?;
        let anchored = self.by_id.get(&id).ok_or(AliasProblem::Unknown)?;
        Ok((anchored.node.clone(), size.depth))
    }

    fn spend(&mut self, size: Size) -> Result<(), AliasProblem> {
        self.copied_nodes = self.copied_nodes.saturating_add(size.nodes);
        self.copied_bytes = self.copied_bytes.saturating_add(size.bytes);
        if self.copied_nodes > MAX_COPIED_NODES || self.copied_bytes > MAX_COPIED_BYTES {
            Err(AliasProblem::Budget)
        } else {
            Ok(())
        }
    }
}

/// Adds up a tree; its depth is bounded by the builder.
fn measure(node: &Node) -> Size {
    let mut size = Size {
        nodes: 1,
        bytes: 0,
        depth: 0,
    };
    let mut add = |child: &Node| {
        let child = measure(child);
        size.nodes = size.nodes.saturating_add(child.nodes);
        size.bytes = size.bytes.saturating_add(child.bytes);
        size.depth = size.depth.max(child.depth);
    };
    match &node.value {
        Value::Scalar { text, .. } => size.bytes = text.len(),
        Value::Sequence(items) => items.iter().for_each(add),
        Value::Mapping(entries) => {
            for entry in entries {
                add(&entry.value);
            }
            let keys: usize = entries.iter().map(|entry| entry.key.len()).sum();
            size.bytes = size.bytes.saturating_add(keys);
        }
    }
    size.depth += 1;
    size
}
