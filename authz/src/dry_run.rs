//! `istio.io/dry-run`: a policy that is tried, and reported, without being enforced.

use policies::{
    diagnostic::{Diagnostic, DocPath},
    document::{AuthorizationAction, AuthorizationPolicy, Meta},
};

use crate::codes;

/// The annotation.
const DRY_RUN: &str = "istio.io/dry-run";

/// Whether a policy is only tried. What is neither true nor false is refused by [`findings`].
pub(crate) fn is_tried(policy: &AuthorizationPolicy) -> bool {
    policy
        .meta
        .annotations
        .get(DRY_RUN)
        .is_some_and(|value| parse_bool(value) == Some(true))
}

/// What is wrong with the annotation of a policy. ALLOW and DENY can be tried, as in Istio.
pub(crate) fn findings(policy: &AuthorizationPolicy) -> Option<Diagnostic> {
    let meta = &policy.meta;
    match policy.action.value {
        AuthorizationAction::Allow | AuthorizationAction::Deny => {
            let value = meta.annotations.get(DRY_RUN)?;
            let message = format!("`{DRY_RUN}: {value}` of {meta} is neither true nor false");
            parse_bool(value)
                .is_none()
                .then(|| finding(meta, message, "write \"true\" or \"false\""))
        }
        AuthorizationAction::Audit | AuthorizationAction::Custom => out_of_place(meta),
    }
}

/// The annotation on a document that cannot be tried, whatever its value (Istio refuses it too).
pub(crate) fn out_of_place(meta: &Meta) -> Option<Diagnostic> {
    let value = meta.annotations.get(DRY_RUN)?;
    let message = format!(
        "{meta} has `{DRY_RUN}: {value}`: only AuthorizationPolicies with ALLOW or DENY can be tried"
    );
    let help = "remove the annotation to enforce the document, or remove the document";
    Some(finding(meta, message, help))
}

fn finding(meta: &Meta, message: String, help: &str) -> Diagnostic {
    let path = DocPath::root()
        .field("metadata")
        .field("annotations")
        .key(DRY_RUN);
    Diagnostic::error(codes::DRY_RUN, meta.at.clone(), path, message).with_help(help)
}

/// `strconv.ParseBool`, as Istio reads the annotation.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_written_as_in_go() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(text), Some(false), "{text}");
        }
        for text in ["", "yes", "tRUE", "fALSE", " true", "2", "on"] {
            assert_eq!(parse_bool(text), None, "{text}");
        }
    }
}
