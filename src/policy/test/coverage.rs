//! Which rules the tests reach.

use std::collections::BTreeMap;

use authz::policy_test::{Decider, Judgement, Subject};
use policies::document::policy_test::TestRequest;
use serde::Serialize;
use std::time::SystemTime;

use super::results::Place;

/// Which rules the tests reach.
#[derive(Debug, Serialize)]
pub(super) struct Coverage {
    /// Percentage of the rules that a request matches, rounded down; 100 without rules.
    pub(super) percent: u8,
    /// How many rules a request matches.
    pub(super) reached: usize,
    /// In the order of (file, position).
    pub(super) rules: Vec<Reached>,
}

/// One rule.
#[derive(Debug, Serialize)]
pub(super) struct Reached {
    /// `namespace/name/rules[0]`.
    pub(super) rule: String,
    /// What its policy does.
    pub(super) action: &'static str,
    pub(super) at: Place,
    /// How many requests match it.
    pub(super) hits: usize,
    /// Of how many it gives the outcome.
    pub(super) decides: usize,
}

/// Counts while tests are carried out.
#[derive(Debug, Default)]
pub(super) struct Counter(BTreeMap<Place, Reached>);

impl Counter {
    /// Takes the rules of a test; several tests may be about the same ones.
    pub(super) fn rules(&mut self, subject: &Subject) {
        for rule in subject.rules() {
            let at = Place::from(rule.at);
            self.0.entry(at.clone()).or_insert_with(|| Reached {
                rule: format!("{}/{}/rules[{}]", rule.namespace, rule.name, rule.rule),
                action: rule.action.as_str(),
                at,
                hits: 0,
                decides: 0,
            });
        }
    }

    /// Counts one request.
    pub(super) fn request(
        &mut self,
        subject: &Subject,
        request: &TestRequest,
        now: SystemTime,
        judgement: &Judgement<'_>,
    ) {
        let explanation = subject.explain(request, now);
        let rules = explanation
            .iter()
            .flat_map(|explanation| &explanation.rules);
        let mut hit: Vec<Place> = rules
            .filter(|explained| explained.matched)
            .map(|explained| Place::from(&explained.rule.at))
            .chain(judgement.hits.iter().map(|rule| Place::from(&rule.at)))
            .collect();
        hit.sort();
        hit.dedup();
        for place in &hit {
            if let Some(rule) = self.0.get_mut(place) {
                rule.hits += 1;
            }
        }
        if let Some(Decider::Rule(rule)) = judgement.by
            && let Some(rule) = self.0.get_mut(&Place::from(&rule.at))
        {
            rule.decides += 1;
        }
    }

    /// The result.
    pub(super) fn finish(self) -> Coverage {
        let rules: Vec<Reached> = self.0.into_values().collect();
        let reached = rules.iter().filter(|rule| rule.hits > 0).count();
        let percent = (reached * 100).checked_div(rules.len()).unwrap_or(100);
        Coverage {
            percent: u8::try_from(percent).unwrap_or(100),
            reached,
            rules,
        }
    }
}
