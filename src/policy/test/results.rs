//! What tests found, in the shape in which programs read it.

use std::sync::Arc;

use policies::document::policy_test::Outcome;
use policies::source::Location;
use serde::{Serialize, Serializer};

use super::coverage::Coverage;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) tests: Vec<TestResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) coverage: Option<Coverage>,
}

/// One PolicyTest.
#[derive(Debug, Serialize)]
pub(super) struct TestResult {
    pub(super) name: String,
    pub(super) at: Place,
    /// `namespace/serviceAccount`.
    pub(super) workload: String,
    pub(super) cases: Vec<CaseResult>,
    /// The golden table that was written, with `--update`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updated: Option<String>,
}

/// One case, or one cell of a matrix.
#[derive(Debug, Serialize)]
pub(super) struct CaseResult {
    pub(super) name: String,
    pub(super) at: Place,
    pub(super) passed: bool,
    /// None where the golden table has no row for the cell.
    pub(super) expected: Option<Expected>,
    /// None where the golden table has a row that the matrix has not.
    pub(super) got: Option<Got>,
    /// Why it failed: the nearest rule, what it wanted, what would change the outcome.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// What a case wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Expected {
    #[serde(serialize_with = "outcome")]
    pub(super) outcome: Outcome,
    /// Who must decide; none for anybody, in a golden table for nobody.
    pub(super) by: Option<String>,
}

/// What was decided.
#[derive(Debug, Serialize)]
pub(super) struct Got {
    #[serde(serialize_with = "outcome")]
    pub(super) outcome: Outcome,
    /// `namespace/name/rules[0]`.
    pub(super) by: Option<String>,
    /// Where that rule stands.
    #[serde(rename = "byAt")]
    pub(super) by_at: Option<Place>,
    pub(super) reason: String,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    #[serde(serialize_with = "text")]
    pub(super) file: Arc<str>,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl From<&Location> for Place {
    fn from(at: &Location) -> Self {
        Self {
            file: Arc::clone(&at.file),
            line: at.line,
            column: at.column,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over references"
)]
fn outcome<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
