//! `portcullis lint`: what is wrong with policy documents, by the very check that running processes make.

pub(crate) mod args;
mod fixing;
mod input;
mod report;
mod sarif;

use dataplane::checked::check;
use identity::TrustDomain;
use policies::diagnostic::{Diagnostic, Severity};
use policies::load::Loader;
use policies::mesh::Mesh;
use policies::source::SourceFile;

use crate::exit::{Exit, Failure};
use crate::terminal;
use args::Lint;
use input::Input;

/// Everything that was found about a set of files.
#[derive(Debug)]
struct Findings {
    /// Documents, good or bad.
    documents: usize,
    /// In the order of (file, position).
    diagnostics: Vec<Diagnostic>,
}

impl Findings {
    fn count(&self, severity: Severity) -> usize {
        let alike = |finding: &&Diagnostic| finding.severity == severity;
        self.diagnostics.iter().filter(alike).count()
    }

    fn fixable(&self) -> usize {
        let fixable = |finding: &&Diagnostic| finding.fix.is_some();
        self.diagnostics.iter().filter(fixable).count()
    }
}

/// How documents are judged.
#[derive(Debug)]
struct Judge {
    mesh: Mesh,
    trust_domain: TrustDomain,
    /// Whether the files are all there is.
    closed: bool,
}

impl Judge {
    /// Reads and checks the files; `unreadable` are findings about files that are no text.
    fn findings(
        &self,
        loader: &mut Loader,
        files: &[SourceFile],
        unreadable: &[Diagnostic],
    ) -> Findings {
        let checked = check(loader, files, &self.mesh);
        let mut diagnostics = unreadable.to_vec();
        diagnostics.extend(checked.advice());
        diagnostics.extend(ca::entries::check(
            &checked.documents.registration_entries,
            &self.trust_domain,
        ));
        diagnostics.extend(checked.diagnostics);
        if !self.closed {
            for finding in &mut diagnostics {
                // It may be declared elsewhere.
                if finding.code.is_open_reference() && finding.is_error() {
                    finding.severity = Severity::Warning;
                }
            }
        }
        // The worst first where several are about one place.
        diagnostics.sort_by(|a, b| (&a.at, a.severity).cmp(&(&b.at, b.severity)));
        Findings {
            documents: files.iter().map(SourceFile::document_count).sum(),
            diagnostics,
        }
    }
}

/// Lints; 1 with errors, or with warnings when those are denied.
pub(crate) fn run(args: &Lint) -> Result<Exit, Failure> {
    let judge = Judge {
        mesh: Mesh {
            trust_domain: args.trust_domain.as_str().to_owned(),
            root_namespace: args.root_namespace.clone(),
            default_namespace: args.namespace.clone(),
            ..Mesh::default()
        },
        trust_domain: args.trust_domain.clone(),
        closed: args.closed,
    };
    let mut loader = Loader::default();
    let mut input = Input::read(&args.paths)?;
    let mut findings = judge.findings(&mut loader, &input.files, &input.unreadable);
    let mut fixed = None;
    if args.fix {
        let done = fixing::fix(&judge, &mut loader, &input, findings);
        input.write(&done.files)?;
        findings = done.findings;
        fixed = Some(done.fixed);
        input.files = done.files;
    }
    let text = report::report(&findings, &input.files, args.output, fixed);
    if args.fix && input.has_standard_input() {
        // Standard output carries the fixed text.
        terminal::note(text.trim_end());
    } else {
        terminal::print(&text);
    }
    let refused = findings.count(Severity::Error) > 0
        || (args.deny_warnings && findings.count(Severity::Warning) > 0);
    Ok(if refused { Exit::Finding } else { Exit::Fine })
}
