//! Host names and wildcards of `Gateway` servers.

/// `*`, `*.suffix` or an exact name; lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostPattern {
    /// Any name, also none.
    Any,
    /// A name that ends in this suffix, which begins with a dot.
    Suffix(Box<str>),
    /// This name alone.
    Exact(Box<str>),
}

impl HostPattern {
    /// Reads a `hosts` entry; a namespace in front of the name (`ns/host`) plays no part here.
    pub(crate) fn parse(host: &str) -> Self {
        let name = host.rsplit('/').next().unwrap_or(host).to_ascii_lowercase();
        match name.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(suffix.into()),
            None => Self::Exact(name.into_boxed_str()),
        }
    }

    /// How well `name` fits: exact before long suffix before short suffix before any; `None` when
    /// it does not.
    pub(crate) fn rank(&self, name: Option<&str>) -> Option<usize> {
        match (self, name) {
            (Self::Any, _) => Some(0),
            (Self::Suffix(suffix), Some(name)) => {
                (name.len() > suffix.len() && name.ends_with(&**suffix)).then_some(suffix.len())
            }
            (Self::Exact(exact), Some(name)) => (**exact == *name).then_some(usize::MAX),
            (_, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[test]
    fn the_most_specific_pattern_ranks_highest() {
        let rank = |pattern: &str, name| HostPattern::parse(pattern).rank(name);
        let name = Some("a.b.example.com");
        assert!(rank("a.b.example.com", name) > rank("*.b.example.com", name));
        assert!(rank("*.b.example.com", name) > rank("*.example.com", name));
        assert!(rank("*.example.com", name) > rank("*", name));
        assert_eq!(rank("*.example.com", Some("example.com")), None);
        assert_eq!(
            rank("ns/Shop.example.com", Some("shop.example.com")),
            Some(usize::MAX)
        );
    }

    #[test]
    fn without_a_name_only_the_star_fits() {
        assert_eq!(HostPattern::parse("*").rank(None), Some(0));
        assert_eq!(HostPattern::parse("*.example.com").rank(None), None);
        assert_eq!(HostPattern::parse("example.com").rank(None), None);
    }
}
