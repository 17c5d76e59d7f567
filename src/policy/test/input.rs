//! The tests that a command line names, and the documents that each of them is about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use authz::policy_test::Subject;
use policies::diagnostic::{Diagnostic, Severity, codes};
use policies::document::{PolicyTest, Spanned};
use policies::load::policy_tests;
use policies::source::SourceFile;
use runtime::documents::{DocumentSource, DocumentsError};

use crate::exit::Failure;

/// A test with the workload and its policies.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: SourceFile,
    pub(super) test: Arc<PolicyTest>,
    pub(super) subject: Subject,
}

/// Every test, and every text that findings may show.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) tests: Vec<Found>,
    pub(super) sources: BTreeMap<Arc<str>, SourceFile>,
    /// What is wrong with tests or policies; what has an error is not among [`tests`](Self::tests).
    pub(super) findings: Vec<Diagnostic>,
}

impl Input {
    /// Reads the tests and their documents.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut input = Self::default();
        let listed = DocumentSource::new(paths.to_vec())
            .list()
            .map_err(|error| usage(&error))?;
        for path in listed {
            let named = paths.contains(&path);
            if let Some(file) = input.source(&path, &display(&path))? {
                input.tests_of(&file, named)?;
            }
        }
        if input.tests.is_empty() && input.errors() == 0 {
            return Err(Failure::usage("there is no PolicyTest among the files")
                .hint("docs/policy-tests.md shows one"));
        }
        Ok(input)
    }

    /// How many findings are errors.
    pub(super) fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|found| found.is_error())
            .count()
    }

    /// The text of a file; none if it is no text, which is a finding.
    fn source(&mut self, path: &Path, name: &str) -> Result<Option<SourceFile>, Failure> {
        if let Some(known) = self.sources.get(name) {
            return Ok(Some(known.clone()));
        }
        let bytes = DocumentSource::read_bytes(path).map_err(|error| usage(&error))?;
        match SourceFile::from_bytes(name, bytes) {
            Ok(file) => {
                self.sources.insert(Arc::clone(&file.name), file.clone());
                Ok(Some(file))
            }
            Err(finding) => {
                self.findings.push(*finding);
                Ok(None)
            }
        }
    }

    fn tests_of(&mut self, file: &SourceFile, named: bool) -> Result<(), Failure> {
        // Policies and golden tables may lie beside tests.
        if !file.text.contains("PolicyTest") {
            return if named {
                let message = format!("`{}` holds no PolicyTest", file.name);
                Err(Failure::usage(message).hint("docs/policy-tests.md shows one"))
            } else {
                Ok(())
            };
        }
        let (tests, findings) = policy_tests(file);
        // That tests have no effect among policies is no news here.
        let told = |finding: &Diagnostic| finding.severity != Severity::Info;
        self.findings.extend(findings.into_iter().filter(told));
        for test in tests {
            let before = self.errors();
            let files = self.policies(&test, file)?;
            if self.errors() > before {
                continue;
            }
            match Subject::new(&test, file, &files) {
                Ok(subject) => self.tests.push(Found {
                    file: file.clone(),
                    test,
                    subject,
                }),
                Err(findings) => {
                    let errors = findings.into_iter().filter(Diagnostic::is_error);
                    self.findings.extend(errors);
                }
            }
        }
        Ok(())
    }

    /// The files that `policies` names, each once.
    fn policies(
        &mut self,
        test: &PolicyTest,
        file: &SourceFile,
    ) -> Result<Vec<SourceFile>, Failure> {
        let folder = Path::new(&*file.name)
            .parent()
            .unwrap_or_else(|| Path::new(""));
        let mut found = BTreeMap::new();
        for pattern in &test.policies {
            let paths = match matching(folder, pattern) {
                Ok(paths) => paths,
                Err(message) => {
                    let Spanned { at, path, .. } = pattern;
                    let finding =
                        Diagnostic::error(codes::INVALID_VALUE, at.clone(), path, message);
                    self.findings.push(finding);
                    continue;
                }
            };
            for path in paths {
                if let Some(file) = self.source(&path, &display(&path))? {
                    found.insert(Arc::clone(&file.name), file);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// The files of one entry of `policies`: a file, everything below a directory, or what fits a pattern.
fn matching(folder: &Path, entry: &Spanned<String>) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(&entry.value);
    let roots = if path.exists() {
        vec![path]
    } else {
        // The folder's own name is no pattern.
        let folder = glob::Pattern::escape(&folder.to_string_lossy());
        let pattern = Path::new(&folder).join(&entry.value);
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..glob::MatchOptions::new()
        };
        let paths = glob::glob_with(&pattern.to_string_lossy(), options)
            .map_err(|error| format!("`{entry}` is not a pattern: {error}"))?;
        paths
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("`{entry}`: {error}"))?
    };
    if roots.is_empty() {
        let folder = if folder.as_os_str().is_empty() {
            ".".into()
        } else {
            folder.to_string_lossy()
        };
        return Err(format!("no file is `{entry}`, seen from `{folder}`"));
    }
    let listed = DocumentSource::new(roots).list();
    listed.map_err(|error| error.to_string())
}

/// One name for one file, however tests come to it: as seen from the current directory if it is below that.
fn display(path: &Path) -> String {
    let Ok(whole) = std::fs::canonicalize(path) else {
        return path.to_string_lossy().into_owned();
    };
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let short = here.ok().and_then(|here| whole.strip_prefix(here).ok());
    short.unwrap_or(&whole).to_string_lossy().into_owned()
}

fn usage(error: &DocumentsError) -> Failure {
    Failure::usage(error.to_string())
}
