//! Anchors and aliases within a budget: an alias is a copy, and copies of copies grow without bounds.

use std::collections::HashMap;

use super::{Node, Value};

/// Values that aliases and anchors of one document may copy in total.
const MAX_COPIED_NODES: usize = 20_000;

/// The anchored values of one document.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    by_id: HashMap<usize, Anchored>,
    copied: usize,
}

#[derive(Debug)]
struct Anchored {
    node: Node,
    depth: usize,
    count: usize,
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
        let (count, depth) = measure(node);
        self.spend(count)?;
        self.by_id.insert(
            id,
            Anchored {
                node: node.clone(),
                depth,
                count,
            },
        );
        Ok(())
    }

    /// A copy of an anchored value, and how deep it is.
    pub(super) fn copy(&mut self, id: usize) -> Result<(Node, usize), AliasProblem> {
        let count = self.by_id.get(&id).ok_or(AliasProblem::Unknown)?.count;
        self.spend(count)?;
        let anchored = self.by_id.get(&id).ok_or(AliasProblem::Unknown)?;
        Ok((anchored.node.clone(), anchored.depth))
    }

    fn spend(&mut self, count: usize) -> Result<(), AliasProblem> {
        self.copied = self.copied.saturating_add(count);
        if self.copied > MAX_COPIED_NODES {
            Err(AliasProblem::Budget)
        } else {
            Ok(())
        }
    }
}

/// How many values, and how deep; the depth is bounded by the builder.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.value {
        Value::Scalar { .. } => Vec::new(),
        Value::Sequence(items) => items.iter().map(measure).collect(),
        Value::Mapping(entries) => entries.iter().map(|entry| measure(&entry.value)).collect(),
    };
    let count = children.iter().map(|(count, _)| count).sum::<usize>() + 1;
    let depth = children.iter().map(|(_, depth)| *depth).max().unwrap_or(0) + 1;
    (count, depth)
}
