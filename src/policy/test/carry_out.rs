//! Carrying out one test: each case, and each cell of its matrix.

use std::time::SystemTime;

use authz::policy_test::{Decider, Judgement, Reason, Subject};
use policies::document::policy_test::{Caller, DecidedBy, TestCase, TestRequest};
use policies::source::Location;

use super::coverage::Counter;
use super::golden::{self, Cell};
use super::input::Found;
use super::results::{CaseResult, Expected, Got, Place, TestResult};
use crate::exit::Failure;

/// Carries out a test; with `update` its golden table is written.
pub(super) fn test(
    found: &Found,
    now: SystemTime,
    mut counter: Option<&mut Counter>,
    update: bool,
) -> Result<TestResult, Failure> {
    let Found { test, subject, .. } = found;
    if let Some(counter) = &mut counter {
        counter.rules(subject);
    }
    let mut judge = |request: &TestRequest| {
        let judgement = subject.judge(request, now);
        if let Some(counter) = &mut counter {
            counter.request(subject, request, now, &judgement);
        }
        judgement
    };
    let mut cases: Vec<CaseResult> = Vec::new();
    for case in &test.cases {
        let judgement = judge(&case.request);
        cases.push(of_case(subject, case, &judgement, now));
    }
    let mut updated = None;
    if let Some(matrix) = &test.matrix {
        let mut cells = Vec::new();
        for caller in &matrix.callers {
            for operation in &matrix.operations {
                let request = called_by(&operation.request, &caller.value);
                let judgement = judge(&request);
                cells.push(Cell {
                    caller: caller.value.as_str(),
                    operation: &operation.name,
                    at: Place::from(&operation.at),
                    got: got(&judgement),
                });
            }
        }
        if update {
            updated = golden::write(&found.file, test, &cells)?;
        }
        cases.extend(golden::compare(&found.file, test, cells)?);
    }
    let workload = &test.workload;
    Ok(TestResult {
        name: test.meta.name.clone(),
        at: Place::from(&test.meta.at),
        workload: format!("{}/{}", workload.namespace, workload.service_account),
        cases,
        updated,
    })
}

fn called_by(request: &TestRequest, caller: &Caller) -> TestRequest {
    let mut request = request.clone();
    match caller {
        Caller::Principal(principal) => {
            // Where a row of a matrix stands is of no use to anybody here.
            let nowhere = Location::new("", 0, 0);
            request.principal = Some(policies::document::Spanned::new(
                principal.clone(),
                nowhere,
                policies::diagnostic::DocPath::root(),
            ));
        }
        Caller::Anonymous => {}
        Caller::Plaintext => request.mtls = Some(false),
    }
    request
}

fn of_case(
    subject: &Subject,
    case: &TestCase,
    judgement: &Judgement<'_>,
    now: SystemTime,
) -> CaseResult {
    let by = case.by.as_ref().map(|by| &by.value);
    let right_one = by.is_none_or(|by| judgement.by.is_some_and(|decider| decider.is(by)));
    let passed = judgement.outcome == case.expect.value && right_one;
    let notes = if passed {
        Vec::new()
    } else {
        notes(subject, &case.request, judgement, by, now)
    };
    CaseResult {
        name: case.name.value.clone(),
        at: Place::from(&case.at),
        passed,
        expected: Some(Expected {
            outcome: case.expect.value,
            by: by.map(ToString::to_string),
        }),
        got: Some(got(judgement)),
        notes,
    }
}

fn got(judgement: &Judgement<'_>) -> Got {
    Got {
        outcome: judgement.outcome,
        by: judgement.by.map(|decider| decider.to_string()),
        by_at: judgement.by.as_ref().map(|by| Place::from(by.at())),
        reason: judgement.reason.to_string(),
    }
}

/// What helps to find out why a case has not the outcome that it should have.
fn notes(
    subject: &Subject,
    request: &TestRequest,
    judgement: &Judgement<'_>,
    wanted: Option<&DecidedBy>,
    now: SystemTime,
) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(explanation) = subject.explain(request, now) else {
        return notes;
    };
    if let Some(wanted) = wanted
        && !judgement.by.is_some_and(|decider| decider.is(wanted))
    {
        let rule = explanation.rules.iter().find(|explained| {
            let decider = Decider::Rule(&explained.rule);
            decider.is(wanted)
        });
        match rule {
            None => notes.push(no_such_rule(subject, wanted)),
            Some(rule) if rule.matched => notes.push(format!(
                "`{wanted}` matches too, but does not decide ({})",
                rule.at()
            )),
            Some(rule) => notes.extend(
                rule.failing()
                    .map(|field| format!("`{wanted}` does not match: {field} ({})", field.at)),
            ),
        }
    }
    if judgement.reason == Reason::NoneMatches
        && let Some(nearest) = explanation.nearest_rule()
        && let decider = Decider::Rule(&nearest.rule)
        && !wanted.is_some_and(|wanted| decider.is(wanted))
    {
        notes.push(format!("nearest is {decider} ({})", nearest.at()));
        notes.extend(
            nearest
                .failing()
                .map(|field| format!("  {field} ({})", field.at)),
        );
    }
    if matches!(judgement.reason, Reason::Matches(_))
        && let Some(rule) = explanation.deciding_rule()
    {
        notes.extend(rule.fields.iter().map(|field| format!("matches: {field}")));
    }
    notes
}

/// `by` names what does not exist, or what does not select the workload.
fn no_such_rule(subject: &Subject, wanted: &DecidedBy) -> String {
    let there = subject.rules().any(|rule| {
        let namespace = wanted.namespace.as_deref();
        rule.name == wanted.name
            && namespace.is_none_or(|namespace| namespace == rule.namespace)
            && wanted.rule == Some(rule.rule)
    });
    if there {
        format!("`{wanted}` does not select the workload")
    } else {
        format!("`{wanted}` is no rule of the documents")
    }
}
