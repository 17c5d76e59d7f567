//! Denials of one kind, counted together.

use std::collections::BTreeMap;

use dataplane::decisions::{DecisionShown, ReasonShown, RuleShown, VerdictShown};
use serde::Serialize;

/// How a denial was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Seen {
    /// A policy in dry run would deny.
    DryRun,
    /// The audit mode let it pass.
    AuditMode,
    /// It was denied.
    Denied,
}

impl Seen {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::DryRun => "would be denied (dry run)",
            Self::AuditMode => "would be denied (audit mode)",
            Self::Denied => "denied",
        }
    }
}

/// Denials with the same caller, workload, method, path and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub(super) count: usize,
    pub(super) seen: Seen,
    pub(super) caller: String,
    pub(super) workload: String,
    pub(super) method: String,
    /// With `{id}` for segments that look like one.
    pub(super) path: String,
    /// The rule, or why none.
    pub(super) by: String,
    pub(super) first: String,
    pub(super) last: String,
    /// The number of the newest of them.
    pub(super) example: String,
}

/// Groups the would-be denials, with `all` the others too; the most frequent first.
pub(super) fn group(decisions: &[DecisionShown], all: bool) -> Vec<Group> {
    let mut groups = BTreeMap::<_, Group>::new();
    for decision in decisions {
        let Some((seen, by)) = denial(decision) else {
            continue;
        };
        if seen == Seen::Denied && !all {
            continue;
        }
        let request = &decision.request;
        let caller = request.principal.as_deref().unwrap_or("(no identity)");
        let method = request.method.as_deref().unwrap_or("TCP");
        let path = request.path.as_deref().map(template).unwrap_or_default();
        let key = (
            seen,
            caller.to_owned(),
            decision.workload.clone(),
            method.to_owned(),
            path.clone(),
            by.clone(),
        );
        let group = groups.entry(key).or_insert_with(|| Group {
            count: 0,
            seen,
            caller: caller.to_owned(),
            workload: decision.workload.clone(),
            method: method.to_owned(),
            path,
            by,
            first: decision.time.clone(),
            last: String::new(),
            example: String::new(),
        });
        group.count += 1;
        // RFC 3339 in one time zone sorts as text.
        if decision.time >= group.last {
            group.last.clone_from(&decision.time);
            group.example.clone_from(&decision.id);
        }
        if decision.time < group.first {
            group.first.clone_from(&decision.time);
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| (group.seen == Seen::Denied, std::cmp::Reverse(group.count)));
    groups
}

/// How a decision denies, or would have, and by what.
fn denial(decision: &DecisionShown) -> Option<(Seen, String)> {
    if decision.verdict == VerdictShown::Deny {
        let seen = if decision.enforced {
            Seen::Denied
        } else {
            Seen::AuditMode
        };
        let by = match decision.reason {
            ReasonShown::Token => decision.text.clone().unwrap_or_default(),
            _ => by(decision.rule.as_ref()),
        };
        return Some((seen, by));
    }
    let dry_run = decision.dry_run.as_ref()?;
    (dry_run.verdict == VerdictShown::Deny).then(|| (Seen::DryRun, by(dry_run.rule.as_ref())))
}

fn by(rule: Option<&RuleShown>) -> String {
    rule.map_or_else(
        || "no ALLOW rule matches".to_owned(),
        |rule| format!("{} {rule}  {}", rule.action, rule.at),
    )
}

/// The path with `{id}` for what looks like one: a number, a UUID, a long piece with digits.
fn template(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let digits = segment.bytes().filter(u8::is_ascii_digit).count();
        let hex = |c: u8| c.is_ascii_hexdigit() || c == b'-';
        let number = digits > 0 && digits == segment.len();
        let uuid = segment.len() >= 16 && digits > 0 && segment.bytes().all(hex);
        let token = segment.len() >= 24 && digits >= 4;
        if number || uuid || token {
            "{id}"
        } else {
            segment
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use dataplane::decisions::{DryRunShown, RequestFacts};

    use super::*;

    fn decision(path: &str, time: &str) -> DecisionShown {
        DecisionShown {
            id: time.to_owned(),
            time: time.to_owned(),
            workload: "shop/catalog".to_owned(),
            verdict: VerdictShown::Deny,
            enforced: false,
            reason: ReasonShown::NoRuleMatched,
            rule: None,
            provider: None,
            status: None,
            text: None,
            audit: None,
            dry_run: None,
            generation: 1,
            cut: false,
            request: RequestFacts {
                method: Some("GET".to_owned()),
                path: Some(path.to_owned()),
                ..RequestFacts::default()
            },
        }
    }

    #[test]
    fn paths_with_numbers_are_one_group() {
        let groups = group(
            &[
                decision("/a/1", "1"),
                decision("/a/2", "2"),
                decision("/b", "3"),
            ],
            false,
        );
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].count, &*groups[0].path), (2, "/a/{id}"));
        assert_eq!((&*groups[0].first, &*groups[0].example), ("1", "2"));
    }

    #[test]
    fn enforced_denials_are_asked_for() {
        let mut denied = decision("/a", "1");
        denied.enforced = true;
        assert!(group(std::slice::from_ref(&denied), false).is_empty());
        assert_eq!(group(&[denied], true)[0].seen, Seen::Denied);
        let mut tried = decision("/a", "1");
        tried.verdict = VerdictShown::Allow;
        assert!(group(std::slice::from_ref(&tried), false).is_empty());
        tried.dry_run = Some(DryRunShown {
            verdict: VerdictShown::Deny,
            rule: None,
        });
        assert_eq!(group(&[tried], false)[0].seen, Seen::DryRun);
    }

    #[test]
    fn what_looks_like_an_id_is_one() {
        for (path, expected) in [
            ("/api/v1/users/42", "/api/v1/users/{id}"),
            ("/x/0af76519-16cd-43dd-8448-eb211c80319c", "/x/{id}"),
            ("/products", "/products"),
            ("/", "/"),
        ] {
            assert_eq!(template(path), expected);
        }
    }
}
