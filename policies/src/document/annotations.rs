//! Annotations of a VirtualService, for what Istio has no field for.

use super::Meta;
use crate::decode::Fields;
use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::resilience::{DeadlineScope, Jitter, Repeats};

const REPEATS: &str = "portcullis.dev/retry-non-idempotent";
const JITTER: &str = "portcullis.dev/retry-jitter";
const DEADLINE: &str = "portcullis.dev/deadline";

/// What a VirtualService's annotations say about its HTTP routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteAnnotations {
    /// `portcullis.dev/retry-non-idempotent`: `"true"` or `"false"`, the default.
    pub repeats: Repeats,
    /// `portcullis.dev/retry-jitter`: `none` or `full`, the default.
    pub jitter: Jitter,
    /// `portcullis.dev/deadline`: `ignore` or `honour`, the default.
    pub deadline: DeadlineScope,
}

impl RouteAnnotations {
    /// What a document's annotations say; a value that means nothing is the default, and was reported when it was read.
    pub fn of(meta: &Meta) -> Self {
        Self::read(meta, &mut |_, _, _| ())
    }

    /// Reports values that mean nothing.
    pub(crate) fn check(f: &Fields<'_>, meta: &Meta) {
        Self::read(meta, &mut |name, value, expected| {
            let message = format!("`{value}` is not a value of the annotation `{name}`");
            let path = DocPath::root()
                .field("metadata")
                .field("annotations")
                .key(name);
            let finding = Diagnostic::error(codes::UNKNOWN_VALUE, meta.at.clone(), path, message);
            f.report(finding.with_help(format!("write {expected}")));
        });
    }

    fn read(meta: &Meta, wrong: &mut impl FnMut(&str, &str, &str)) -> Self {
        let mut read = |name: &str, expected: &str, values: [&str; 2]| {
            let value = meta.annotations.get(name)?;
            let known = values.iter().position(|known| known == value);
            if known.is_none() {
                wrong(name, value, expected);
            }
            known
        };
        let repeats = read(REPEATS, "`\"true\"` or `\"false\"`", ["true", "false"]);
        let jitter = read(JITTER, "`none` or `full`", ["none", "full"]);
        let deadline = read(DEADLINE, "`ignore` or `honour`", ["ignore", "honour"]);
        Self {
            repeats: match repeats {
                Some(0) => Repeats::Everything,
                _ => Repeats::Idempotent,
            },
            jitter: match jitter {
                Some(0) => Jitter::None,
                _ => Jitter::Full,
            },
            deadline: match deadline {
                Some(0) => DeadlineScope::Own,
                _ => DeadlineScope::Shared,
            },
        }
    }
}
