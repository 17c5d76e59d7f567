//! Identity matchers: `principals`, `namespaces`, `serviceAccounts`, and the trust-domain rules around them.

use identity::id::SpiffeId;

use crate::matcher::Pattern;

/// The trust domain that policies may always write for "ours", whatever it is really called (Istio).
const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// One way to recognise a peer. Without a peer every one of them is false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdentityPattern {
    /// The URI without `spiffe://`; `*` is any identity. A value written with the scheme never matches (Istio).
    Principal(Pattern),
    /// The pieces of `/ns/<value>/` around the stars of the value, found in this order.
    Namespace(Box<[Box<str>]>),
    /// `/ns/<namespace>/`, then `sa/<service account>` as whole segments.
    ServiceAccount {
        namespace: Box<str>,
        account: Box<str>,
    },
    /// The text before and after the one star of a trust domain; without a star, the name itself.
    TrustDomain(Box<str>, Option<Box<str>>),
}

impl IdentityPattern {
    /// A namespace; each `*` in it takes any text (Istio's `.*/ns/<v>/.*`).
    pub(crate) fn namespace(value: &str) -> Self {
        let marked = format!("/ns/{value}/");
        Self::Namespace(marked.split('*').map(Into::into).collect())
    }

    /// A service account, `namespace/name`, or `name` of the policy's own namespace; no wildcards.
    pub(crate) fn service_account(value: &str, policy_namespace: &str) -> Self {
        let (namespace, account) = value.split_once('/').unwrap_or((policy_namespace, value));
        Self::ServiceAccount {
            namespace: format!("/ns/{namespace}/").into(),
            account: format!("sa/{account}").into(),
        }
    }

    /// A trust domain with at most one star.
    pub(crate) fn trust_domain(value: &str) -> Self {
        match value.split_once('*') {
            Some((start, end)) => Self::TrustDomain(start.into(), Some(end.into())),
            None => Self::TrustDomain(value.into(), None),
        }
    }

    pub(crate) fn matches(&self, peer: &SpiffeId) -> bool {
        match self {
            Self::Principal(pattern) => pattern.matches(peer.principal().as_bytes()),
            Self::Namespace(pieces) => holds_in_order(peer.as_str(), pieces),
            Self::ServiceAccount { namespace, account } => {
                is_service_account(peer.principal(), namespace, account)
            }
            Self::TrustDomain(name, None) => peer.trust_domain() == &**name,
            Self::TrustDomain(start, Some(end)) => peer
                .trust_domain()
                .strip_prefix(&**start)
                .is_some_and(|rest| rest.ends_with(&**end)),
        }
    }
}

/// Greedy from the left, which is exact when any text may stand before, between and after the pieces.
fn holds_in_order(mut text: &str, pieces: &[Box<str>]) -> bool {
    pieces.iter().all(|piece| match text.split_once(&**piece) {
        Some((_, after)) => {
            text = after;
            true
        }
        None => false,
    })
}

/// Istio's `spiffe://.+/ns/<ns>/(.+/|)sa/<sa>(/.+)?` over the whole URI, on the part behind the scheme.
fn is_service_account(principal: &str, namespace: &str, account: &str) -> bool {
    let Some((domain, rest)) = principal.split_once(namespace) else {
        return false;
    };
    // The first occurrence leaves the longest rest, so it decides for all of them.
    !domain.is_empty()
        && rest.match_indices(account).any(|(at, _)| {
            let before = rest.get(..at).unwrap_or_default();
            let after = rest.get(at + account.len()..).unwrap_or_default();
            (before.is_empty() || (before.ends_with('/') && before.len() > 1))
                && (after.is_empty() || (after.starts_with('/') && after.len() > 1))
        })
}

/// The mesh's own trust domain and its aliases: names of one domain.
#[derive(Debug, Clone)]
pub(crate) struct TrustDomains(Vec<String>);

impl TrustDomains {
    pub(crate) fn new(trust_domain: &str, aliases: &[String]) -> Self {
        let mut names = vec![trust_domain.to_owned()];
        for alias in aliases {
            if !names.contains(alias) {
                names.push(alias.clone());
            }
        }
        Self(names)
    }

    /// Writes a principal out for the trust domain and each alias, where Istio does.
    ///
    /// Only values of five parts (`<td>/ns/<ns>/sa/<sa>`) whose first part names our domain, also by a wildcard
    /// at one end, or is literally `cluster.local`, are rewritten. The others stay as they are.
    pub(crate) fn expand(&self, principal: &str) -> Vec<String> {
        let kept = || vec![principal.to_owned()];
        let Some((domain, path)) = principal.split_once('/') else {
            return kept();
        };
        if path.split('/').count() != 4 || domain == "*" {
            return kept();
        }
        let ours = domain == DEFAULT_TRUST_DOMAIN
            || self
                .0
                .iter()
                .any(|name| overlaps(domain, name) || overlaps(name, domain));
        if !ours {
            return kept();
        }
        let mut expanded = Vec::with_capacity(self.0.len());
        for name in &self.0 {
            // `*-td` already covers `old-td`: it stays a wildcard there.
            let value = if domain
                .strip_prefix('*')
                .is_some_and(|suffix| name.ends_with(suffix))
            {
                principal.to_owned()
            } else {
                format!("{name}/{path}")
            };
            if !expanded.contains(&value) {
                expanded.push(value);
            }
        }
        expanded
    }

