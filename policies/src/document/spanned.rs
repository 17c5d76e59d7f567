//! A value with the place where its author wrote it.

use std::fmt;
use std::ops::Deref;

use crate::diagnostic::DocPath;
use crate::source::Location;

/// A value with its place; equality looks at the value only.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
}

impl<T> Spanned<T> {
    /// A value at a place.
    pub fn new(value: T, at: Location, path: DocPath) -> Self {
        Self { value, at, path }
    }

    /// Another value at the same place.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: change(self.value),
            at: self.at,
            path: self.path,
        }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
