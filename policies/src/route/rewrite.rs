//! Path and authority changes before forwarding.

use http::HeaderValue;

/// Istio's `rewrite`, tied to the match that it belongs to.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// The change of the path.
    pub path: Option<PathRewrite>,
    /// The Host to forward.
    pub authority: Option<HeaderValue>,
}

/// A change of the path; the query is kept by the caller.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// The first `matched` bytes are replaced: a plain string prefix, so `/a` to `/` turns `/a/b` into `//b` as in Istio.
    Prefix {
        /// Length of the matched prefix in bytes.
        matched: usize,
        /// What stands there instead.
        with: Box<str>,
    },
    /// The whole path is replaced.
    Full(Box<str>),
    /// Every match is replaced; `$1` style, made from Istio's `\1`.
    Regex {
        /// What is replaced.
        pattern: regex::Regex,
        /// By what.
        with: Box<str>,
    },
}

impl PathRewrite {
    /// The new path.
    pub fn apply(&self, path: &str) -> String {
        match self {
            Self::Prefix { matched, with } => {
                format!("{with}{}", path.get(*matched..).unwrap_or_default())
            }
            Self::Full(with) => with.to_string(),
            Self::Regex { pattern, with } => pattern.replace_all(path, &**with).into_owned(),
        }
    }
}
