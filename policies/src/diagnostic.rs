//! One finding about what people wrote: stable code, severity, place, message and help.

pub mod codes;
pub mod fix;
pub mod page;
mod path;
mod render;
mod safe_text;

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

pub use codes::Code;
pub use fix::{Edit, Fix};
pub use path::DocPath;
pub(crate) use path::Step;
pub use render::{Paint, render, render_with};
use safe_text::safe;
pub(crate) use safe_text::{is_disguise, is_unseen};

use crate::source::Location;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document set must not be put in force.
    Error,
    /// In force, but something is not as its author may think.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// `error`, `warning` or `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One finding.
///
/// `Display` is one line: ``file:line:col: error[PC0107]: message (help: …)``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Where the text stands that it is about.
    pub at: Location,
    /// The document path, such as `spec.http[0].retries`; empty for whole files.
    pub path: String,
    /// What is wrong: lower case, no full stop, the author's words in back-ticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// How a program can do it.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// An error: the set must not be put in force.
    pub fn error(
        code: Code,
        at: Location,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, code, at, path, message)
    }

    /// A warning.
    pub fn warning(
        code: Code,
        at: Location,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, code, at, path, message)
    }

    /// An information.
    pub fn info(
        code: Code,
        at: Location,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Info, code, at, path, message)
    }

    fn new(
        severity: Severity,
        code: Code,
        at: Location,
        path: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            at,
            path: safe(path.to_string()),
            message: safe(message.into()),
            help: None,
            fix: None,
        }
    }

    /// The same finding with a help line.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(safe(help.into()));
        self
    }

    /// The same finding with a help line if there is one.
    #[must_use]
    pub fn with_help_if(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.with_help(help),
            None => self,
        }
    }

    /// The same finding with a fix; its title is the help if there is no other.
    #[must_use]
    pub fn with_fix(self, fix: Fix) -> Self {
        self.with_fix_if(Some(fix))
    }

    /// The same finding with a fix if there is one.
    #[must_use]
    pub fn with_fix_if(mut self, fix: Option<Fix>) -> Self {
        if let Some(fix) = &fix
            && self.help.is_none()
        {
            self.help = Some(safe(fix.title.clone()));
        }
        self.fix = fix.or(self.fix);
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}[{}]: {}",
            safe(self.at.to_string()),
            self.severity,
            self.code,
            self.message
        )?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut flat = serializer.serialize_struct("Diagnostic", 8)?;
        flat.serialize_field("code", &self.code)?;
        flat.serialize_field("severity", &self.severity)?;
        flat.serialize_field("message", &self.message)?;
        flat.serialize_field("file", &safe(self.at.file.to_string()))?;
        flat.serialize_field("line", &self.at.line)?;
        flat.serialize_field("column", &self.at.column)?;
        flat.serialize_field("path", &self.path)?;
        flat.serialize_field("help", &self.help)?;
        flat.end()
    }
}
