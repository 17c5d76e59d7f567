//! Why a request gets the route that it gets: each rule of its host before, with what kept it from matching.

use http::HeaderMap;
use http::header::HeaderName;

use super::hosts;
use super::inspect::written;
use super::matching::{Condition, Text, any_value, any_value_or_empty, query_value};
use super::rule_list::RuleList;
use super::{HttpRoute, RequestView, RouteTable};
use crate::raw::{REDACTED, is_secret_name};

/// How the route of a request was found, or why there is none.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// Whether the host has rules on this port at all.
    pub host_is_known: bool,
    /// The rules that were looked at, in order; if there is a route, the last one is it.
    pub steps: Vec<Step<'a>>,
    /// The rules behind the route, which nobody looked at.
    pub behind: Vec<&'a HttpRoute>,
}

/// One rule that was looked at.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The rule's route.
    pub route: &'a HttpRoute,
    /// Every condition that does not hold; none on the rule that answers.
    pub mismatches: Vec<Mismatch>,
}

/// A condition that a request does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What is looked at, as the documents call it: `uri`, `headers[x-canary]`.
    pub field: String,
    /// What the rule wants there: `exact "true"`.
    pub wanted: String,
    /// What the request has there; none if it has nothing.
    pub found: Option<String>,
}

impl<'a> Explanation<'a> {
    /// The route, the same as [`RouteTable::find`] gives.
    pub fn route(&self) -> Option<&'a HttpRoute> {
        let last = self.steps.last()?;
        last.mismatches.is_empty().then_some(last.route)
    }
}

impl RouteTable {
    /// As [`Self::find`], with the reasons.
    pub fn explain(&self, request: &RequestView<'_>) -> Explanation<'_> {
        let rules = hosts::rules(self, request);
        let mut explanation = Explanation {
            host_is_known: rules.is_some(),
            steps: Vec::new(),
            behind: Vec::new(),
        };
        let mut found = false;
        for rule in rules.into_iter().flat_map(RuleList::iter) {
            if found {
                explanation.behind.push(&rule.route);
                continue;
            }
            let mismatches = mismatches(&rule.condition, request);
            found = mismatches.is_empty();
            explanation.steps.push(Step {
                route: &rule.route,
                mismatches,
            });
        }
        explanation
    }
}

/// Every condition that does not hold, by the comparisons that [`Condition::matches`] makes.
fn mismatches(condition: &Condition, request: &RequestView<'_>) -> Vec<Mismatch> {
    // Named here, so that a new condition cannot be forgotten.
    let Condition {
        uri,
        scheme,
        method,
        authority,
        port,
        headers,
        without_headers,
        claims,
        without_claims,
        query_params,
    } = condition;
    let mut found = Vec::new();
    if let Some(port) = port.filter(|port| *port != request.port) {
        found.push(Mismatch {
            field: "port".to_owned(),
            wanted: port.to_string(),
            found: Some(request.port.to_string()),
        });
    }
    for (field, wanted, value) in [
        ("uri", uri, request.path),
        ("method", method, request.method),
        ("authority", authority, request.host),
        ("scheme", scheme, request.scheme),
    ] {
        if let Some(wanted) = wanted
            && !wanted.matches(value.as_bytes())
        {
            found.push(mismatch(field.to_owned(), wanted, Some(value.to_owned())));
        }
    }
    for (name, wanted) in headers {
        if !any_value(request.headers, name, wanted) {
            let value = values(request.headers, name);
            found.push(secret(
                name,
                mismatch(format!("headers[{name}]"), wanted, value),
            ));
        }
    }
    for (name, wanted) in without_headers {
        if any_value_or_empty(request.headers, name, wanted) {
            let value = values(request.headers, name);
            let mut mismatch = mismatch(format!("withoutHeaders[{name}]"), wanted, value);
            mismatch.wanted = format!("not {}", mismatch.wanted);
            found.push(secret(name, mismatch));
        }
    }
    // What a token says stays with its bearer: only the wanted value is told.
    for (claim, wanted) in claims {
        if !claim.holds(request.claims, wanted) {
            found.push(mismatch(format!("headers[{claim}]"), wanted, None));
        }
    }
    for (claim, wanted) in without_claims {
        if claim.holds(request.claims, wanted) {
            let mut mismatch = mismatch(format!("withoutHeaders[{claim}]"), wanted, None);
            mismatch.wanted = format!("not {}", mismatch.wanted);
            found.push(mismatch);
        }
    }
    for (name, wanted) in query_params {
        let value = query_value(request.query, name);
        if !value.is_some_and(|value| wanted.matches(value.as_bytes())) {
            let field = format!("queryParams[{name}]");
            found.push(mismatch(field, wanted, value.map(str::to_owned)));
        }
    }
    found
}

fn mismatch(field: String, wanted: &Text, found: Option<String>) -> Mismatch {
    let wanted = match written(wanted) {
        (form, Some(text)) => format!("{form} {text:?}"),
        (form, None) => form.to_owned(),
    };
    Mismatch {
        field,
        wanted,
        found,
    }
}

/// All values of a header, as a person would write them.
fn values(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The wanted value of a header that carries secrets is one.
fn secret(name: &HeaderName, mut mismatch: Mismatch) -> Mismatch {
    if is_secret_name(name.as_str()) {
        REDACTED.clone_into(&mut mismatch.wanted);
        mismatch.found = mismatch.found.map(|_| REDACTED.to_owned());
    }
    mismatch
}
