//! From source texts to a document set and every finding about it.

use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::source::SourceFile;

/// What [`load`] read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The documents without errors.
    pub documents: DocumentSet,
    /// Every finding, in the order of (file, position).
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether any finding is an error; then the set must not be put in force.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads every document of the given sources.
pub fn load(files: &[SourceFile], mesh: &Mesh) -> Loaded {
    let mut loaded = Loaded::default();
    for file in files {
        crate::decode::file(file, mesh, &mut loaded.documents, &mut loaded.diagnostics);
    }
    loaded
}
