//! Paths that no request has once it is canonical: in policies, and in routes.

use policies::{
    diagnostic::Diagnostic,
    document::{DocumentSet, HttpMatch, Spanned, StringMatch},
    mesh::{Mesh, PathNormalization},
};

use crate::{codes, matcher::Pattern, normalize, template::Template};

/// Finds paths that never match.
pub(super) fn advise(documents: &DocumentSet, mesh: &Mesh, found: &mut Vec<Diagnostic>) {
    let mode = mesh.path_normalization;
    let operations = documents
        .authorization_policies
        .iter()
        .flat_map(|policy| &policy.rules)
        .flat_map(|rule| &rule.to);
    for path in operations.flat_map(|operation| operation.paths.iter().chain(&operation.not_paths))
    {
        // Queries and fragments are reported by the check, and templates are compared piece by piece.
        if path.contains(['?', '#']) || Template::is_template(path) {
            continue;
        }
        let possible = match Pattern::parse(path) {
            Pattern::Present => true,
            Pattern::Exact(text) => is_canonical(&text, mode),
            Pattern::Prefix(text) => may_begin(&text, mode),
            Pattern::Suffix(text) => may_end(&text, mode),
        };
        if !possible {
            found.push(never(path, path.trim_matches('*'), mode));
        }
    }
    let matches = documents
        .virtual_services
        .iter()
        .flat_map(|document| &document.http)
        .flat_map(|rule| &rule.matches);
    for HttpMatch { uri, .. } in matches {
        let Some(uri) = uri else { continue };
        let (possible, text) = match &uri.value {
            StringMatch::Exact(text) => (is_canonical(text, mode), text),
            StringMatch::Prefix(text) => (text.is_empty() || may_begin(text, mode), text),
            StringMatch::Regex(_) | StringMatch::Present => continue,
        };
        if !possible && !text.contains('?') {
            let spanned = Spanned::new(text.clone(), uri.at.clone(), uri.path.clone());
            found.push(never(&spanned, text, mode));
        }
    }
}

/// Canonical paths are those that do not change any more.
fn is_canonical(path: &str, mode: PathNormalization) -> bool {
    normalize(path, mode).is_ok_and(|canonical| canonical == path)
}

fn may_begin(start: &str, mode: PathNormalization) -> bool {
    ["", "a", "/a", "zz"]
        .iter()
        .any(|end| is_canonical(&format!("{start}{end}"), mode))
}

fn may_end(end: &str, mode: PathNormalization) -> bool {
    ["", "/", "/a", "/a/"]
        .iter()
        .any(|start| is_canonical(&format!("{start}{end}"), mode))
}

fn never(path: &Spanned<String>, text: &str, mode: PathNormalization) -> Diagnostic {
    let message = format!("path `{path}` never matches: requests are compared in canonical form");
    let help = match normalize(text, mode) {
        Ok(canonical) if canonical != text => format!("write `{canonical}`"),
        _ => "paths begin with `/`".to_owned(),
    };
    Diagnostic::warning(
        codes::PATH_NEVER_CANONICAL,
        path.at.clone(),
        &path.path,
        message,
    )
    .with_help(help)
}
