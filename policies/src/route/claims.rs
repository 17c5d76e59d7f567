//! Matches on what a verified token says about its bearer (`@request.auth.claims…`); gateways only, as in Istio.

use std::fmt;

use super::Text;

/// What names of headers in matches begin with when they mean a claim.
const PREFIX: &str = "@request.auth.claims";

/// The claims of a verified token, as routes look at them.
pub trait TokenClaims: fmt::Debug + Send + Sync {
    /// Whether the claim at `path` is a text that passes `test`, or a list with a text that does.
    fn any(&self, path: &[Box<str>], test: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// Which claim a match is about. Prints as it is written with brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimPath(Box<[Box<str>]>);

impl ClaimPath {
    /// Whether the name of a match means a claim, well written or not (Istio ignores its case).
    pub(crate) fn is_meant(name: &str) -> bool {
        name.get(.."@request.auth.".len())
            .is_some_and(|start| start.eq_ignore_ascii_case("@request.auth."))
    }

    /// `@request.auth.claims.a.b`, or `@request.auth.claims[a][b]` where names have dots; none for anything else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (start, rest) = name.split_at_checked(PREFIX.len())?;
        if !start.eq_ignore_ascii_case(PREFIX) {
            return None;
        }
        let names: Vec<&str> = match rest.strip_prefix('.') {
            Some(dotted) => dotted.split('.').collect(),
            None => rest
                .strip_prefix('[')?
                .strip_suffix(']')?
                .split("][")
                .collect(),
        };
        let good = |name: &&str| !name.is_empty() && !name.contains(['[', ']']);
        let all_good = names.iter().all(good);
        all_good.then(|| Self(names.into_iter().map(Box::from).collect()))
    }

    /// A claim by its bare name: `a.b`, or `[a][b]` where names have dots.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let dot = if name.starts_with('[') { "" } else { "." };
        Self::parse(&format!("{PREFIX}{dot}{name}"))
    }

    /// Shows `with` the claim, if it is there: of a list its first text.
    pub(crate) fn first(&self, claims: Option<&dyn TokenClaims>, mut with: impl FnMut(&str)) {
        let mut show = |text: &str| {
            with(text);
            true
        };
        if let Some(claims) = claims {
            claims.any(&self.0, &mut show);
        }
    }

    /// Whether the claim is there and fits.
    pub(crate) fn holds(&self, claims: Option<&dyn TokenClaims>, wanted: &Text) -> bool {
        let mut fits = |text: &str| wanted.matches(text.as_bytes());
        claims.is_some_and(|claims| claims.any(&self.0, &mut fits))
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|name| write!(f, "[{name}]"))
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimPath;

    #[test]
    fn names_of_claims() {
        for (name, written) in [
            (
                "@request.auth.claims.sub",
                Some("@request.auth.claims[sub]"),
            ),
            (
                "@request.auth.claims.a.b",
                Some("@request.auth.claims[a][b]"),
            ),
            (
                "@request.auth.claims[a][B]",
                Some("@request.auth.claims[a][B]"),
            ),
            (
                "@Request.Auth.Claims[https://x.y/z]",
                Some("@request.auth.claims[https://x.y/z]"),
            ),
            ("@request.auth.claims", None),
            ("@request.auth.claims.", None),
            ("@request.auth.claims.a..b", None),
            ("@request.auth.claims[]", None),
            ("@request.auth.claims[a", None),
            ("@request.auth.claims[a]b]", None),
            ("@request.auth.claims-a", None),
            ("x-claims.a", None),
        ] {
            let parsed = ClaimPath::parse(name).map(|path| path.to_string());
            assert_eq!(parsed.as_deref(), written, "{name}");
        }
    }
}