    /// The trust domain and its aliases for the name of any of them; any other value as it is.
    pub(crate) fn expand_name(&self, value: &str) -> Vec<String> {
        if self.0.iter().any(|name| name == value) {
            self.0.clone()
        } else {
            vec![value.to_owned()]
        }
    }
}

/// Whether `name` is `pattern`, or fits it with a star at one end.
fn overlaps(name: &str, pattern: &str) -> bool {
    name == pattern
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| name.starts_with(prefix))
        || pattern
            .strip_prefix('*')
            .is_some_and(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(principal: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://{principal}")).unwrap()
    }

    fn principal_matches(value: &str, principal: &str) -> bool {
        IdentityPattern::Principal(Pattern::parse(value)).matches(&id(principal))
    }

    #[test]
    fn principals_are_written_without_the_scheme() {
        for (value, principal, expected) in [
            ("td/ns/a/sa/b", "td/ns/a/sa/b", true),
            ("td/ns/a/sa/b", "td/ns/a/sa/bc", false),
            ("spiffe://td/ns/a/sa/b", "td/ns/a/sa/b", false),
            ("spiffe://*", "td/ns/a/sa/b", false),
            ("td/ns/a/*", "td/ns/a/sa/b", true),
            ("td/ns/a/*", "td/ns/ab/sa/b", false),
            ("*/sa/b", "td/ns/a/sa/b", true),
            ("*/sa/b", "td/ns/a/sa/c", false),
            ("*", "td/ns/a/sa/b", true),
            ("TD/ns/a/sa/b", "td/ns/a/sa/b", false),
        ] {
            assert_eq!(
                principal_matches(value, principal),
                expected,
                "{value} {principal}"
            );
        }
    }

    #[test]
    fn namespaces_follow_istios_expression() {
        for (value, principal, expected) in [
            ("a", "td/ns/a/sa/b", true),
            ("a", "td/ns/ab/sa/b", false),
            ("a*", "td/ns/ab/sa/b", true),
            ("*b", "td/ns/ab/sa/x", true),
            ("a*c", "td/ns/abc/sa/x", true),
            ("*", "td/ns/a/sa/b", true),
            ("*", "td/other", false),
            ("b", "td/ns/a/sa/b", false),
            ("a", "td/x/ns/a/sa/b", true),
            ("a", "td/ns/a", false),
            ("A", "td/ns/a/sa/b", false),
        ] {
            let pattern = IdentityPattern::namespace(value);
            assert_eq!(
                pattern.matches(&id(principal)),
                expected,
                "{value} {principal}"
            );
        }
    }

    #[test]
    fn service_accounts_follow_istios_expression() {
        for (value, principal, expected) in [
            ("a/b", "td/ns/a/sa/b", true),
            ("b", "td/ns/own/sa/b", true),
            ("b", "td/ns/a/sa/b", false),
            ("a/b", "td/ns/a/sa/bc", false),
            ("a/b", "td/ns/a/sa/xb", false),
            ("a/b", "td/ns/ab/sa/b", false),
            ("a/b", "td/ns/a/x/sa/b", true),
            ("a/b", "td/ns/a/sa/b/x", true),
            ("a/b", "td/ns/a/xsa/b", false),
            ("a/*", "td/ns/a/sa/b", false),
            ("a/b", "td/x/ns/a/sa/b", true),
            ("a/b", "td/ns/a/ns/a/sa/b", true),
        ] {
            let pattern = IdentityPattern::service_account(value, "own");
            assert_eq!(
                pattern.matches(&id(principal)),
                expected,
                "{value} {principal}"
            );
        }
    }

    #[test]
    fn trust_domain_aliases_expand_as_in_istio() {
        let one = TrustDomains::new("td1", &[]);
        let many = TrustDomains::new(
            "td1",
            &["td2".to_owned(), "old-td".to_owned(), "td1".to_owned()],
        );
        let local = TrustDomains::new("cluster.local", &[]);
        for (domains, value, expected) in [
            (
                &local,
                "cluster.local/ns/a/sa/b",
                vec!["cluster.local/ns/a/sa/b"],
            ),
            (&one, "cluster.local/ns/a/sa/b", vec!["td1/ns/a/sa/b"]),
            (&one, "td1/ns/a/sa/b", vec!["td1/ns/a/sa/b"]),
            (&one, "other/ns/a/sa/b", vec!["other/ns/a/sa/b"]),
            (&one, "td1/ns/a/*", vec!["td1/ns/a/*"]),
            (&one, "cluster.local/ns/a/*", vec!["cluster.local/ns/a/*"]),
            (&one, "*/ns/a/sa/b", vec!["*/ns/a/sa/b"]),
            (&one, "*", vec!["*"]),
            (
                &many,
                "td2/ns/a/sa/b",
                vec!["td1/ns/a/sa/b", "td2/ns/a/sa/b", "old-td/ns/a/sa/b"],
            ),
            (
                &many,
                "cluster.local/ns/a/sa/*",
                vec!["td1/ns/a/sa/*", "td2/ns/a/sa/*", "old-td/ns/a/sa/*"],
            ),
            (
                &many,
                "*-td/ns/a/sa/b",
                vec!["td1/ns/a/sa/b", "td2/ns/a/sa/b", "*-td/ns/a/sa/b"],
            ),
            (
                &many,
                "td*/ns/a/sa/b",
                vec!["td1/ns/a/sa/b", "td2/ns/a/sa/b", "old-td/ns/a/sa/b"],
            ),
        ] {
            assert_eq!(domains.expand(value), expected, "{value}");
        }
    }
}
