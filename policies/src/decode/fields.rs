//! The fields of a mapping: every field is named once, what is left over is unknown.

use std::collections::BTreeMap;

use super::{Cursor, Decode};
use super::{hints, relocate};
use crate::diagnostic::{Code, Diagnostic, DocPath, Fix, codes};
use crate::nearest::{nearest, only_near};
use crate::schema::Shape;
use crate::source::Location;
use crate::yaml::{Entry, Value, shortened};

/// The fields of one mapping while a schema reads them.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    cursor: Cursor<'a>,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> Cursor<'a> {
    /// Reads a mapping with a schema: `schema` must ask for every field before it gives up on any.
    pub(crate) fn fields<T>(&self, schema: impl FnOnce(&mut Fields<'a>) -> Option<T>) -> Option<T> {
        let entries: &[Entry] = match &self.node.value {
            Value::Mapping(entries) => entries,
            _ if self.is_recording() => {
                self.note(Shape::mapping);
                &[]
            }
            _ => return self.mistyped("a mapping"),
        };
        let mut fields = Fields {
            cursor: self.clone(),
            entries,
            known: self.context.spare.borrow_mut().pop().unwrap_or_default(),
        };
        let value = schema(&mut fields);
        let unknown = fields.report_unknown();
        fields.known.clear();
        self.context.spare.borrow_mut().push(fields.known);
        if unknown { None } else { value }
    }
}

