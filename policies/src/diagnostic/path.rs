//! Where in a document a value stands: `spec.http[0].retries`.

use std::fmt;
use std::sync::Arc;

/// A step of a path, as schemas see it: which element of a list and which key of a map does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A field that the schema knows.
    Field(&'static str),
    /// A key that the author chose.
    Key,
    /// An element of a list.
    Index,
}

/// A document path; cloning and extending it are cheap, the text is made only when somebody reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocPath(Option<Arc<Link>>);

#[derive(Debug, PartialEq, Eq)]
struct Link {
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

    /// From the document to the value.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut path = self;
        while let Some(link) = &path.0 {
            steps.push(match &link.segment {
                Segment::Field(name) => Step::Field(name),
                Segment::Key(_) => Step::Key,
                Segment::Index(_) => Step::Index,
            });
            path = &link.parent;
        }
        steps.reverse();
        steps
    }

    fn step(&self, segment: Segment) -> Self {
        Self(Some(Arc::new(Link {
            parent: self.clone(),
            segment,
        })))
    }
}

impl fmt::Display for DocPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(link) = &self.0 else { return Ok(()) };
        // Depth is bounded by the YAML budget, so the recursion is too.
        link.parent.fmt(f)?;
        let dot = if link.parent.0.is_some() { "." } else { "" };
        match &link.segment {
            Segment::Field(name) => write!(f, "{dot}{name}"),
            Segment::Key(name) if name.contains(['.', '[', ']', ' ']) || name.is_empty() => {
                write!(f, "[{name:?}]")
            }
            Segment::Key(name) => write!(f, "{dot}{name}"),
            Segment::Index(index) => write!(f, "[{index}]"),
        }
    }
}
