//! How far a rule is from a request, and which rule is nearest.
//!
//! A rule is nearer the fewer of its fields fail. Among equals, one that already knows the caller is nearer than one
//! that does not, and then the one whose values look most like what was sent.

use crate::{
    decision::RuleId,
    explain::{
        RuleExplained,
        field::{FieldExplained, Found, explain_field},
    },
    facts::Facts,
    field::Check,
    rule::{AllOf, Rule},
};

/// What a failing field costs at most by its values alone.
const UNLIKE: usize = 100;
/// What it costs besides when it is the caller that does not fit.
const STRANGER: usize = 2 * UNLIKE;

/// How many fields fail, and how badly. Smaller is nearer.
pub(super) type Distance = (usize, usize);

/// Explains one rule by those of its sources and operations that come nearest.
pub(super) fn explain_rule(rule: &Rule, facts: &Facts<'_>) -> RuleExplained {
    let action = rule.id.action;
    let explain = |checks: &[Check]| -> Vec<FieldExplained> {
        let explained = checks
            .iter()
            .map(|check| explain_field(check, facts, action));
        explained.collect()
    };
    let nearest = |groups: &[AllOf]| {
        let explained = groups.iter().map(|group| explain(group));
        explained.min_by_key(|fields| distance(fields))
    };
    let mut fields = nearest(&rule.sources).unwrap_or_default();
    fields.extend(nearest(&rule.operations).unwrap_or_default());
    fields.extend(explain(&rule.conditions));
    let matched = rule.matches(facts, action);
    if !matched && fields.iter().all(|field| field.holds) {
        // An HTTP field in another source or operation takes the whole ALLOW rule away on TCP.
        let all = rule.sources.iter().chain(&rule.operations).flatten();
        let falling = all.map(|check| explain_field(check, facts, action));
        fields.extend(falling.filter(|field| !field.holds).take(1));
    }
    RuleExplained {
        rule: rule.id.clone(),
        matched,
        fields,
    }
}

/// The position of the nearest of the rules that are `wanted`; the earlier of two that are equally near.
pub(super) fn nearest(rules: &[RuleExplained], wanted: impl Fn(&RuleId) -> bool) -> Option<usize> {
    let candidates = rules.iter().enumerate();
    candidates
        .filter(|(_, rule)| wanted(&rule.rule))
        .min_by_key(|(_, rule)| distance(&rule.fields))
        .map(|(position, _)| position)
}

pub(super) fn distance(fields: &[FieldExplained]) -> Distance {
    let failing = fields.iter().filter(|field| !field.holds);
    failing.fold((0, 0), |(count, sum), field| (count + 1, sum + cost(field)))
}

fn cost(field: &FieldExplained) -> usize {
    let stranger = if is_about_the_caller(&field.field) {
        STRANGER
    } else {
        0
    };
    stranger + unlikeness(field)
}

fn is_about_the_caller(field: &str) -> bool {
    let name = field.to_ascii_lowercase();
    let fields = [
        "principals",
        "namespaces",
        "serviceaccounts",
        "trustdomains",
    ];
    fields.iter().any(|known| name.ends_with(known))
        || name.starts_with("source.")
        || name.starts_with("request.auth.")
}

fn unlikeness(field: &FieldExplained) -> usize {
    let alike = |text: &String| {
        let wanted = field.wanted.iter();
        wanted.map(|value| alike(text, value)).max().unwrap_or(0)
    };
    match &field.found {
        // What is refused is all too like.
        Found::Text(_) | Found::Texts(_) if field.refuses => 0,
        Found::Text(text) => UNLIKE.saturating_sub(alike(text)),
        Found::Texts(texts) => UNLIKE.saturating_sub(texts.iter().map(alike).max().unwrap_or(0)),
        Found::Withheld | Found::Absent(_) => UNLIKE,
    }
}

/// How much two texts share at their ends, in percent of the longer one.
fn alike(found: &str, wanted: &str) -> usize {
    let wanted = wanted.trim_matches('*');
    let (longer, shorter) = (found.len().max(wanted.len()), found.len().min(wanted.len()));
    let same =
        |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(a, b)| a == b).count();
    let start = same(&mut found.bytes().zip(wanted.bytes()));
    let end = same(&mut found.bytes().rev().zip(wanted.bytes().rev()));
    (start + end).min(shorter) * UNLIKE / longer.max(1)
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn likeness_counts_both_ends() {
        for (found, wanted, expected) in [
            ("/api/orders/1", "/api/orders/1", 100),
            ("/api/orders", "/api/*", 45),
            ("order.shop", "*.shop", 50),
            ("a", "b", 0),
            ("", "*", 0),
            ("aaa", "aa", 66),
        ] {
            assert_eq!(alike(found, wanted), expected, "{found} {wanted}");
        }
    }
}
