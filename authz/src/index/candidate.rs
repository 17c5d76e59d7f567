//! Rules that may match, and the search for the first one that does.

use super::methods::Methods;
use crate::{decision::Action, facts::Facts, field::Subject, field::Wants, rule::Rule};

/// A rule that may match, with what rejects most of them without looking at the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// Its place in the order of the documents.
    rule: u32,
    methods: Methods,
    /// The only port that it matches; 0 if there are others.
    port: u16,
}

impl Candidate {
    pub(super) fn new(number: u32, rule: &Rule) -> Self {
        Self {
            rule: number,
            methods: Methods::of_rule(rule),
            port: only_port(rule).unwrap_or(0),
        }
    }
}

/// The port without which no operation of the rule holds.
fn only_port(rule: &Rule) -> Option<u16> {
    let mut ports = rule.operations.iter().map(|operation| {
        operation
            .iter()
            .find_map(|check| match (&check.subject, check.wants) {
                (Subject::DestinationPort(ports), Wants::Match) => match **ports {
                    [port] => Some(port),
                    _ => None,
                },
                _ => None,
            })
    });
    let first = ports.next()??;
    ports.all(|port| port == Some(first)).then_some(first)
}

/// Looks for the first rule that matches.
pub(super) struct Search<'r, 's, 'f> {
    rules: &'r [Rule],
    facts: &'s Facts<'f>,
    action: Action,
    methods: Methods,
    /// The first rule found so far, and the one that is only looked for before it.
    best: u32,
}

impl<'r, 's, 'f> Search<'r, 's, 'f> {
    pub(super) fn new(rules: &'r [Rule], facts: &'s Facts<'f>, action: Action) -> Self {
        Self {
            rules,
            facts,
            action,
            methods: Methods::of_facts(facts),
            best: u32::MAX,
        }
    }

    /// Tries candidates in ascending order, as far as they come before what was found.
    pub(super) fn try_each(&mut self, candidates: &[Candidate]) {
        for candidate in candidates {
            if candidate.rule >= self.best {
                return;
            }
            let possible = candidate.methods.meet(self.methods)
                && (candidate.port == 0 || candidate.port == self.facts.destination_port);
            if possible
                && self
                    .rule(candidate.rule)
                    .is_some_and(|rule| rule.matches(self.facts, self.action))
            {
                self.best = candidate.rule;
                return;
            }
        }
    }

    pub(super) fn found(&self) -> Option<&'r Rule> {
        self.rule(self.best)
    }

    fn rule(&self, number: u32) -> Option<&'r Rule> {
        self.rules.get(usize::try_from(number).ok()?)
    }
}
