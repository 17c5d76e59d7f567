//! The findings of one source text, bounded: a file of rubbish must not become a gigabyte of messages.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::source::Location;

/// Errors of one text that are kept; the author has enough to do.
const MAX_ERRORS: usize = 1_000;
/// Warnings and informations of one text that are kept.
const MAX_OTHERS: usize = 20_000;

/// What has been found in one text.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    others: Cell<usize>,
}

impl Findings {
    /// Notes a finding; every one counts, not every one is kept.
    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let (count, most) = match diagnostic.severity {
            Severity::Error => (&self.errors, MAX_ERRORS),
            Severity::Warning | Severity::Info => (&self.others, MAX_OTHERS),
        };
        count.set(count.get().saturating_add(1));
        if count.get() <= most {
            self.kept.borrow_mut().push(diagnostic);
        }
    }

    /// How many errors there are so far, kept or not.
    pub(crate) fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Whether another error would not be kept: then looking for more is not worth the time.
    pub(crate) fn is_full(&self) -> bool {
        self.errors() > MAX_ERRORS
    }

    /// What was kept, and how much was not.
    pub(crate) fn into_diagnostics(self, file: &Arc<str>) -> Vec<Diagnostic> {
        let start = || Location::new(Arc::clone(file), 1, 1);
        let mut kept = self.kept.into_inner();
        if self.errors.get() > MAX_ERRORS {
            let message =
                format!("more than {MAX_ERRORS} errors: the rest of the file is not shown");
            kept.push(Diagnostic::error(codes::YAML_BUDGET, start(), "", message));
        }
        if self.others.get() > MAX_OTHERS {
            let message = format!(
                "{} more warnings and informations are not shown",
                self.others.get() - MAX_OTHERS
            );
            kept.push(Diagnostic::warning(
                codes::YAML_BUDGET,
                start(),
                "",
                message,
            ));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_counts_but_not_everything_is_kept() {
        let file: Arc<str> = "a.yaml".into();
        let findings = Findings::default();
        let at = || Location::new("a.yaml", 1, 1);
        for _ in 0..MAX_ERRORS {
            findings.push(Diagnostic::error(codes::UNKNOWN_FIELD, at(), "", "x"));
        }
        assert!(!findings.is_full());
        findings.push(Diagnostic::error(codes::UNKNOWN_FIELD, at(), "", "x"));
        assert!(findings.is_full());
        for _ in 0..MAX_OTHERS + 5 {
            findings.push(Diagnostic::info(codes::FOREIGN_KIND, at(), "", "x"));
        }
        let kept = findings.into_diagnostics(&file);
        assert_eq!(kept.len(), MAX_ERRORS + MAX_OTHERS + 2);
        let last = kept.last().map(|diagnostic| diagnostic.message.as_str());
        assert_eq!(last, Some("5 more warnings and informations are not shown"));
    }
}
