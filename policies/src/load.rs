//! From source texts to a document set and every finding about it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::decode::{MAX_REGEX_SUM, OfFile, Regexes, Shared};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{CompiledRegexes, DocumentSet, Kind, PolicyTest};
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

impl Loaded {
    /// Whether any finding is an error; then the set must not be put in force.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Reads every document of the given sources, in the order of their names.
pub fn load(files: &[SourceFile], mesh: &Mesh) -> Loaded {
    Loader::default().load(files, mesh)
}

/// As [`load`], with the documents that stand in a test itself behind all others; `own` is the file of the test.
pub fn load_with_test(
    files: &[SourceFile],
    own: &SourceFile,
    test: &PolicyTest,
    mesh: &Mesh,
) -> Loaded {
    let mut loader = Loader::default();
    let read = loader.load(files, mesh);
    if test.documents.is_empty() {
        return read;
    }
    let nodes = test.documents.iter().map(|document| &document.0);
    loader.files.push(Kept {
        source: own.clone(),
        content: crate::decode::nodes(own, nodes, mesh, &Shared::default()),
    });
    loader.loaded(mesh)
}

/// The tests of a file, and every finding about it. A test that names no namespace has an empty one.
pub fn policy_tests(file: &SourceFile) -> (Vec<Arc<PolicyTest>>, Vec<Diagnostic>) {
    let mesh = Mesh {
        default_namespace: String::new(),
        ..Mesh::default()
    };
    let loaded = load(std::slice::from_ref(file), &mesh);
    (loaded.documents.policy_tests, loaded.diagnostics)
}

/// Reads editions of a document set, one after the other; a file that stays as it is is not read again.
#[derive(Debug, Default)]
pub struct Loader {
    /// What the documents were read with.
    mesh: Option<Mesh>,
    /// The files of the last edition, by name.
    files: Vec<Kept>,
}

/// A file that has been read.
#[derive(Debug)]
struct Kept {
    source: SourceFile,
    content: OfFile,
}

impl Loader {
    /// Reads every document of the given sources, in the order of their names: the same as [`load`] of the whole edition.
    pub fn load(&mut self, files: &[SourceFile], mesh: &Mesh) -> Loaded {
        if self.mesh.as_ref() != Some(mesh) {
            self.mesh = Some(mesh.clone());
            self.files.clear();
        }
        let mut sorted: Vec<&SourceFile> = files.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let regexes = self.files.iter().flat_map(|kept| {
            let compiled = kept.content.regexes.compiled.iter();
            compiled.map(|(text, (regex, _))| (Arc::clone(text), regex.clone()))
        });
        let shared = Shared {
            regexes: Regexes::knowing(regexes),
            ..Shared::default()
        };
        // Both editions are sorted, so one walk meets every file that is in both.
        let mut before = std::mem::take(&mut self.files).into_iter().peekable();
        for source in sorted {
            while before
                .next_if(|kept| kept.source.name < source.name)
                .is_some()
            {}
            let known = before.next_if(|kept| kept.source.name == source.name);
            let content = match known {
                Some(kept) if same_text(&kept.source, source) && !kept.content.regexes.cut => {
                    kept.content
                }
                _ => crate::decode::file(source, mesh, &shared),
            };
            let source = source.clone();
            self.files.push(Kept { source, content });
        }
        self.loaded(mesh)
    }

    /// Everything about the edition in `files`.
    fn loaded(&self, mesh: &Mesh) -> Loaded {
        let mut documents = DocumentSet::default();
        let mut diagnostics = Vec::new();
        for Kept { content, .. } in &self.files {
            documents.extend(&content.documents);
            diagnostics.extend_from_slice(&content.diagnostics);
        }
        diagnostics.extend(self.regexes(&mut documents));
        duplicates(&documents, &mut diagnostics);
        diagnostics.extend(crate::namespace_wide::check(&documents));
        let (mesh, findings) = mesh.effective(&documents);
        diagnostics.extend(findings);
        // Stable, so findings of one place keep the order in which they were made.
        diagnostics.sort_by(|a, b| a.at.cmp(&b.at));
        // Two rules may find the same fault.
        diagnostics.dedup();
        Loaded {
            documents,
            diagnostics,
            mesh,
        }
    }

    /// Collects the regular expressions of all files; an error if they are too large together.
    fn regexes(&self, documents: &mut DocumentSet) -> Option<Diagnostic> {
        let mut compiled = BTreeMap::new();
        let mut sum: usize = 0;
        let mut finding = None;
        let of_files = self.files.iter().flat_map(|kept| {
            let mut of_file: Vec<_> = kept.content.regexes.compiled.iter().collect();
            of_file.sort_by_key(|(_, (_, at))| (at.line, at.column));
            of_file
        });
        for (text, (found, at)) in of_files {
            if compiled
                .insert(Arc::clone(text), Arc::clone(&found.regex))
                .is_some()
            {
                continue;
            }
            sum = sum.saturating_add(found.weight);
            if sum > MAX_REGEX_SUM && finding.is_none() {
                let message = format!(
                    "the regular expressions up to here take more than {} MiB together",
                    MAX_REGEX_SUM >> 20
                );
                let help = "use prefixes, bounded repetitions and ASCII classes such as `[a-z0-9]`";
                finding = Some(
                    Diagnostic::error(codes::YAML_BUDGET, at.clone(), "", message).with_help(help),
                );
            }
        }
        documents.regexes = CompiledRegexes(compiled).into();
        finding
    }
}

/// Whether a file's text is as it was.
fn same_text(one: &SourceFile, two: &SourceFile) -> bool {
    Arc::ptr_eq(&one.text, &two.text) || one.text == two.text
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
