//! What would have to change for a denied request to pass, said as narrowly as possible.

use policies::source::Location;

use crate::explain::{
    Absence, Explanation, FieldExplained, Found, Reason, RuleExplained, field::listed,
};

/// How a denied request would pass. Whether it should is for people to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// All of them together.
    pub steps: Vec<Step>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where, if in the documents.
    pub at: Option<Location>,
    /// What to do, as an order.
    pub text: String,
}

pub(super) fn suggest(explanation: &Explanation) -> Option<Suggestion> {
    let steps = match &explanation.reason {
        Reason::NoAllowPolicy => return None,
        Reason::Rule(_) => match explanation.deciding_rule() {
            Some(rule) if !explanation.allows() => vec![narrow(rule)],
            Some(_) | None => return None,
        },
        Reason::NoRuleMatched => match explanation.nearest_rule() {
            Some(rule) => rule.failing().map(mend).collect(),
            None => vec![Step {
                at: None,
                text: format!(
                    "add a rule to an ALLOW policy: those that select the workload have none, so they allow nothing \
                     ({})",
                    explanation.policies.join(", ")
                ),
            }],
        },
        Reason::Refused => vec![Step {
            at: None,
            text: "correct the policies: they have errors, so nothing passes".to_owned(),
        }],
    };
    Some(Suggestion { steps })
}

/// A DENY rule that matched.
fn narrow(rule: &RuleExplained) -> Step {
    let seen: Vec<String> = rule.fields.iter().map(ToString::to_string).collect();
    let why = if seen.is_empty() {
        "matches everything".to_owned()
    } else {
        format!("matches because {}", seen.join(" and "))
    };
    Step {
        at: Some(rule.rule.at.clone()),
        text: format!("narrow this DENY rule, which {why}"),
    }
}

/// A field of an ALLOW rule that does not hold.
fn mend(field: &FieldExplained) -> Step {
    let name = &field.field;
    let in_the_rule = |text: String| Step {
        at: Some(field.at.clone()),
        text,
    };
    let by_the_caller = |text: String| Step { at: None, text };
    match (&field.found, field.refuses) {
        (Found::Text(value), true) => in_the_rule(format!(
            "take out of `{name}` what refuses `{value}`: {}",
            listed(&field.wanted)
        )),
        (Found::Text(value), false) => in_the_rule(added(name, std::slice::from_ref(value))),
        (Found::Texts(values), false) => {
            // Of a repeated header every value must match: those that are listed do.
            let unlisted = values.iter().filter(|value| !field.wanted.contains(value));
            in_the_rule(added(name, &unlisted.cloned().collect::<Vec<_>>()))
        }
        (Found::Texts(values), true) => in_the_rule(format!(
            "take out of `{name}` what refuses {}: {}",
            listed(values),
            listed(&field.wanted)
        )),
        (Found::Withheld, _) => in_the_rule(format!(
            "compare the header with {} of `{name}`: its value is not shown",
            listed(&field.wanted)
        )),
        (Found::Absent(absence), _) => match absence {
            Absence::Identity => by_the_caller(format!(
                "call through mutual TLS, as {} of `{name}`: the caller proved no identity",
                listed(&field.wanted)
            )),
            Absence::Token => by_the_caller(format!(
                "send a token that RequestAuthentication accepts, with `{name}` {}",
                listed(&field.wanted)
            )),
            Absence::Claim => by_the_caller(format!(
                "send a token with `{name}` {}",
                listed(&field.wanted)
            )),
            Absence::Header => by_the_caller(format!(
                "send the header of `{name}` with {}",
                listed(&field.wanted)
            )),
            Absence::ServerName => by_the_caller(format!(
                "name the server in the TLS handshake as {}",
                listed(&field.wanted)
            )),
            Absence::Http => in_the_rule(format!(
                "write a rule without `{name}`, which only HTTP has: the port carries opaque TCP"
            )),
            Absence::IdentityPart => in_the_rule(format!(
                "name the caller by `principals` instead of `{name}`: its identity has no such part"
            )),
        },
    }
}

fn added(field: &str, values: &[String]) -> String {
    // A star at an end, and braces in a path, would mean more than the value itself.
    if values.iter().any(|value| value.contains(['*', '{'])) {
        format!("add a value to `{field}` that takes {}", listed(values))
    } else {
        format!("add {} to `{field}`", listed(values))
    }
}
