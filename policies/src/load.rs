//! From source texts to a document set and every finding about it.

use std::collections::HashMap;

use crate::decode::Paths;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Kind};
use crate::mesh::Mesh;
use crate::source::SourceFile;

/// What [`load`] read.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The documents without errors.
    pub documents: DocumentSet,
    /// Every finding, in the order of (file, position).
    pub diagnostics: Vec<Diagnostic>,
    /// The process's settings with the set's MeshConfig applied: what holds for the documents.
    pub mesh: Mesh,
}

/// Reads editions of a document set, one after the other.
#[derive(Debug, Default)]
pub struct Loader {
    last: Option<(Vec<SourceFile>, Mesh, Loaded)>,
}

impl Loader {
    /// Reads every document of the given sources, in the order of their names; the same edition is not read twice.
    pub fn load(&mut self, files: &[SourceFile], mesh: &Mesh) -> Loaded {
        if let Some((known, of, loaded)) = &self.last
            && known == files
            && of == mesh
        {
            return loaded.clone();
        }
        let loaded = load(files, mesh);
        self.last = Some((files.to_vec(), mesh.clone(), loaded.clone()));
        loaded
    }
}

impl Loaded {
    /// Whether any finding is an error; then the set must not be put in force.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads every document of the given sources, in the order of their names.
pub fn load(files: &[SourceFile], mesh: &Mesh) -> Loaded {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut loaded = Loaded::default();
    let paths = Paths::default();
    for file in sorted {
        crate::decode::file(
            file,
            mesh,
            &paths,
            &mut loaded.documents,
            &mut loaded.diagnostics,
        );
    }
    duplicates(&loaded.documents, &mut loaded.diagnostics);
    loaded
        .diagnostics
        .extend(crate::namespace_wide::check(&loaded.documents));
    let (mesh, findings) = mesh.effective(&loaded.documents);
    loaded.mesh = mesh;
    loaded.diagnostics.extend(findings);
    // Stable, so findings of one place keep the order in which they were made.
    loaded.diagnostics.sort_by(|a, b| a.at.cmp(&b.at));
    loaded
}

/// Documents of one kind with the same name: in a cluster the later would replace the earlier, in files neither is meant.
fn duplicates(documents: &DocumentSet, diagnostics: &mut Vec<Diagnostic>) {
    let mut first: HashMap<(Kind, &str, &str), &crate::document::Meta> = HashMap::new();
    for meta in documents.metas() {
        if let Some(earlier) = first.get(&(meta.kind, meta.namespace.as_str(), meta.name.as_str()))
        {
            let message = format!(
                "{} `{}` stands twice, first at {}",
                meta.kind,
                meta.qualified(),
                earlier.at
            );
            diagnostics.push(Diagnostic::error(
                codes::DUPLICATE_DOCUMENT,
                meta.at.clone(),
                "metadata.name",
                message,
            ));
        } else {
            first.insert((meta.kind, &meta.namespace, &meta.name), meta);
        }
    }
}
