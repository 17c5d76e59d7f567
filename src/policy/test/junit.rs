//! Results as JUnit XML: what build servers read.

use std::fmt::Write as _;

use super::results::{CaseResult, Expected, Got, Results, TestResult};

/// One suite for each test, one case for each case and each cell of a matrix.
pub(super) fn render(results: &Results) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a string cannot fail.
    _ = writeln!(
        text,
        "<testsuites name=\"portcullis policy test\" tests=\"{}\" failures=\"{}\" errors=\"0\">",
        results.passed + results.failed,
        results.failed
    );
    for test in &results.tests {
        suite(&mut text, test);
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, test: &TestResult) {
    let failed = test.cases.iter().filter(|case| !case.passed).count();
    _ = writeln!(
        text,
        "  <testsuite name=\"{}\" file=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\">",
        xml(&test.name),
        xml(&test.at.file),
        test.cases.len()
    );
    for case in &test.cases {
        _ = write!(
            text,
            "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\"",
            xml(&test.name),
            xml(&case.name),
            xml(&case.at.file),
            case.at.line
        );
        if case.passed {
            text.push_str("/>\n");
        } else {
            failure(text, case);
        }
    }
    text.push_str("  </testsuite>\n");
}

fn failure(text: &mut String, case: &CaseResult) {
    let expected = match &case.expected {
        Some(Expected { outcome, by: None }) => outcome.to_string(),
        Some(Expected {
            outcome,
            by: Some(by),
        }) => format!("{outcome} by {by}"),
        None => "a row of the golden table".to_owned(),
    };
    let (got, reason) = match &case.got {
        Some(Got {
            outcome,
            by: Some(by),
            reason,
            ..
        }) => (format!("{outcome} by {by}"), reason.as_str()),
        Some(Got {
            outcome, reason, ..
        }) => (outcome.to_string(), reason.as_str()),
        None => ("nothing".to_owned(), ""),
    };
    _ = writeln!(
        text,
        ">\n      <failure message=\"{}\" type=\"decision\">{}",
        xml(&format!("expected {expected}, got {got}")),
        xml(&format!("{}\n{reason}", case.at))
    );
    for note in &case.notes {
        _ = writeln!(text, "{}", xml(note));
    }
    text.push_str("</failure>\n    </testcase>\n");
}

/// A text within XML; characters that XML 1.0 cannot say become U+FFFD.
fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_within_their_attribute() {
        assert_eq!(
            xml("a<b>&\"c\"\u{1b}"),
            "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}"
        );
    }
}
