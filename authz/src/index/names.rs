//! What a rule cannot match without, beside its paths.

use http::HeaderName;

use super::{Form, counts::Counts};
use crate::{
    field::{Check, HttpSubject, Subject, Wants},
    matcher::Pattern,
    principal::IdentityPattern,
    request_principal::RequestPrincipal,
    rule::{AllOf, Rule},
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

/// The rarest of the lists of names that the rule offers, if it offers any that is looked up.
pub(super) fn rarest<'r>(rule: &'r Rule, form: Form, counts: &Counts<'r>) -> Option<OneOf<'r>> {
    let of_conditions = rule
        .conditions
        .iter()
        .flat_map(|check| of_check(check, form));
    let of_groups = [&rule.sources, &rule.operations]
        .into_iter()
        .filter_map(|groups| of_groups(groups, form, counts));
    fewest(of_groups.chain(of_conditions), counts)
}

/// One list for alternatives: each of them must offer names.
fn of_groups<'r>(groups: &'r [AllOf], form: Form, counts: &Counts<'r>) -> Option<OneOf<'r>> {
    let mut all = Vec::new();
    for group in groups {
        let offered = group.iter().flat_map(|check| of_check(check, form));
        all.extend(fewest(offered, counts)?);
    }
    (!all.is_empty()).then_some(all)
}

fn fewest<'r>(offered: impl Iterator<Item = OneOf<'r>>, counts: &Counts<'r>) -> Option<OneOf<'r>> {
    offered
        .filter_map(|names| Some((counts.of_names(&names)?, names)))
        .min_by_key(|(count, _)| *count)
        .map(|(_, names)| names)
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
    match subject {
        HttpSubject::Host(patterns) | HttpSubject::Authority(patterns) => {
            vec![each(patterns, |host| {
                let lower = || Name::Host(host.to_ascii_lowercase().into_bytes());
                (host.len() <= MAX_HOST_BYTES).then(lower)
            })]
        }
        // A value with a comma may also be several values, joined.
        HttpSubject::Header(name, patterns) => {
            vec![each(patterns, |value| {
                (!value.contains(',')).then_some(Name::Header(name, value))
            })]
        }
        HttpSubject::Claim(path, patterns) => {
            vec![each(patterns, |value| Some(Name::Claim(path, value)))]
        }
        HttpSubject::RequestPrincipal(principals) => {
            let issuers = principals.iter().map(RequestPrincipal::issuer);
            let subjects = principals.iter().map(RequestPrincipal::subject);
            vec![
                each(issuers, |issuer| Some(Name::Issuer(issuer))),
                each(subjects, |subject| Some(Name::Subject(subject))),
            ]
        }
        HttpSubject::Method(_) | HttpSubject::Path(_) => Vec::new(),
    }
}

/// A name for each value, if all of them are exact and have one.
fn each<'r>(
    patterns: impl IntoIterator<Item = &'r Pattern>,
    name: impl Fn(&'r str) -> Option<Name<'r>>,
) -> Option<OneOf<'r>> {
    let patterns = patterns.into_iter();
    patterns.map(|pattern| name(pattern.as_exact()?)).collect()
}
