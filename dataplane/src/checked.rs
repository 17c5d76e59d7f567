//! Whether a document set is good: the one answer that every process and `portcullis lint` give.

use policies::diagnostic::Diagnostic;
use policies::document::DocumentSet;
use policies::load::Loader;
use policies::mesh::Mesh;
use policies::registry::Registry;
use policies::source::SourceFile;

/// A document set and every finding about it. It does not depend on who asks.
#[derive(Debug)]
pub struct Checked {
    /// The documents without errors of their own.
    pub documents: DocumentSet,
    /// The services that they declare.
    pub registry: Registry,
    /// The mesh-wide settings in effect.
    pub mesh: Mesh,
    /// Every finding, in the order of (file, position).
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Whether any finding is an error; then the set must not be put in force.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// What could be better about a set, in the order of (file, position): never an error, and no part of
    /// [`diagnostics`](Self::diagnostics).
    pub fn advice(&self) -> Vec<Diagnostic> {
        let mut advice = policies::advice::advise(&self.documents, &self.registry, &self.mesh);
        advice.extend(authz::advice::advise(
            &self.documents,
            &self.registry,
            &self.mesh,
        ));
        advice.sort_by(|a, b| a.at.cmp(&b.at));
        advice
    }
}

/// Reads a complete document set and checks it: each document alone, then all of them together.
///
/// References to what no document declares are errors here
/// ([`is_open_reference`](policies::diagnostic::Code::is_open_reference)).
pub fn check(loader: &mut Loader, files: &[SourceFile], mesh: &Mesh) -> Checked {
    let policies::load::Loaded {
        documents,
        mut diagnostics,
        mesh,
    } = loader.load(files, mesh);
    let (registry, across) = policies::check::check(&documents, &mesh);
    diagnostics.extend(across);
    diagnostics.extend(authz::check::check(&documents, &registry, &mesh));
    // Stable, so findings of one place keep the order in which they were made.
    diagnostics.sort_by(|a, b| a.at.cmp(&b.at));
    Checked {
        documents,
        registry,
        mesh,
        diagnostics,
    }
}
