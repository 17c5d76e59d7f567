//! Source texts and places in them.

mod lines;

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, DocPath, codes};
pub(crate) use lines::Lines;

/// One text that people wrote: usually a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// How diagnostics call it: a path as the user gave it.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
}

impl SourceFile {
    /// A source from its name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }
}

impl SourceFile {
    /// How many documents stand in it, good or bad.
    pub fn document_count(&self) -> usize {
        crate::yaml::count(&self.text)
    }

    /// A source from the bytes of a file.
    ///
    /// # Errors
    /// A finding at the first byte that is no UTF-8.
    pub fn from_bytes(name: impl Into<Arc<str>>, bytes: Vec<u8>) -> Result<Self, Box<Diagnostic>> {
        let name = name.into();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let good = error.as_bytes().get(..offset).unwrap_or_default();
                let good = String::from_utf8_lossy(good);
                let at = Lines::new(&good).position(good.len());
                let found = error.as_bytes().get(offset).copied().unwrap_or_default();
                let message = format!("not UTF-8: the byte 0x{found:02x} at {offset} is no text");
                let at = Location::spanning(name, at, at);
                let finding = Diagnostic::error(codes::NOT_UTF8, at, DocPath::root(), message);
                Err(Box::new(finding.with_help("save the file as UTF-8")))
            }
        }
    }
}

/// Line and column, both from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A place in a source text; line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// The name of the [`SourceFile`].
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The first position behind what stands there; the start itself if that is not known.
    pub end: Position,
}

impl Location {
    /// A place by file, line and column.
    pub fn new(file: impl Into<Arc<str>>, line: u32, column: u32) -> Self {
        let start = Position { line, column };
        Self::spanning(file, start, start)
    }

    /// What stands between two positions, the second one excluded.
    pub fn spanning(file: impl Into<Arc<str>>, start: Position, end: Position) -> Self {
        Self {
            file: file.into(),
            line: start.line,
            column: start.column,
            end,
        }
    }

    /// Where it starts.
    pub fn start(&self) -> Position {
        Position {
            line: self.line,
            column: self.column,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
