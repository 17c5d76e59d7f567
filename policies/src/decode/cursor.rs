//! A place in a document while it is decoded, and the findings so far.

use std::cell::RefCell;
use std::sync::Arc;

use crate::diagnostic::{Code, Diagnostic, DocPath, codes};
use crate::document::Spanned;
use crate::mesh::Mesh;
use crate::nearest::nearest;
use crate::source::Location;
use crate::yaml::{Node, Position, Value, shortened};

/// What holds for a whole file, and where findings go.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) mesh: &'a Mesh,
    pub(crate) diagnostics: RefCell<Vec<Diagnostic>>,
    /// What warnings call the document being read: `VirtualService my-app/product-service`.
    pub(crate) subject: RefCell<String>,
}

impl Context<'_> {
    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    pub(crate) fn location(&self, position: Position) -> Location {
        Location {
            file: Arc::clone(self.file),
            line: position.line,
            column: position.column,
        }
    }
}

/// A type that can be read from a document. `None` means that the problem has been reported.
pub(crate) trait Decode: Sized {
    fn decode(cursor: &Cursor<'_>) -> Option<Self>;
}

/// One value of a document.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) node: &'a Node,
    pub(crate) path: DocPath,
    /// Where the key of the value stands, or the value itself in lists.
    pub(crate) key: Position,
}

impl<'a> Cursor<'a> {
    /// Where the value starts.
    pub(crate) fn at(&self) -> Location {
        self.context.location(self.node.position)
    }

    /// Where the field of the value starts.
    pub(crate) fn key_at(&self) -> Location {
        self.context.location(self.key)
    }

    /// The value with its place.
    pub(crate) fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(value, self.at(), self.path.clone())
    }

    /// Reports an error at the value.
    pub(crate) fn error(&self, code: Code, message: impl Into<String>, help: Option<String>) {
        self.context
            .report(Diagnostic::error(code, self.at(), &self.path, message).with_help_if(help));
    }

    /// Reports a warning at the value's field.
    pub(crate) fn warn(&self, code: Code, message: impl Into<String>, help: Option<String>) {
        self.context.report(
            Diagnostic::warning(code, self.key_at(), &self.path, message).with_help_if(help),
        );
    }

    /// Reports a value of another type than expected; always `None`.
    pub(crate) fn mistyped<T>(&self, expected: &str) -> Option<T> {
        let help = match &self.node.value {
            Value::Scalar {
                text,
                quoted: false,
            } if text.contains(" //") => Some("YAML comments start with `#`".to_owned()),
            Value::Scalar {
                text,
                quoted: false,
            } if expected.starts_with("a text") => Some(format!("write `\"{}\"`", shortened(text))),
            Value::Scalar { text, quoted: true }
                if !expected.starts_with("a text") && text.len() < 24 =>
            {
                Some(format!("write `{}` without quotes", shortened(text)))
            }
            _ => None,
        };
        self.error(
            codes::WRONG_TYPE,
            format!("expected {expected}, found {}", self.node.describe()),
            help,
        );
        None
    }

    /// Reports a value of the right type whose content is wrong; always `None`.
    pub(crate) fn invalid<T>(&self, expected: &str) -> Option<T> {
        self.invalid_with(expected, None)
    }

    /// As [`invalid`](Self::invalid), with help.
    pub(crate) fn invalid_with<T>(&self, expected: &str, help: Option<String>) -> Option<T> {
        let found = match &self.node.value {
            Value::Scalar { text, .. } => format!("`{}`", shortened(text)),
            _ => self.node.describe(),
        };
        let help = help.or_else(|| {
            found
                .contains(" //")
                .then(|| "YAML comments start with `#`".to_owned())
        });
        self.error(
            codes::INVALID_VALUE,
            format!("{found} is not {expected}"),
            help,
        );
        None
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, quoted } if *quoted || is_plain_text(text) => Some(text),
            _ => self.mistyped("a text"),
        }
    }

    /// One of the names that an enumeration has.
    pub(crate) fn one_of<T: Copy>(&self, allowed: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = allowed.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let help =
            nearest(text, names.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        let message = format!("`{}` is not one of {}", shortened(text), names.join(", "));
        self.error(codes::UNKNOWN_VALUE, message, help);
        None
    }

    /// The elements of a list.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        let Value::Sequence(items) = &self.node.value else {
            return self.mistyped("a list");
        };
        let cursor = |(index, node): (usize, &'a Node)| Self {
            context: self.context,
            node,
            path: self.path.index(index),
            key: node.position,
        };
        Some(items.iter().enumerate().map(cursor).collect())
    }

    /// The entries of a mapping whose keys the author chose.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Self)>> {
        let Value::Mapping(entries) = &self.node.value else {
            return self.mistyped("a mapping");
        };
        let cursor = |entry: &'a crate::yaml::Entry| {
            let cursor = Self {
                context: self.context,
                node: &entry.value,
                path: self.path.key(&entry.key),
                key: entry.position,
            };
            (&*entry.key, cursor)
        };
        Some(entries.iter().map(cursor).collect())
    }
}

/// Whether an unquoted scalar is a string to every YAML reader.
fn is_plain_text(text: &str) -> bool {
    use crate::yaml::{is_bool, is_null, is_number};
    !is_null(text) && !is_bool(text) && !is_number(text)
}
