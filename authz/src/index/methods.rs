//! Which methods a rule may match, as bits.

use crate::{
    facts::Facts,
    field::{HttpSubject, Subject, Wants},
    rule::{AllOf, Rule},
};

/// The methods of RFC 9110 and PATCH; each has a bit.
const KNOWN: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Methods(u16);

impl Methods {
    const NONE: Self = Self(0);
    const ALL: Self = Self(u16::MAX);
    /// Every method that is not known.
    const OTHER: Self = Self(1 << KNOWN.len());

    /// The method of a request; what is not HTTP meets every rule.
    pub(super) fn of_facts(facts: &Facts<'_>) -> Self {
        let Some(http) = &facts.http else {
            return Self::ALL;
        };
        let known = bits().find(|(_, name)| *name == http.method);
        known.map_or(Self::OTHER, |(bit, _)| bit)
    }

    /// Every method with which the rule may match.
    pub(super) fn of_rule(rule: &Rule) -> Self {
        if rule.operations.is_empty() {
            return Self::ALL;
        }
        let operations = rule.operations.iter();
        operations
            .map(Self::of_operation)
            .fold(Self::NONE, |all, methods| Self(all.0 | methods.0))
    }

    fn of_operation(operation: &AllOf) -> Self {
        let allowed = bits().filter(|(_, name)| {
            operation.iter().all(|check| {
                let Subject::Http(HttpSubject::Method(patterns)) = &check.subject else {
                    return true;
                };
                let named = patterns
                    .iter()
                    .any(|pattern| pattern.matches_header(name.as_bytes()));
                named == (check.wants == Wants::Match)
            })
        });
        allowed.fold(Self::OTHER, |all, (bit, _)| Self(all.0 | bit.0))
    }

    pub(super) const fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

fn bits() -> impl Iterator<Item = (Methods, &'static str)> {
    (0_u32..)
        .zip(KNOWN)
        .map(|(bit, name)| (Methods(1 << bit), name))
}
