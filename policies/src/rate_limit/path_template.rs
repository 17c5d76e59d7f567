//! Paths with gaps, `/api/products/{id}`: requests for whatever stands in a gap count together.

use thiserror::Error;

/// A path of which some segments may be anything: `{name}` is one segment that is not empty, `{**}` at the end is the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    One,
    Rest,
}

/// Why a text is no template of paths.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathTemplateError {
    /// Paths begin with a slash.
    #[error("it does not begin with `/`")]
    NoSlash,
    /// A brace that is no part of a gap of a whole segment.
    #[error("a gap is a whole segment, `{{name}}`")]
    Brace,
    /// `{**}` before the end.
    #[error("`{{**}}` stands at the end")]
    RestBeforeEnd,
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let rest = text.strip_prefix('/').ok_or(PathTemplateError::NoSlash)?;
        let mut segments = Vec::new();
        for segment in rest.split('/') {
            if matches!(segments.last(), Some(Segment::Rest)) {
                return Err(PathTemplateError::RestBeforeEnd);
            }
            let gap = segment
                .strip_prefix('{')
                .and_then(|gap| gap.strip_suffix('}'));
            segments.push(match gap {
                Some("**") => Segment::Rest,
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Segment::One,
                None if !segment.contains(['{', '}']) => Segment::Literal(segment.into()),
                _ => return Err(PathTemplateError::Brace),
            });
        }
        Ok(Self {
            text: text.into(),
            segments: segments.into(),
        })
    }

    /// The template as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole path fits.
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut given = path.split('/');
        for segment in &self.segments {
            match (segment, given.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::One, Some(text)) if !text.is_empty() => {}
                (Segment::Literal(literal), Some(text)) if **literal == *text => {}
                _ => return false,
            }
        }
        given.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_paths_fit() {
        for (template, path, fits) in [
            ("/api/products/{id}", "/api/products/1", true),
            ("/api/products/{id}", "/api/products/1/", false),
            ("/api/products/{id}", "/api/products/", false),
            ("/api/products/{id}", "/api/products", false),
            ("/api/products/{id}", "/api/products/1/reviews", false),
            ("/api/{kind}/{id}/reviews", "/api/products/1/reviews", true),
            ("/api/{**}", "/api/a/b/c", true),
            ("/api/{**}", "/api/", true),
            ("/api/{**}", "/api", false),
            ("/", "/", true),
            ("/", "/a", false),
            ("/{**}", "/anything", true),
        ] {
            let parsed = PathTemplate::parse(template).unwrap();
            assert_eq!(parsed.matches(path), fits, "{template} {path}");
            assert_eq!(parsed.as_str(), template);
        }
    }

    #[test]
    fn what_is_no_template() {
        for (text, error) in [
            ("api", PathTemplateError::NoSlash),
            ("/a{id}", PathTemplateError::Brace),
            ("/{}", PathTemplateError::Brace),
            ("/{a}b", PathTemplateError::Brace),
            ("/{**}/a", PathTemplateError::RestBeforeEnd),
        ] {
            assert_eq!(PathTemplate::parse(text).unwrap_err(), error, "{text}");
        }
    }
}
