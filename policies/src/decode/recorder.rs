//! What a decoder asks for, noted while it runs over nothing: the source of the JSON Schema.
//!
//! While a document is read there is no recorder, and every hook below is one comparison on a path that has already failed.

use std::cell::RefCell;
use std::sync::Arc;

use super::{Context, Cursor, Shared};
use crate::diagnostic::{DocPath, Step};
use crate::mesh::Mesh;
use crate::schema::Shape;
use crate::yaml::{Node, Position, Value};

/// A key that is a header's name, a label and a port number at once.
pub(super) const ANY_KEY: &str = "1";

/// Takes notes.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    root: RefCell<Shape>,
}

impl Recorder {
    pub(super) fn note(&self, path: &DocPath, note: impl FnOnce(&mut Shape)) {
        let mut root = self.root.borrow_mut();
        let mut shape = &mut *root;
        for step in path.steps() {
            shape = match step {
                Step::Field(name) => shape.field(name),
                Step::Key => shape.rest(),
                Step::Index => shape.items(),
            };
        }
        note(shape);
    }
}

/// Runs a decoder over nothing and returns what it asked for.
pub(crate) fn record(decoder: impl FnOnce(&Cursor<'_>)) -> Shape {
    let recorder = Recorder::default();
    let nothing = Node {
        value: Value::Scalar {
            text: String::new(),
            quoted: false,
        },
        position: Position::default(),
        end: Position::default(),
    };
    let (file, mesh, shared) = (Arc::from(""), Mesh::default(), Shared::default());
    let context = Context {
        recorder: Some(&recorder),
        ..Context::new(&file, "", &mesh, &shared)
    };
    decoder(&Cursor {
        context: &context,
        node: &nothing,
        path: DocPath::root(),
        key: Position::default(),
        key_end: Position::default(),
    });
    recorder.root.take()
}

impl Cursor<'_> {
    /// Whether a schema is being recorded rather than a document read.
    pub(crate) fn is_recording(&self) -> bool {
        self.context.recorder.is_some()
    }

    /// Notes what may stand here; nothing happens while a document is read.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Shape)) {
        if let Some(recorder) = self.context.recorder {
            recorder.note(&self.path, note);
        }
    }
}
