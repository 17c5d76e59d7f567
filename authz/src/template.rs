//! Path templates: `{*}` is one segment, `{**}` is the rest (Istio `paths`, Envoy's URI template match).

/// A template that matches whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// The segments before `{**}`, or all of them.
    head: Box<[Segment]>,
    /// What stands after `{**}`, which itself takes any text, also none and also `/`.
    rest: Option<Box<str>>,
    /// What stands before the first operator: every path that fits begins with it.
    start: Box<str>,
    /// What stands behind the last operator: every path that fits ends with it.
    end: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// `{*}`: one segment that is not empty.
    Any,
}

/// Which characters `{*}` and `{**}` take.
///
/// Envoy's list of characters is narrow, which is safe for ALLOW only: a DENY must also catch what the list forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// `[a-zA-Z0-9-._~%!$&'()+,;:@=*]`, for ALLOW.
    Listed,
    /// Every character but `/`, for DENY.
    Every,
}

/// Why a value that holds `{*}` or `{**}` is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("a path template begins with `/`")]
    NotAbsolute,
    #[error("`{{*}}` and `{{**}}` stand for whole path segments, but found the segment `{0}`")]
    PartOfSegment(String),
    #[error("`{{**}}` must be the last operator of a path template, but `{0}` follows it")]
    AfterRest(String),
    #[error("a path template may not hold the character `{0}`")]
    Character(char),
}

impl Template {
    /// Whether a policy value is meant as a template.
    pub(crate) fn is_template(value: &str) -> bool {
        value.contains("{*}") || value.contains("{**}")
    }

    /// Reads a template.
    pub(crate) fn parse(value: &str) -> Result<Self, TemplateError> {
        let path = value.strip_prefix('/').ok_or(TemplateError::NotAbsolute)?;
        let mut head = Vec::new();
        // Literals hold no braces.
        let start = value.split('{').next().unwrap_or_default();
        let end = value.rsplit('}').next().unwrap_or_default();
        let mut segments = path.split('/');
        while let Some(segment) = segments.next() {
            match segment {
                "{*}" => head.push(Segment::Any),
                "{**}" => {
                    let mut rest = String::new();
                    for literal in segments {
                        if literal == "{*}" || literal == "{**}" {
                            return Err(TemplateError::AfterRest(literal.to_owned()));
                        }
                        check_literal(literal)?;
                        rest.push('/');
                        rest.push_str(literal);
                    }
                    return Ok(Self {
                        head: head.into(),
                        rest: Some(rest.into()),
                        start: start.into(),
                        end: end.into(),
                    });
                }
                literal => {
                    check_literal(literal)?;
                    head.push(Segment::Literal(literal.into()));
                }
            }
        }
        Ok(Self {
            head: head.into(),
            rest: None,
            start: start.into(),
            end: end.into(),
        })
    }

    /// What every path that fits begins with.
    pub(crate) fn literal_start(&self) -> &str {
        &self.start
    }

    /// What every path that fits ends with; it may overlap the start.
    pub(crate) fn literal_end(&self) -> &str {
        &self.end
    }

    /// Whether the whole canonical path fits.
    pub(crate) fn matches(&self, path: &str, breadth: Breadth) -> bool {
        let Some(mut left) = path.strip_prefix('/') else {
            return false;
        };
        let last = self.head.len().saturating_sub(1);
        for (index, expected) in self.head.iter().enumerate() {
            let (segment, after) = match left.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (left, None),
            };
            let fits = match expected {
                Segment::Literal(literal) => **literal == *segment,
                Segment::Any => !segment.is_empty() && takes(segment, breadth),
            };
            if !fits {
                return false;
            }
            match (after, index == last && self.rest.is_none()) {
                // The head is all there is: it must end where the path ends.
                (after, true) => return after.is_none(),
                (Some(after), false) => left = after,
                (None, false) => return false,
            }
        }
        let Some(rest) = &self.rest else { return false };
        left.strip_suffix(&**rest)
            .is_some_and(|text| text.split('/').all(|segment| takes(segment, breadth)))
    }
}