impl<'a> Fields<'a> {
    /// The mapping itself.
    pub(crate) fn cursor(&self) -> &Cursor<'a> {
        &self.cursor
    }

    /// A field's value, if it is there and not null.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        self.known.push(name);
        let Some(entry) = self.entries.iter().find(|entry| &*entry.key == name) else {
            return self.recorded(name);
        };
        (!entry.value.is_null()).then(|| Cursor {
            context: self.cursor.context,
            node: &entry.value,
            path: self
                .cursor
                .context
                .shared
                .paths
                .field(&self.cursor.path, name),
            key: entry.position,
            key_end: entry.end,
        })
    }

    /// While a schema is recorded, every field that is asked for is there.
    fn recorded(&self, name: &'static str) -> Option<Cursor<'a>> {
        let recorder = self.cursor.context.recorder?;
        let path = self.cursor.path.field(name);
        recorder.note(&path, |_| {});
        Some(self.cursor.below(path))
    }

    /// Reports a finding.
    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        self.cursor.context.report(diagnostic);
    }

    /// Whether a field is there; it still has to be read.
    pub(crate) fn has(&self, name: &str) -> bool {
        let there = |entry: &Entry| &*entry.key == name && !entry.value.is_null();
        self.entries.iter().any(there) || self.cursor.is_recording()
    }

    /// A field that may be missing.
    pub(crate) fn optional<T: Decode>(&mut self, name: &'static str) -> Option<T> {
        self.get(name).and_then(|cursor| T::decode(&cursor))
    }

    /// A field that may be missing, as its type's default then.
    pub(crate) fn or_default<T: Decode + Default>(&mut self, name: &'static str) -> T {
        self.optional(name).unwrap_or_default()
    }

    /// A field that must be there.
    pub(crate) fn required<T: Decode>(&mut self, name: &'static str) -> Option<T> {
        self.cursor.note(|shape| shape.required(name));
        if let Some(cursor) = self.get(name) {
            return T::decode(&cursor);
        }
        self.missing(name);
        None
    }

    /// A list that may be missing or empty.
    pub(crate) fn list<T: Decode>(&mut self, name: &'static str) -> Vec<T> {
        let Some(items) = self.get(name).and_then(|cursor| cursor.each_item()) else {
            return Vec::new();
        };
        // Not `collect`, which makes room for four where there is one: documents live long.
        let mut values = Vec::with_capacity(items.len());
        values.extend(items.filter_map(|item| T::decode(&item)));
        values
    }

    /// A list with at least one element.
    pub(crate) fn non_empty<T: Decode>(&mut self, name: &'static str) -> Option<Vec<T>> {
        self.cursor.note(|shape| shape.required(name));
        let Some(cursor) = self.get(name) else {
            self.missing(name);
            return None;
        };
        Self::elements(&cursor, name)
    }

    /// A list that may be missing, but not empty.
    pub(crate) fn non_empty_if_there<T: Decode>(&mut self, name: &'static str) -> Option<Vec<T>> {
        match self.get(name) {
            Some(cursor) => Self::elements(&cursor, name),
            None => Some(Vec::new()),
        }
    }

    fn elements<T: Decode>(cursor: &Cursor<'a>, name: &str) -> Option<Vec<T>> {
        cursor.note(Shape::not_empty);
        let items = cursor.each_item()?;
        let length = items.len();
        if length == 0 {
            cursor.error(
                codes::INVALID_LENGTH,
                format!("`{name}` is empty, expected at least one element"),
                None,
            );
            return None;
        }
        let mut values = Vec::with_capacity(length);
        values.extend(items.filter_map(|item| T::decode(&item)));
        (values.len() == length).then_some(values)
    }

    /// A mapping whose keys the author chose; may be missing.
    pub(crate) fn map<T: Decode>(&mut self, name: &'static str) -> BTreeMap<String, T> {
        let entries = self
            .get(name)
            .and_then(|cursor| cursor.entries())
            .unwrap_or_default();
        entries
            .iter()
            .filter_map(|(key, cursor)| Some(((*key).to_owned(), T::decode(cursor)?)))
            .collect()
    }

    /// A traffic field that is read and checked but not in force yet: a warning if it is there.
    pub(crate) fn later<T: Decode>(
        &mut self,
        name: &'static str,
        code: Code,
        effect: &str,
    ) -> Option<T> {
        let cursor = self.get(name)?;
        self.warn_later(&cursor, name, code, effect);
        // The whole is named; its parts need not be.
        let before = cursor.context.quiet.replace(true);
        let value = T::decode(&cursor);
        cursor.context.quiet.set(before);
        value
    }

    /// A list that is read and checked but not in force yet: a warning if it has elements.
    pub(crate) fn later_list<T: Decode>(
        &mut self,
        name: &'static str,
        code: Code,
        effect: &str,
    ) -> Vec<T> {
        let Some(cursor) = self.get(name) else {
            return Vec::new();
        };
        let items = cursor.items().unwrap_or_default();
        if !items.is_empty() {
            self.warn_later(&cursor, name, code, effect);
        }
        let before = cursor.context.quiet.replace(true);
        let values = items.iter().filter_map(T::decode).collect();
        cursor.context.quiet.set(before);
        values
    }

    /// A setting that has nothing to act upon here: known by name, but neither read nor in force.
    pub(crate) fn unread(&mut self, name: &'static str, code: Code, effect: &str) {
        if let Some(cursor) = self.get(name) {
            self.warn_later(&cursor, name, code, effect);
        }
    }

    /// Says that a traffic field is not in force yet, unless it stands in a block that has been said to be so.
    pub(crate) fn warn_later(&self, cursor: &Cursor<'_>, name: &str, code: Code, effect: &str) {
        cursor.note(|shape| shape.remark(format!("Not in force yet: {effect}.")));
        if self.cursor.context.quiet.get() {
            return;
        }
        let subject = self.cursor.context.subject.borrow();
        cursor.warn(
            code,
            format!("`{name}` of {subject} is not in force yet: {effect}"),
            None,
        );
    }

    /// A security field that is not in force: an error if it is there.
    pub(crate) fn refused(&mut self, name: &'static str, reason: &str) {
        if let Some(cursor) = self.get(name) {
            self.refuse(&cursor, name, reason);
        }
    }

    /// A security field that is read and checked but not in force: an error if it is there.
    pub(crate) fn refused_typed<T: Decode>(
        &mut self,
        name: &'static str,
        reason: &str,
    ) -> Option<T> {
        let cursor = self.get(name)?;
        self.refuse(&cursor, name, reason);
        T::decode(&cursor)
    }

    fn refuse(&self, cursor: &Cursor<'_>, name: &str, reason: &str) {
        cursor.note(|shape| shape.refused(reason));
        let message =
            format!("`{name}` is not in force, and a security field is never ignored: {reason}");
        self.report(Diagnostic::error(
            codes::SECURITY_FIELD_NOT_IN_FORCE,
            cursor.key_at(),
            &cursor.path,
            message,
        ));
    }

    /// As [`refused_typed`](Self::refused_typed), with a code of its own.
    pub(crate) fn refused_with<T: Decode>(
        &mut self,
        name: &'static str,
        code: Code,
        reason: &str,
    ) -> Option<T> {
        let cursor = self.get(name)?;
        cursor.note(|shape| shape.refused(reason));
        let message =
            format!("`{name}` is not in force, and a security field is never ignored: {reason}");
        self.error_at(name, code, message, None);
        T::decode(&cursor)
    }

    /// Reports an error at a field's name, or at the mapping if the field is missing.
    pub(crate) fn error_at(
        &self,
        name: &'static str,
        code: Code,
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let (at, path) = self.place(name);
        let diagnostic = Diagnostic::error(code, at, path, message);
        self.report(diagnostic.with_help_if(help.map(str::to_owned)));
    }

    /// As [`error_at`](Self::error_at), but a warning.
    pub(crate) fn warn_at(
        &self,
        name: &'static str,
        code: Code,
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let (at, path) = self.place(name);
        let diagnostic = Diagnostic::warning(code, at, path, message);
        self.report(diagnostic.with_help_if(help.map(str::to_owned)));
    }

    fn place(&self, name: &'static str) -> (Location, DocPath) {
        let entry = self.entries.iter().find(|entry| &*entry.key == name);
        let at = entry.map_or_else(
            || self.cursor.key_at(),
            |entry| self.cursor.context.location(entry.position, entry.end),
        );
        (at, self.cursor.path.field(name))
    }

    /// At most one of these fields may be there; false after an error.
    pub(crate) fn exclusive(&self, names: &[&'static str]) -> bool {
        self.cursor.note(|shape| shape.exclusive(names));
        let present: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| names.contains(&&*entry.key) && !entry.value.is_null())
            .collect();
        let [first, second, ..] = present.as_slice() else {
            return true;
        };
        let message = format!("`{}` and `{}` exclude each other", first.key, second.key);
        let at = self.cursor.context.location(second.position, second.end);
        let path = self.cursor.path.key(&second.key);
        self.cursor.context.report(Diagnostic::error(
            codes::EXCLUSIVE_FIELDS,
            at,
            path,
            message,
        ));
        false
    }

    /// At least one of these fields must be there; false after an error.
    pub(crate) fn any_of(&self, names: &[&'static str]) -> bool {
        self.cursor.note(|shape| shape.any_of(names));
        let any = names.iter().any(|name| self.has(name));
        if !any {
            let message = format!("expected at least one of {}", quoted(names));
            let diagnostic = Diagnostic::error(
                codes::MISSING_FIELD,
                self.cursor.key_at(),
                &self.cursor.path,
                message,
            );
            self.report(diagnostic);
        }
        any
    }

    /// Reports a field that has to be there because of the value of another one.
    pub(crate) fn missing(&self, name: &'static str) {
        let path = self.cursor.path.field(name);
        let message = format!("`{path}` is missing");
        let help = hints::example(&path.to_string()).map(|example| format!("add `{example}`"));
        let at = self.cursor.key_at();
        self.report(Diagnostic::error(codes::MISSING_FIELD, at, path, message).with_help_if(help));
    }

    fn report_unknown(&self) -> bool {
        let mut any = false;
        for entry in self
            .entries
            .iter()
            .filter(|entry| !self.known.contains(&&*entry.key))
        {
            any = true;
            if self.cursor.context.findings.is_full() {
                break;
            }
            let path = self.cursor.path.key(&entry.key);
            let message = format!("unknown field `{}`", shortened(&entry.key));
            let at = self.cursor.context.location(entry.position, entry.end);
            let moved = relocate::to_the_only_rule(&self.cursor, self.entries, entry);
            let help = nearest(&entry.key, self.known.iter().copied())
                .map(|name| format!("did you mean `{name}`?"))
                .or_else(|| {
                    hints::misplaced(&entry.key).map(|place| format!("it belongs to {place}"))
                })
                .unwrap_or_else(|| format!("known fields: {}", self.known.join(", ")));
            let finding = Diagnostic::error(codes::UNKNOWN_FIELD, at, path, message);
            self.report(
                finding
                    .with_help(help)
                    .with_fix_if(self.renamed(entry).or(moved)),
            );
        }
        any
    }
}

impl Fields<'_> {
    /// The fix for a slip in a field's name: only if one name can be meant and is not there already.
    fn renamed(&self, entry: &Entry) -> Option<Fix> {
        let name = only_near(&entry.key, self.known.iter().copied())?;
        let taken = self.entries.iter().any(|other| &*other.key == name);
        let edit = self.cursor.context.rename(entry, name);
        (!taken).then(|| Fix::new(format!("rename it to `{name}`"), edit))
    }
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
