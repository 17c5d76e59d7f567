//! The string forms of Istio's policies: exact, `prefix*`, `*suffix` and `*`, in three readings.
//!
//! The star stands at one end only; anywhere else it is a character like any other (`*a*` is the suffix `a*`).

/// One value of a policy field, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// `*`: something is there.
    Present,
    /// The value itself.
    Exact(Box<str>),
    /// `x*`.
    Prefix(Box<str>),
    /// `*x`.
    Suffix(Box<str>),
}

impl Pattern {
    /// Reads a value in Istio's order: `*`, then a leading star, then a trailing star.
    pub(crate) fn parse(value: &str) -> Self {
        if value == "*" {
            Self::Present
        } else if let Some(suffix) = value.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = value.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(value.into())
        }
    }

    /// The value, if it is the only one that matches (in the host reading, without regard to case).
    pub(crate) fn as_exact(&self) -> Option<&str> {
        match self {
            Self::Exact(value) => Some(value),
            Self::Present | Self::Prefix(_) | Self::Suffix(_) => None,
        }
    }

    /// The generic reading (principals, paths, SNI): case counts, and `*` needs at least one character.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => !value.is_empty(),
            Self::Exact(exact) => exact.as_bytes() == value,
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Suffix(suffix) => value.ends_with(suffix.as_bytes()),
        }
    }

    /// The header reading (methods, header values): like [`Self::matches`], but `*` also takes an empty value.
    pub(crate) fn matches_header(&self, value: &[u8]) -> bool {
        matches!(self, Self::Present) || self.matches(value)
    }

    /// The host reading: as for a header, without regard to case (CVE-2021-39155).
    pub(crate) fn matches_host(&self, host: &str) -> bool {
        let host = host.as_bytes();
        match self {
            Self::Present => true,
            Self::Exact(exact) => exact.as_bytes().eq_ignore_ascii_case(host),
            Self::Prefix(prefix) => host
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
            Self::Suffix(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .and_then(|start| host.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }

    /// The header reading over text that arrives in pieces, from either end.
    pub(crate) fn matches_pieces<I>(&self, mut pieces: I) -> bool
    where
        I: DoubleEndedIterator<Item = u8>,
    {
        match self {
            Self::Present => true,
            Self::Exact(exact) => pieces.eq(exact.bytes()),
            Self::Prefix(prefix) => prefix.bytes().all(|byte| pieces.next() == Some(byte)),
            Self::Suffix(suffix) => suffix
                .bytes()
                .rev()
                .all(|byte| pieces.next_back() == Some(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pattern, value, then the generic, header and host readings.
    const TABLE: &[(&str, &str, [bool; 3])] = &[
        ("*", "", [false, true, true]),
        ("*", "x", [true, true, true]),
        ("abc", "abc", [true, true, true]),
        ("abc", "ABC", [false, false, true]),
        ("abc", "abcd", [false, false, false]),
        ("ab*", "ab", [true, true, true]),
        ("ab*", "abc", [true, true, true]),
        ("ab*", "Abc", [false, false, true]),
        ("ab*", "a", [false, false, false]),
        ("*bc", "abc", [true, true, true]),
        ("*bc", "bc", [true, true, true]),
        ("*bc", "aBC", [false, false, true]),
        ("*bc", "c", [false, false, false]),
        ("a*c", "abc", [false, false, false]),
        ("a*c", "a*c", [true, true, true]),
        ("*a*", "xa*", [true, true, true]),
        ("*a*", "xay", [false, false, false]),
        ("**", "x*", [true, true, true]),
        ("**", "x", [false, false, false]),
        ("/a/*", "/a/", [true, true, true]),
        ("/a/*", "/a", [false, false, false]),
        ("", "", [true, true, true]),
        ("", "x", [false, false, false]),
        ("*é", "caf\u{e9}", [true, true, true]),
    ];

    #[test]
    fn every_row_of_the_table_holds() {
        for (pattern, value, expected) in TABLE {
            let parsed = Pattern::parse(pattern);
            let actual = [
                parsed.matches(value.as_bytes()),
                parsed.matches_header(value.as_bytes()),
                parsed.matches_host(value),
            ];
            assert_eq!(actual, *expected, "`{pattern}` on `{value}`");
            assert_eq!(
                parsed.matches_pieces(value.bytes()),
                expected[1],
                "`{pattern}` on `{value}`"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

        #[test]
        fn pieces_read_like_the_whole(pattern in "[*a,b]{0,4}", value in "[*a,b]{0,6}") {
            let parsed = Pattern::parse(&pattern);
            prop_assert_eq!(parsed.matches_pieces(value.bytes()), parsed.matches_header(value.as_bytes()));
        }
    }
}