fn takes(segment: &str, breadth: Breadth) -> bool {
    match breadth {
        Breadth::Every => true,
        Breadth::Listed => segment
            .chars()
            .all(|character| is_listed(character) || character == '*'),
    }
}

const fn is_listed(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(
            character,
            '-' | '.'
                | '_'
                | '~'
                | '%'
                | '!'
                | '$'
                | '&'
                | '\''
                | '('
                | ')'
                | '+'
                | ','
                | ';'
                | ':'
                | '@'
                | '='
        )
}

fn check_literal(literal: &str) -> Result<(), TemplateError> {
    if literal.contains("{*}") || literal.contains("{**}") {
        return Err(TemplateError::PartOfSegment(literal.to_owned()));
    }
    match literal.chars().find(|character| !is_listed(*character)) {
        Some(character) => Err(TemplateError::Character(character)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_whole_paths() {
        for (template, path, expected) in [
            ("/a/{*}", "/a/b", true),
            ("/a/{*}", "/a/", false),
            ("/a/{*}", "/a", false),
            ("/a/{*}", "/a/b/", false),
            ("/a/{*}", "/a/b/c", false),
            ("/a/{*}/c", "/a/b/c", true),
            ("/a/{*}/c", "/a//c", false),
            ("/a/{*}/c", "/a/b/d", false),
            ("/{*}", "/a", true),
            ("/{*}", "/", false),
            ("/{*}/", "/a/", true),
            ("/{*}/", "/a", false),
            ("/{**}", "/", true),
            ("/{**}", "/a/b/c", true),
            ("/a/{**}", "/a/", true),
            ("/a/{**}", "/a", false),
            ("/a/{**}", "/a/b/c/", true),
            ("/a/{**}", "/ab", false),
            ("/a/{**}/z", "/a/b/c/z", true),
            ("/a/{**}/z", "/a//z", true),
            ("/a/{**}/z", "/a/z", false),
            ("/a/{**}/z", "/a/b/y", false),
            ("/a/{*}/{**}", "/a/b/", true),
            ("/a/{*}/{**}", "/a/b", false),
            ("/a/{*}/b/{**}/y.txt", "/a/x/b/q/r/y.txt", true),
            ("/A/{*}", "/a/b", false),
        ] {
            let parsed = Template::parse(template).unwrap();
            assert_eq!(
                parsed.matches(path, Breadth::Listed),
                expected,
                "{template} {path}"
            );
            assert_eq!(
                parsed.matches(path, Breadth::Every),
                expected,
                "{template} {path}"
            );
        }
    }

    #[test]
    fn a_deny_takes_characters_that_an_allow_does_not() {
        let template = Template::parse("/a/{*}").unwrap();
        for path in ["/a/é", "/a/b|c", "/a/[x]"] {
            assert!(!template.matches(path, Breadth::Listed), "{path}");
            assert!(template.matches(path, Breadth::Every), "{path}");
        }
        for path in ["/a/*", "/a/x=y"] {
            assert!(template.matches(path, Breadth::Listed), "{path}");
        }
    }

    #[test]
    fn what_is_not_a_template_is_refused() {
        for (template, expected) in [
            ("a/{*}", TemplateError::NotAbsolute),
            ("/a{*}", TemplateError::PartOfSegment("a{*}".to_owned())),
            ("/{**}x", TemplateError::PartOfSegment("{**}x".to_owned())),
            ("/{**}/{*}", TemplateError::AfterRest("{*}".to_owned())),
            ("/{**}/{**}", TemplateError::AfterRest("{**}".to_owned())),
            ("/a?/{*}", TemplateError::Character('?')),
            ("/a*/{*}", TemplateError::Character('*')),
            ("/{x}/{*}", TemplateError::Character('{')),
        ] {
            assert_eq!(Template::parse(template), Err(expected), "{template}");
        }
    }
}
