//! The rules of one action, found by what a request is: the cost of a decision does not grow with the number of rules.
//!
//! Every rule stands under names without which it cannot match (a principal, a host, a claim …; of several the rarest),
//! and there under the text that its paths begin or end with. What is found that way are candidates only:
//! [`Rule::matches`] has the last word, so that the index can be wrong in one direction only, and the first candidate that
//! matches in the order of the documents is the answer.

mod candidate;
mod counts;
mod lookup;
mod methods;
mod names;
mod paths;
mod shelf;

use crate::{
    decision::{Action, RuleId},
    facts::Facts,
    rule::Rule,
};
use candidate::Search;
use lookup::Lookup;

/// The rules of one action, in the order of the documents.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleIndex {
    rules: Box<[Rule]>,
    requests: Lookup,
    /// The same rules for what is not HTTP: fields of HTTP drop out there, so nothing is found by them.
    connections: Lookup,
}

/// What facts may be: whether a rule's fields of HTTP count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Http,
    Tcp,
}

impl RuleIndex {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self {
            requests: Lookup::new(&rules, Form::Http),
            connections: Lookup::new(&rules, Form::Tcp),
            rules: rules.into(),
        }
    }

    /// Every rule, in the order of the documents.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The first rule that matches, in the order of the documents. Allocates nothing.
    pub(crate) fn first(&self, facts: &Facts<'_>, action: Action) -> Option<&RuleId> {
        if self.rules.is_empty() {
            return None;
        }
        let lookup = match facts.http {
            Some(_) => &self.requests,
            None => &self.connections,
        };
        let mut search = Search::new(&self.rules, facts, action);
        lookup.visit(facts, &mut search);
        search.found().map(|rule| &rule.id)
    }
}
