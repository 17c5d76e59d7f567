//! Istio's `LocalityLoadBalancerSetting`, and its `ZoneAwareLoadBalancerSetting`, which is not in force.

use std::collections::BTreeMap;

use crate::decode::{Cursor, Decode, Fields, NonEmpty};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::Spanned;

/// Istio's `LocalityLoadBalancerSetting`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalityLoadBalancing {
    /// `enabled`; the mesh's setting if not given.
    pub enabled: Option<bool>,
    /// `distribute`: shares by the caller's locality.
    pub distribute: Vec<Distribute>,
    /// `failover`: the region to go to when the own one fails.
    pub failover: Vec<Failover>,
    /// `failoverPriority`: labels, `key` or `key=value`, most important first.
    pub failover_priority: Vec<Spanned<String>>,
}

/// Istio's `ZoneAwareLoadBalancerSetting`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ZoneAwareLoadBalancing {
    /// `enabled`; the mesh's setting if not given.
    pub enabled: Option<bool>,
    /// `minClusterSize`: endpoints in the own region that it needs, at least 1.
    pub min_cluster_size: Option<u32>,
    /// `failover`.
    pub failover: Vec<Failover>,
    /// `failoverPriority`.
    pub failover_priority: Vec<Spanned<String>>,
}

/// How the requests of one locality are shared out.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribute {
    /// `from`: `region/zone/subzone`, or a part of it with `*` at the end.
    pub from: Spanned<String>,
    /// `to`: percentages by locality, 100 in all.
    pub to: BTreeMap<String, u32>,
}

/// Where a region's requests go when it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    /// `from`: a region.
    pub from: Spanned<String>,
    /// `to`: another region.
    pub to: Spanned<String>,
}

/// Labels that say where an endpoint is, as `failover` does.
const TOPOLOGY: &[&str] = &[
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
];

impl Decode for LocalityLoadBalancing {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let enabled = f.optional("enabled");
            let distribute: Vec<Distribute> = f.list("distribute");
            let failover: Vec<Failover> = f.list("failover");
            let failover_priority = priorities(f);
            f.exclusive(&["distribute", "failover"]);
            if let Some(label) = failover_priority
                .iter()
                .find(|label| TOPOLOGY.contains(&label.as_str()) && !failover.is_empty())
            {
                let message = format!("`failover` already says what `{label}` would");
                let at = label.at.clone();
                let code = codes::EXCLUSIVE_FIELDS;
                f.report(Diagnostic::error(code, at, &label.path, message));
            }
            let sources: Vec<&Spanned<String>> =
                distribute.iter().map(|share| &share.from).collect();
            for (position, source) in sources.iter().enumerate() {
                let mut earlier = sources.iter().take(position);
                if let Some(earlier) = earlier.find(|earlier| covers(earlier, source)) {
                    let message = format!("`{source}` is part of `{earlier}` already");
                    let at = source.at.clone();
                    let code = codes::DUPLICATE_ENTRY;
                    f.report(Diagnostic::error(code, at, &source.path, message));
                }
            }
            Some(Self {
                enabled,
                distribute,
                failover,
                failover_priority,
            })
        })
    }
}

impl Decode for ZoneAwareLoadBalancing {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let enabled = f.optional("enabled");
            let min_cluster_size = f.optional("minClusterSize");
            if min_cluster_size == Some(0) {
                let message = "`0` is not a number of endpoints of at least 1";
                f.error_at("minClusterSize", codes::INVALID_VALUE, message, None);
            }
            Some(Self {
                enabled,
                min_cluster_size,
                failover: f.list("failover"),
                failover_priority: priorities(f),
            })
        })
    }
}

fn priorities(f: &mut Fields<'_>) -> Vec<Spanned<String>> {
    f.list::<Spanned<NonEmpty>>("failoverPriority")
        .into_iter()
        .map(|label| label.map(|NonEmpty(text)| text))
        .collect()
}

impl Decode for Distribute {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let from = f.required::<Spanned<LocalityPattern>>("from");
            let to = shares(f);
            Some(Self {
                from: from?.map(|LocalityPattern(text)| text),
                to,
            })
        })
    }
}

fn shares(f: &mut Fields<'_>) -> BTreeMap<String, u32> {
    let Some(cursor) = f.get("to") else {
        let message = "`to` is missing: the requests would go nowhere";
        f.error_at("to", codes::MISSING_FIELD, message, None);
        return BTreeMap::new();
    };
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for (locality, cursor) in cursor.entries().unwrap_or_default() {
        let error = |code, message: String| {
            let at = cursor.key_at();
            f.report(Diagnostic::error(code, at, &cursor.path, message));
        };
        if let Some(problem) = problem(locality) {
            error(
                codes::INVALID_VALUE,
                format!("`{locality}` is not a locality: {problem}"),
            );
        } else if let Some(other) = shares
            .keys()
            .find(|other| covers(other, locality) || covers(locality, other))
        {
            error(
                codes::DUPLICATE_ENTRY,
                format!("`{locality}` overlaps with `{other}`"),
            );
        }
        match u32::decode(&cursor) {
            Some(share @ 1..=100) => {
                shares.insert(locality.to_owned(), share);
            }
            Some(_) => {
                cursor.invalid::<u32>("a percentage between 1 and 100");
            }
            None => {}
        }
    }
    let total: u32 = shares.values().sum();
    if total != 100
        && cursor
            .entries()
            .is_some_and(|entries| entries.len() == shares.len())
    {
        let message = format!("the shares add up to {total}, not to 100");
        f.error_at("to", codes::INVALID_WEIGHTS, message, None);
    }
    shares
}

/// `region/zone/subzone`, shorter, or with `*` at the end.
struct LocalityPattern(String);

impl Decode for LocalityPattern {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        match problem(text) {
            None => Some(Self(text.to_owned())),
            Some(problem) => cursor.invalid_with("a locality", Some(problem.to_owned())),
        }
    }
}

fn problem(locality: &str) -> Option<&'static str> {
    let stars = locality.matches('*').count();
    if stars > 1 || (stars == 1 && !locality.ends_with('*')) {
        Some("a star may only stand at the end")
    } else if locality.splitn(3, '/').any(str::is_empty) {
        Some("region, zone and subzone must not be empty")
    } else {
        None
    }
}

/// Whether every place of the second locality is in the first.
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.splitn(3, '/');
    wide.splitn(3, '/')
        .take_while(|part| *part != "*")
        .all(|part| narrow.next() == Some(part))
}

impl Decode for Failover {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let from = f.required::<Spanned<Region>>("from");
            let to = f.required::<Spanned<Region>>("to");
            let from = from?.map(|Region(name)| name);
            let to = to?.map(|Region(name)| name);
            if from == to {
                let message = format!("the region `{to}` cannot stand in for itself");
                f.error_at("to", codes::INVALID_VALUE, message, None);
            }
            Some(Self { from, to })
        })
    }
}

struct Region(String);

impl Decode for Region {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if text.is_empty() || text.contains(['/', '*']) {
            cursor.invalid_with(
                "a region",
                Some("write the region's name alone, without zone and `*`".to_owned()),
            )
        } else {
            Some(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities() {
        for good in ["*", "a", "a/*", "a/b", "a/b/*", "a/b/c", "a/b/c/d"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "/", "a/", "a//c", "*/b", "a*b", "a/**"] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn wider_and_narrower() {
        for (wide, narrow) in [("*", "a/b"), ("a", "a/b/c"), ("a/*", "a/b"), ("a/b", "a/b")] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("a/b", "a"),
            ("a/b/*", "a/c/d"),
            ("a/*", "b/*"),
            ("a/b", "*"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }
}
