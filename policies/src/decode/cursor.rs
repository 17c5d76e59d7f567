//! A place in a document while it is decoded, and the findings so far.

use std::cell::{Cell, OnceCell, RefCell};
use std::sync::Arc;

use super::findings::Findings;
use super::recorder::{ANY_KEY, Recorder};
use super::{RegexesOfFile, Shared};
use crate::diagnostic::{Code, Diagnostic, DocPath, Fix, codes};
use crate::document::Spanned;
use crate::mesh::Mesh;
use crate::nearest::{nearest, only_near};
use crate::schema::Shape;
use crate::source::{Lines, Location};
use crate::yaml::{Node, Position, Value, is_null, is_number, shortened};

/// What holds for a whole file, and where findings go.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) text: &'a str,
    /// Where the lines of `text` begin; looked up when the first fix needs it.
    pub(crate) line_starts: OnceCell<Vec<usize>>,
    pub(crate) mesh: &'a Mesh,
    pub(crate) shared: &'a Shared,
    pub(crate) findings: Findings,
    pub(crate) regexes: RefCell<RegexesOfFile>,
    /// What warnings call the document being read: `VirtualService my-app/product-service`.
    pub(crate) subject: RefCell<String>,
    /// What is being read is not in force as a whole, so its fields need not say so again.
    pub(crate) quiet: Cell<bool>,
    /// Emptied lists of field names, to be used again.
    pub(crate) spare: RefCell<Vec<Vec<&'static str>>>,
    /// Where a schema is noted while decoders run over nothing; none while documents are read.
    pub(crate) recorder: Option<&'a Recorder>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        file: &'a Arc<str>,
        text: &'a str,
        mesh: &'a Mesh,
        shared: &'a Shared,
    ) -> Self {
        Self {
            file,
            text,
            line_starts: OnceCell::new(),
            mesh,
            shared,
            findings: Findings::default(),
            regexes: RefCell::default(),
            subject: RefCell::default(),
            quiet: Cell::default(),
            spare: RefCell::default(),
            recorder: None,
        }
    }

    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic);
    }

    pub(crate) fn location(&self, start: Position, end: Position) -> Location {
        Location::spanning(Arc::clone(self.file), start, end)
    }

    pub(crate) fn lines(&self) -> Lines<'_> {
        let starts = self.line_starts.get_or_init(|| Lines::starts(self.text));
        Lines::with_starts(self.text, starts)
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
    /// Where that key ends; its start in lists.
    pub(crate) key_end: Position,
}

impl<'a> Cursor<'a> {
    /// Where the value starts.
    pub(crate) fn at(&self) -> Location {
        self.context.location(self.node.position, self.node.end)
    }

    /// Where the field of the value starts.
    pub(crate) fn key_at(&self) -> Location {
        self.context.location(self.key, self.key_end)
    }

