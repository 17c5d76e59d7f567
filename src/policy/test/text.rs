//! Results for people: a line for each test, and everything about what failed.

use std::fmt::Write as _;

use runtime::escape::{LIMIT, escape};

use super::coverage::Coverage;
use super::results::{CaseResult, Expected, Got, Results, TestResult};
use crate::terminal;

/// The results; ends with the summary.
pub(super) fn render(results: &Results, with_coverage: bool) -> String {
    let mut text = String::new();
    for test in &results.tests {
        render_test(&mut text, test);
    }
    if let Some(coverage) = &results.coverage {
        text.push('\n');
        render_coverage(&mut text, coverage, with_coverage);
    }
    let cases = results.passed + results.failed;
    let summary = format!(
        "{} in {}: {} passed, {} failed",
        numbered(cases, "case"),
        numbered(results.tests.len(), "test"),
        results.passed,
        results.failed
    );
    text.push('\n');
    text.push_str(&terminal::heading(&summary));
    text.push('\n');
    text
}

// Writing into a string cannot fail.
fn render_test(text: &mut String, test: &TestResult) {
    let passed = test.cases.iter().filter(|case| case.passed).count();
    let total = test.cases.len();
    let sign = if passed == total { "✓" } else { "✗" };
    _ = writeln!(
        text,
        "{sign} {}  {}  {passed} of {} passed",
        test.name,
        test.at.file,
        numbered(total, "case")
    );
    if let Some(golden) = &test.updated {
        _ = writeln!(text, "  wrote {golden}");
    }
    for case in test.cases.iter().filter(|case| !case.passed) {
        render_failure(text, case);
    }
}

fn render_failure(text: &mut String, case: &CaseResult) {
    _ = writeln!(text, "\n  ✗ {}", escape(&case.name, LIMIT));
    _ = writeln!(text, "    --> {}", case.at);
    let expected = match &case.expected {
        Some(Expected { outcome, by: None }) => outcome.to_string(),
        Some(Expected {
            outcome,
            by: Some(by),
        }) => format!("{outcome}, by {by}"),
        None => "no row of the golden table".to_owned(),
    };
    _ = writeln!(text, "    expected  {expected}");
    if let Some(Got {
        outcome,
        by,
        by_at,
        reason,
    }) = &case.got
    {
        let by = by.as_ref().map_or(String::new(), |by| format!(", by {by}"));
        let at = by_at
            .as_ref()
            .map_or(String::new(), |at| format!("  ({at})"));
        _ = writeln!(text, "    got       {outcome}{by}{at}");
        _ = writeln!(text, "    because   {}", escape(reason, LIMIT));
    }
    for note in &case.notes {
        _ = writeln!(text, "              {}", escape(note, LIMIT));
    }
}

fn render_coverage(text: &mut String, coverage: &Coverage, in_full: bool) {
    if in_full && !coverage.rules.is_empty() {
        let mut rows = vec![
            ["RULE", "ACTION", "MATCHED", "DECIDED", "AT"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(coverage.rules.iter().map(|rule| {
            let matched = match rule.hits {
                0 => "never".to_owned(),
                hits => hits.to_string(),
            };
            vec![
                rule.rule.clone(),
                rule.action.to_owned(),
                matched,
                rule.decides.to_string(),
                rule.at.to_string(),
            ]
        }));
        text.push_str(&terminal::table(&rows));
    }
    _ = writeln!(
        text,
        "coverage: {} of {} matched by a case ({} %)",
        coverage.reached,
        numbered(coverage.rules.len(), "rule"),
        coverage.percent
    );
}

fn numbered(count: usize, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}
