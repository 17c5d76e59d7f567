//! Where in a document a value stands: `spec.http[0].retries`.

use std::fmt;
use std::sync::Arc;

/// A document path; cloning and extending it are cheap, the text is made only when somebody reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocPath(Option<Arc<Step>>);

#[derive(Debug, PartialEq, Eq)]
struct Step {
    parent: DocPath,
    segment: Segment,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Field(&'static str),
    Key(Box<str>),
    Index(usize),
}

impl DocPath {
    /// The document itself.
    pub fn root() -> Self {
        Self(None)
    }

    /// The value of a field that the schema knows.
    #[must_use]
    pub fn field(&self, name: &'static str) -> Self {
        self.step(Segment::Field(name))
    }

    /// The value of a key that the author chose.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.step(Segment::Key(name.into()))
    }

    /// An element of a list, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Segment::Index(index))
    }

    /// Tells paths apart while they live; equal paths made apart have different ones.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ref().map_or(0, |step| Arc::as_ptr(step).addr())
    }

    fn step(&self, segment: Segment) -> Self {
        Self(Some(Arc::new(Step {
            parent: self.clone(),
            segment,
        })))
    }
}

impl fmt::Display for DocPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        // Depth is bounded by the YAML budget, so the recursion is too.
        step.parent.fmt(f)?;
        let dot = if step.parent.0.is_some() { "." } else { "" };
        match &step.segment {
            Segment::Field(name) => write!(f, "{dot}{name}"),
            Segment::Key(name) if name.contains(['.', '[', ']', ' ']) || name.is_empty() => {
                write!(f, "[{name:?}]")
            }
            Segment::Key(name) => write!(f, "{dot}{name}"),
            Segment::Index(index) => write!(f, "[{index}]"),
        }
    }
}
