//! Whether documents of a kind have an effect at all.

use super::Cursor;
use crate::diagnostic::{Code, Diagnostic};

/// What becomes of the documents of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    /// In force, apart from fields that say otherwise.
    InForce,
    /// Read and checked, and nothing that could be in force: an information.
    Beside {
        /// Its own code.
        code: Code,
        /// What it is.
        what: &'static str,
    },
    /// A traffic kind that is read and checked but has no effect yet: a warning.
    Later {
        /// Its own code.
        code: Code,
        /// What holds instead.
        effect: &'static str,
    },
}

impl Standing {
    /// Whether single fields are to say that they are not in force.
    pub(super) fn is_in_force(self) -> bool {
        matches!(self, Self::InForce | Self::Beside { .. })
    }

    /// Says it at `kind`.
    pub(super) fn report(self, kind: &Cursor<'_>) {
        let subject = kind.context.subject.borrow().clone();
        let finding = match self {
            Self::InForce => return,
            Self::Beside { code, what } => {
                let message = format!("{subject} has no effect here: {what}");
                Diagnostic::info(code, kind.at(), "kind", message)
            }
            Self::Later { code, effect } => {
                let message = format!("{subject} is not in force yet: {effect}");
                Diagnostic::warning(code, kind.at(), "kind", message)
            }
        };
        kind.context.report(finding);
    }
}
