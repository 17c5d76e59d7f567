//! `matrix`: every caller with every operation, held against a golden table.

use super::TestRequest;
use super::request::{self, Given, principal};
use crate::decode::{Cursor, Decode, NonEmpty};
use crate::diagnostic::codes;
use crate::document::Spanned;
use crate::source::Location;
use crate::yaml::{Value, shortened};

/// Every caller with every operation.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// `principals`.
    pub callers: Vec<Spanned<Caller>>,
    /// `operations`.
    pub operations: Vec<Operation>,
    /// `golden`: the file with the table, relative to the test's file.
    pub golden: Spanned<String>,
    /// Where the matrix stands.
    pub at: Location,
}

/// Who calls in a row of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A peer with this identity, `<trust domain>/ns/<namespace>/sa/<service account>`.
    Principal(String),
    /// `anonymous`: a peer without an identity, over mTLS as far as the port wants it.
    Anonymous,
    /// `plaintext`: a peer without TLS.
    Plaintext,
}

impl Caller {
    /// As written in `principals`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Principal(principal) => principal,
            Self::Anonymous => "anonymous",
            Self::Plaintext => "plaintext",
        }
    }
}

/// What is called in a column of a matrix.
#[derive(Clone, Debug)]
pub struct Operation {
    /// How tables call it: `GET /api/products`, or its `name`.
    pub name: String,
    /// The request, whose caller comes from the row.
    pub request: TestRequest,
    /// Where it stands.
    pub at: Location,
}

impl Decode for Matrix {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let callers = f.non_empty::<Spanned<Caller>>("principals");
            let operations = f.non_empty::<Operation>("operations");
            let golden = f.required::<Spanned<NonEmpty>>("golden");
            let (callers, operations) = (callers?, operations?);
            let callers_once = once(f.cursor(), "principals", callers.iter().map(|c| c.as_str()));
            let names = operations.iter().map(|operation| operation.name.as_str());
            let operations_once = once(f.cursor(), "operations", names);
            (callers_once && operations_once).then_some(Self {
                callers,
                operations,
                golden: golden?.map(|NonEmpty(file)| file),
                at: f.cursor().at(),
            })
        })
    }
}

/// A table has one row for each name.
fn once<'a>(
    cursor: &Cursor<'_>,
    field: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut fine = true;
    for name in names {
        if !seen.insert(name) {
            let message = format!("`{field}` has `{}` twice", shortened(name));
            cursor.error(codes::DUPLICATE_ENTRY, message, None);
            fine = false;
        }
    }
    fine
}

impl Decode for Caller {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.text()? {
            "anonymous" => Some(Self::Anonymous),
            "plaintext" => Some(Self::Plaintext),
            _ => principal(cursor).map(Self::Principal),
        }
    }
}

impl Decode for Operation {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        if let Value::Mapping(_) = &cursor.node.value {
            return written(cursor);
        }
        if cursor.is_recording() {
            written(cursor);
            cursor.text();
            return None;
        }
        let Value::Scalar { text, .. } = &cursor.node.value else {
            return cursor.mistyped("`METHOD /path` or a mapping");
        };
        let Some((method, path)) = text.split_once(' ').filter(|(method, path)| {
            request::is_method(method) && !path.is_empty() && !path.contains(' ')
        }) else {
            let help = "write `GET /api/products`, or a mapping with the fields of a request";
            return cursor.invalid_with("an operation", Some(help.to_owned()));
        };
        Some(Self {
            name: text.clone(),
            request: TestRequest {
                method: method.to_owned(),
                path: path.to_owned(),
                ..TestRequest::default()
            },
            at: cursor.at(),
        })
    }
}

/// An operation with the fields of a request but for those that say who calls, and a `name` for the table.
fn written(cursor: &Cursor<'_>) -> Option<Operation> {
    cursor.fields(|f| {
        let name = f.optional::<NonEmpty>("name");
        let Given { request, label } = request::fields(f, request::Caller::Elsewhere)?;
        Some(Operation {
            name: name.map_or(label, |NonEmpty(name)| name),
            request,
            at: f.cursor().at(),
        })
    })
}
