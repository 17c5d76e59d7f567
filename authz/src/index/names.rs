//! What a rule cannot match without, beside its paths.

use http::HeaderName;

use super::Form;
use crate::{
    field::{Check, HttpSubject, Subject, Wants},
    matcher::Pattern,
    principal::IdentityPattern,
    rule::Rule,
};

/// Hosts that are longer are not looked up: no name of the DNS is.
pub(super) const MAX_HOST_BYTES: usize = 255;

/// Something that a request has or has not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name<'r> {
    /// The whole identity of the peer, without scheme.
    Principal(&'r str),
    /// `<namespace>/sa/<service account>` of the peer.
    Account(String),
    /// The namespace of the peer.
    Namespace(&'r str),
    /// The issuer of the token.
    Issuer(&'r str),
    /// The subject of the token.
    Subject(&'r str),
    /// The authority, in lower case.
    Host(Vec<u8>),
    /// One value of a header.
    Header(&'r HeaderName, &'r str),
    /// One text of a claim.
    Claim(&'r [Box<str>], &'r str),
}

/// Alternatives: names of which a request has at least one where the rule matches.
pub(super) type OneOf<'r> = Vec<Name<'r>>;

/// Every such list of names that the rule offers. `rarity` decides where an alternative within one list has a choice: the sum
/// of how many rules have each name.
pub(super) fn offers<'r>(
    rule: &'r Rule,
    form: Form,
    rarity: &impl Fn(&Name<'r>) -> u64,
) -> Vec<OneOf<'r>> {
    let groups = [&rule.sources, &rule.operations];
    let of_groups = groups.into_iter().filter_map(|groups| {
        let mut all = Vec::new();
        for group in groups {
            let offered = group.iter().flat_map(|check| of_check(check, form));
            all.extend(offered.min_by_key(|names| weight(names, rarity))?);
        }
        (!all.is_empty()).then_some(all)
    });
    let of_conditions = rule
        .conditions
        .iter()
        .flat_map(|check| of_check(check, form));
    of_groups.chain(of_conditions).collect()
}

/// How many rules have these names.
pub(super) fn weight<'r>(names: &OneOf<'r>, rarity: &impl Fn(&Name<'r>) -> u64) -> u64 {
    names.iter().map(rarity).fold(0, u64::saturating_add)
}

/// The lists of names that one field offers.
pub(super) fn of_check(check: &Check, form: Form) -> Vec<OneOf<'_>> {
    if check.wants == Wants::NoMatch {
        return Vec::new();
    }
    let offered = match &check.subject {
        Subject::Identity(patterns) => vec![patterns.iter().map(of_identity).collect()],
        Subject::Http(subject) if form == Form::Http => of_http(subject),
        Subject::Http(_)
        | Subject::SourceIp(_)
        | Subject::RemoteIp(_)
        | Subject::DestinationIp(_)
        | Subject::DestinationPort(_)
        | Subject::Sni(_) => Vec::new(),
    };
    offered.into_iter().flatten().collect()
}

fn of_identity(pattern: &IdentityPattern) -> Option<Name<'_>> {
    match pattern {
        IdentityPattern::Principal(Pattern::Exact(principal)) => Some(Name::Principal(principal)),
        IdentityPattern::Namespace(pieces) => match &**pieces {
            [only] => {
                let name = only.strip_prefix("/ns/")?.strip_suffix('/')?;
                (!name.contains('/')).then_some(Name::Namespace(name))
            }
            _ => None,
        },
        IdentityPattern::ServiceAccount { namespace, account } => {
            let namespace = namespace.strip_prefix("/ns/")?;
            Some(Name::Account(format!("{namespace}{account}")))
        }
        IdentityPattern::Principal(_) | IdentityPattern::TrustDomain(..) => None,
    }
}

fn of_http(subject: &HttpSubject) -> Vec<Option<OneOf<'_>>> {
    let all = |patterns, name: &dyn Fn(&'_ str) -> Option<()>| exact(patterns, name);
    match subject {
        HttpSubject::Host(patterns) | HttpSubject::Authority(patterns) => {
            let short = |host: &str| (host.len() <= MAX_HOST_BYTES).then_some(());
            let hosts = all(patterns, &short);
            let lower = |host: &str| Name::Host(host.to_ascii_lowercase().into_bytes());
            vec![hosts.map(|hosts| hosts.into_iter().map(lower).collect())]
        }
        // A value with a comma may also be several values, joined.
        HttpSubject::Header(name, patterns) => {
            let alone = |value: &str| (!value.contains(',')).then_some(());
            let values = all(patterns, &alone);
            vec![values.map(|values| {
                let values = values.into_iter();
                values.map(|value| Name::Header(name, value)).collect()
            })]
        }
        HttpSubject::Claim(path, patterns) => {
            let values = all(patterns, &|_| Some(()));
            vec![values.map(|values| {
                let values = values.into_iter();
                values.map(|value| Name::Claim(path, value)).collect()
            })]
        }
        HttpSubject::RequestPrincipal(principals) => {
            let issuers = principals.iter().map(|principal| principal.issuer());
            let subjects = principals.iter().map(|principal| principal.subject());
            vec![
                issuers
                    .map(|pattern| Some(Name::Issuer(pattern.as_exact()?)))
                    .collect(),
                subjects
                    .map(|pattern| Some(Name::Subject(pattern.as_exact()?)))
                    .collect(),
            ]
        }
        HttpSubject::Method(_) | HttpSubject::Path(_) => Vec::new(),
    }
}

/// The values, if all of them are exact and good.
fn exact<'r>(patterns: &'r [Pattern], good: &dyn Fn(&str) -> Option<()>) -> Option<Vec<&'r str>> {
    let values = patterns.iter().map(|pattern| {
        let value = pattern.as_exact()?;
        good(value).map(|()| value)
    });
    values.collect()
}
