//! Typed documents from YAML, with every problem reported.

use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::source::SourceFile;

pub(crate) fn file(
    _file: &SourceFile,
    _mesh: &Mesh,
    _documents: &mut DocumentSet,
    _diagnostics: &mut Vec<Diagnostic>,
) {
}
