//! What may stand at a place of a document, as the decoders ask for it.

use std::collections::BTreeMap;

/// What may stand at one place. Several members at once mean "any of them"; none means anything at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(super) text: Option<Text>,
    pub(super) number: Option<Number>,
    pub(super) boolean: bool,
    pub(super) list: Option<List>,
    pub(super) object: Option<Object>,
    /// Why a value is refused whatever it is.
    pub(super) refused: Option<String>,
    /// What has no effect yet.
    pub(super) remark: Option<String>,
    /// What to write instead of an old name.
    pub(super) deprecated: Option<String>,
}

/// A text.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) names: Vec<&'static str>,
    /// Whether `names` may be written in upper or lower case.
    pub(super) any_case: bool,
    pub(super) format: Option<TextFormat>,
}

/// What a text must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextFormat {
    /// A regular expression that ECMAScript and Rust read alike; no stricter than the decoder.
    pub(crate) pattern: &'static str,
    /// Completes "expected …".
    pub(crate) expected: &'static str,
    /// The greatest number of characters, if there is one.
    pub(crate) longest: Option<usize>,
}

/// A number and its range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) whole: bool,
    pub(super) range: Option<(f64, f64)>,
}

/// A list.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    pub(super) items: Box<Shape>,
    pub(super) not_empty: bool,
}

/// A mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) fields: BTreeMap<&'static str, Field>,
    /// The values of keys that the author chose.
    pub(super) rest: Option<Box<Shape>>,
    /// Of each group at most one may be there.
    pub(super) exclusive: Vec<Vec<&'static str>>,
    /// Of each group at least one must be there.
    pub(super) any_of: Vec<Vec<&'static str>>,
}

/// A field of a mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) required: bool,
    pub(super) shape: Shape,
}

impl Shape {
    /// A text may stand here.
    pub(crate) fn text(&mut self) {
        self.text.get_or_insert_default();
    }

    /// A text of a format.
    pub(crate) fn format(&mut self, format: TextFormat) {
        self.text.get_or_insert_default().format = Some(format);
    }

    /// One of these names.
    pub(crate) fn names(&mut self, names: impl IntoIterator<Item = &'static str>) {
        let text = self.text.get_or_insert_default();
        for name in names {
            if !text.names.contains(&name) {
                text.names.push(name);
            }
        }
    }

    /// The names are read without regard to case.
    pub(crate) fn any_case(&mut self) {
        self.text.get_or_insert_default().any_case = true;
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) {
        self.boolean = true;
    }

    /// A whole number.
    pub(crate) fn whole(&mut self) {
        self.number.get_or_insert(Number {
            whole: true,
            range: None,
        });
    }

    /// Any number.
    pub(crate) fn number(&mut self) {
        self.number.get_or_insert(Number {
            whole: false,
            range: None,
        });
    }

    /// The number is in this range, ends included.
    pub(crate) fn range(&mut self, least: f64, most: f64) {
        if let Some(number) = &mut self.number {
            number.range = Some((least, most));
        }
    }

    /// A list.
    pub(crate) fn list(&mut self) {
        self.list.get_or_insert_default();
    }

    /// A list with at least one element.
    pub(crate) fn not_empty(&mut self) {
        self.list.get_or_insert_default().not_empty = true;
    }

    /// A mapping.
    pub(crate) fn mapping(&mut self) {
        self.object();
    }

    fn object(&mut self) -> &mut Object {
        self.object.get_or_insert_default()
    }

    /// Nothing may stand here.
    pub(crate) fn refused(&mut self, reason: &str) {
        self.refused = Some(reason.to_owned());
    }

    /// Something that a reader of the schema should know.
    pub(crate) fn remark(&mut self, remark: String) {
        self.remark = Some(remark);
    }

    /// An old name.
    pub(crate) fn deprecated(&mut self, instead: &str) {
        self.deprecated = Some(format!("Write `{instead}` instead."));
    }

    /// The field must be there.
    pub(crate) fn required(&mut self, name: &'static str) {
        self.object().fields.entry(name).or_default().required = true;
    }

    /// At most one of these fields.
    pub(crate) fn exclusive(&mut self, names: &[&'static str]) {
        self.object().exclusive.push(names.to_vec());
    }

    /// At least one of these fields.
    pub(crate) fn any_of(&mut self, names: &[&'static str]) {
        self.object().any_of.push(names.to_vec());
    }

    /// The shape of a field's value.
    pub(crate) fn field(&mut self, name: &'static str) -> &mut Self {
        &mut self.object().fields.entry(name).or_default().shape
    }

    /// The shape of the values of keys that the author chose.
    pub(crate) fn rest(&mut self) -> &mut Self {
        self.object().rest.get_or_insert_default()
    }

    /// The shape of a list's elements.
    pub(crate) fn items(&mut self) -> &mut Self {
        &mut self.list.get_or_insert_default().items
    }

    /// Whether a mapping may stand here.
    pub(super) fn is_mapping(&self) -> bool {
        self.object.is_some()
    }

    /// Whether an empty mapping will not do.
    pub(super) fn needs_fields(&self) -> bool {
        self.object.as_ref().is_some_and(|object| {
            !object.any_of.is_empty() || object.fields.values().any(|field| field.required)
        })
    }
}
