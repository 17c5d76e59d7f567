//! Services from ServiceEntry and WorkloadEntry documents.

use super::Registry;
use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;

pub(super) fn build(_documents: &DocumentSet, _mesh: &Mesh) -> (Registry, Vec<Diagnostic>) {
    (Registry::default(), Vec::new())
}