    /// The value with its place.
    pub(crate) fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(value, self.at(), self.path.clone())
    }

    /// An error at the value, to be completed and reported.
    pub(crate) fn an_error(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.at(), &self.path, message)
    }

    /// A warning at the value's field, to be completed and reported.
    pub(crate) fn a_warning(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(code, self.key_at(), &self.path, message)
    }

    /// Reports an error at the value.
    pub(crate) fn error(&self, code: Code, message: impl Into<String>, help: Option<String>) {
        self.context
            .report(self.an_error(code, message).with_help_if(help));
    }

    /// Reports a warning at the value's field.
    pub(crate) fn warn(&self, code: Code, message: impl Into<String>, help: Option<String>) {
        self.context
            .report(self.a_warning(code, message).with_help_if(help));
    }

    /// Reports a field whose name is deprecated, to be renamed, or removed if the newer one stands `beside` it.
    pub(crate) fn deprecated_name(&self, old: &str, new: &str, beside: bool) {
        self.note(|shape| shape.deprecated(new));
        let message = format!("`{old}` is a deprecated name of `{new}`");
        let fix = if beside {
            self.fix_remove(format!("remove it: `{new}` is there"))
        } else {
            Some(self.fix_key(format!("write `{new}`"), new))
        };
        let finding = self.a_warning(codes::DEPRECATED_FIELD, message);
        self.context.report(finding.with_fix_if(fix));
    }

    /// Reports a field that another one stands for in another shape; `text` is that field with its value.
    pub(crate) fn deprecated_shape(&self, old: &str, new: &str, text: Option<&str>, beside: bool) {
        self.note(|shape| shape.deprecated(new));
        let message = format!("`{old}` is a deprecated name of `{new}`");
        let fix = if beside {
            self.fix_remove(format!("remove it: `{new}` is there"))
        } else {
            text.map(|text| self.fix_entry(format!("write `{text}`"), text))
        };
        let finding = self.a_warning(codes::DEPRECATED_FIELD, message);
        let help = fix.is_none().then(|| format!("write `{new}`"));
        self.context
            .report(finding.with_help_if(help).with_fix_if(fix));
    }

    /// Reports a value whose name is deprecated.
    pub(crate) fn deprecated_value(&self, old: &str, new: &str) {
        let message = format!("{old} is a deprecated name of {new}");
        let fix = self.fix_value(format!("write {new}"), new);
        let finding = self.a_warning(codes::DEPRECATED_VALUE, message);
        self.context.report(finding.with_fix(fix));
    }

    /// Reports a value of another type than expected; always `None`.
    pub(crate) fn mistyped<T>(&self, expected: &str) -> Option<T> {
        if self.is_recording() {
            return None;
        }
        let message = format!("expected {expected}, found {}", self.node.describe());
        let finding = self.an_error(codes::WRONG_TYPE, message);
        let (help, fix) = self.retyped(expected);
        self.context
            .report(finding.with_help_if(help).with_fix_if(fix));
        None
    }

    /// What somebody meant who wrote a value of another type.
    fn retyped(&self, expected: &str) -> (Option<String>, Option<Fix>) {
        let Value::Scalar { text, quoted } = &self.node.value else {
            return (None, None);
        };
        if let Some(fix) = self.fix_slash_comment() {
            return (Some("YAML comments start with `#`".to_owned()), Some(fix));
        }
        let shown = shortened(text);
        if !quoted && expected.starts_with("a text") {
            let help = format!("write `\"{shown}\"`");
            // A null is rather a forgotten value than a text.
            let fix = (!is_null(text)).then(|| self.fix_value(&help, format!("\"{text}\"")));
            return (Some(help), fix);
        }
        let boolean = match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => "true",
            "false" | "no" | "off" => "false",
            _ => "",
        };
        if expected.contains("`true`") && !boolean.is_empty() {
            let help = format!("write `{boolean}`");
            let fix = self.fix_value(&help, boolean);
            return (Some(help), Some(fix));
        }
        let number = expected.contains("number") && is_number(text);
        if *quoted && text.len() < 24 && !expected.starts_with("a text") {
            let help = format!("write `{shown}` without quotes");
            let fix = number.then(|| self.fix_value(&help, &**text));
            return (Some(help), fix);
        }
        (None, None)
    }

    /// Reports a value of the right type whose content is wrong; always `None`.
    pub(crate) fn invalid<T>(&self, expected: &str) -> Option<T> {
        self.invalid_with(expected, None)
    }

    /// As [`invalid`](Self::invalid), with help.
    pub(crate) fn invalid_with<T>(&self, expected: &str, help: Option<String>) -> Option<T> {
        self.invalid_fixed(expected, help, None)
    }

    /// As [`invalid`](Self::invalid), with help and a fix.
    pub(crate) fn invalid_fixed<T>(
        &self,
        expected: &str,
        help: Option<String>,
        fix: Option<Fix>,
    ) -> Option<T> {
        let found = match &self.node.value {
            Value::Scalar { text, .. } => format!("`{}`", shortened(text)),
            _ => self.node.describe(),
        };
        let finding = self.an_error(codes::INVALID_VALUE, format!("{found} is not {expected}"));
        let finding = match self.fix_slash_comment() {
            Some(comment) => finding
                .with_help("YAML comments start with `#`")
                .with_fix(comment),
            None => finding.with_help_if(help).with_fix_if(fix),
        };
        self.context.report(finding);
        None
    }

    /// The text of a string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, quoted } if *quoted || is_plain_text(text) => Some(text),
            _ => {
                self.note(Shape::text);
                self.mistyped("a text")
            }
        }
    }

    /// One of the names that an enumeration has.
    pub(crate) fn one_of<T: Copy>(&self, allowed: &[(&'static str, T)]) -> Option<T> {
        let Some(text) = self.text() else {
            self.note(|shape| shape.names(allowed.iter().map(|(name, _)| *name)));
            return None;
        };
        if let Some((_, value)) = allowed.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` is not one of {}", shortened(text), names.join(", "));
        let finding = self.an_error(codes::UNKNOWN_VALUE, message);
        let finding = if let Some(comment) = self.fix_slash_comment() {
            finding
                .with_help("YAML comments start with `#`")
                .with_fix(comment)
        } else {
            let help =
                nearest(text, names.iter().copied()).map(|name| format!("did you mean `{name}`?"));
            let fix = only_near(text, names.iter().copied())
                .map(|name| self.fix_value(format!("write `{name}`"), name));
            finding.with_help_if(help).with_fix_if(fix)
        };
        self.context.report(finding);
        None
    }

    /// The same node under another path: nothing is everywhere alike while a schema is recorded.
    pub(super) fn below(&self, path: DocPath) -> Self {
        Self {
            path,
            ..self.clone()
        }
    }

    /// The elements of a list.
    pub(crate) fn items(&self) -> Option<Vec<Self>> {
        self.each_item().map(Iterator::collect)
    }

    /// As [`items`](Self::items), one after the other.
    pub(crate) fn each_item(&self) -> Option<impl ExactSizeIterator<Item = Self> + use<'a>> {
        let items = match &self.node.value {
            Value::Sequence(items) => items,
            _ if self.is_recording() => {
                self.note(Shape::list);
                std::slice::from_ref(self.node)
            }
            _ => return self.mistyped("a list"),
        };
        let Self { context, path, .. } = self.clone();
        let cursor = move |(index, node): (usize, &'a Node)| Self {
            context,
            node,
            path: context.shared.paths.index(&path, index),
            key: node.position,
            key_end: node.position,
        };
        Some(items.iter().enumerate().map(cursor))
    }

    /// The entries of a mapping whose keys the author chose.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Self)>> {
        let Value::Mapping(entries) = &self.node.value else {
            return if self.is_recording() {
                self.note(|shape| _ = shape.rest());
                Some(vec![(ANY_KEY, self.below(self.path.key(ANY_KEY)))])
            } else {
                self.mistyped("a mapping")
            };
        };
        let cursor = |entry: &'a crate::yaml::Entry| {
            let cursor = Self {
                context: self.context,
                node: &entry.value,
                path: self.context.shared.paths.key(&self.path, &entry.key),
                key: entry.position,
                key_end: entry.end,
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
