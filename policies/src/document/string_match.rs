//! Istio's `StringMatch`.

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    /// The same text.
    Exact(String),
    /// A plain string prefix, not by path segment.
    Prefix(String),
    /// RE2 syntax over the whole text; compiled once at load, so known to be good.
    Regex(String),
    /// `{}`: there at all (headers and query parameters).
    Present,
}
