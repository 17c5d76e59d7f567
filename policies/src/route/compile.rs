//! Route tables from documents.

use super::matching::Condition;
use super::{Compiled, HttpRoute, Proxy};
use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;

/// The rules of a host, in order.
pub(crate) type RuleList = Box<[CompiledRule]>;

/// One match of one rule.
#[derive(Clone, Debug)]
pub(crate) struct CompiledRule {
    pub(crate) condition: Condition,
    pub(crate) route: HttpRoute,
}

pub(super) fn compile(
    _documents: &DocumentSet,
    _registry: &Registry,
    _mesh: &Mesh,
    _proxy: Proxy<'_>,
) -> (Compiled, Vec<Diagnostic>) {
    (Compiled::default(), Vec::new())
}
