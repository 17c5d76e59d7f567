//! Exit codes, and the one failure type that every verb ends with.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// What the command's exit code says; scripts rely on these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done, and nothing to report.
    Fine,
    /// 1: a finding, a denial or a failure.
    Finding,
    /// 2: the command line is wrong (clap exits with it too).
    Usage,
    /// 3: no mesh runs where the command looked for one.
    Unreachable,
    /// Any other: the code of the program that `portcullis run` ran.
    Program(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Fine => 0,
            Exit::Finding => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Program(code) => code,
        })
    }
}

/// Why a verb could not do its work, in words for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure that exits with 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Finding,
            message: message.into(),
            hint: None,
        }
    }

    /// A wrong command line, beyond what clap checks.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
            hint: None,
        }
    }

    /// The mesh, or the part of it that is needed, is not there.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Unreachable,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do or to type next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The line that says what to do next, if there is one.
    pub(crate) fn next_step(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(format!("{error:#}"))
    }
}

/// Says what was being done when something failed.
pub(crate) trait Context<T> {
    /// Puts `doing` in front of the error's own message.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{}: {error}", doing())))
    }
}
