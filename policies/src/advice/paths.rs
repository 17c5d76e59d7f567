//! Prefixes and rewrites that do not end where their authors think.

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HttpMatch, HttpRule, Spanned, StringMatch};
use crate::mesh::{Mesh, PathNormalization};

/// Finds prefixes that match more than a directory, and rewrites that glue or double slashes.
pub(super) fn advise(documents: &DocumentSet, mesh: &Mesh, found: &mut Vec<Diagnostic>) {
    let merged = matches!(
        mesh.path_normalization,
        PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
    );
    for rule in documents
        .virtual_services
        .iter()
        .flat_map(|document| &document.http)
    {
        found.extend(
            rule.matches
                .iter()
                .filter_map(|matched| open_prefix(matched, rule)),
        );
        found.extend(rewrite(rule, merged));
    }
}

fn prefix(matched: &HttpMatch) -> Option<(&Spanned<StringMatch>, &str)> {
    let uri = matched.uri.as_ref()?;
    match &uri.value {
        StringMatch::Prefix(prefix) => Some((uri, prefix)),
        _ => None,
    }
}

/// `/api` also matches `/apix`.
fn open_prefix(matched: &HttpMatch, rule: &HttpRule) -> Option<Diagnostic> {
    let (uri, prefix) = prefix(matched)?;
    let name = prefix.ends_with(|last: char| last.is_ascii_alphanumeric());
    // What a rewrite makes of it is reported by itself.
    if !name
        || rule
            .rewrite
            .as_ref()
            .is_some_and(|rewrite| rewrite.uri.is_some())
    {
        return None;
    }
    let message = format!("the prefix `{prefix}` is plain text: it also matches `{prefix}x`");
    let help = format!("match `exact: {prefix}` and `prefix: {prefix}/`");
    Some(Diagnostic::info(codes::OPEN_PREFIX, uri.at.clone(), &uri.path, message).with_help(help))
}

/// Only the matched text is replaced, so both must end alike.
fn rewrite(rule: &HttpRule, merged: bool) -> Option<Diagnostic> {
    let rewrite = rule.rewrite.as_ref()?;
    let with = rewrite.uri.as_deref()?;
    let mut prefixes: Vec<&str> = rule
        .matches
        .iter()
        .filter_map(|matched| match &matched.uri {
            None => Some("/"),
            Some(_) => prefix(matched).map(|(_, prefix)| prefix),
        })
        .collect();
    if rule.matches.is_empty() {
        prefixes.push("/");
    }
    let (prefix, example, becomes) = prefixes.into_iter().find_map(|prefix| {
        let (example, becomes) = match (prefix.ends_with('/'), with.ends_with('/')) {
            (true, false) => (format!("{prefix}x"), format!("{with}x")),
            (false, true) if !merged => (format!("{prefix}/x"), format!("{with}/x")),
            _ => return None,
        };
        Some((prefix, example, becomes))
    })?;
    let message = format!(
        "only the matched text `{prefix}` is replaced by `{with}`: `{example}` becomes `{becomes}`"
    );
    let help = if prefix.ends_with('/') {
        format!("write `uri: {with}/`")
    } else if with == "/" {
        format!("match `prefix: {prefix}/`, and `exact: {prefix}` beside it")
    } else {
        format!(
            "write `uri: {}`, or match `prefix: {prefix}/`",
            with.trim_end_matches('/')
        )
    };
    let path = rule.path.field("rewrite").field("uri");
    Some(
        Diagnostic::warning(codes::REWRITE_SLASHES, rewrite.at.clone(), path, message)
            .with_help(help),
    )
}
