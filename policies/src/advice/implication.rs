//! Whether one condition holds wherever another one does: certain, but not complete.

use crate::route::{Condition, Text};

/// Whether every request that `special` takes would be taken by `general`. A no may be wrong, a yes never is.
pub(super) fn covers(general: &Condition, special: &Condition) -> bool {
    let text = |general: &Option<Text>, special: &Option<Text>| match (general, special) {
        (None, _) => true,
        (Some(general), Some(special)) => text_covers(general, special),
        (Some(_), None) => false,
    };
    let path = is_any_path(general) || text(&general.uri, &special.uri);
    path && (general.port.is_none() || general.port == special.port)
        && text(&general.scheme, &special.scheme)
        && text(&general.method, &special.method)
        && text(&general.authority, &special.authority)
        && general.headers.iter().all(|(name, wanted)| {
            let mut own = special.headers.iter().filter(|(other, _)| other == name);
            own.any(|(_, own)| value_covers(wanted, own))
        })
        && general.without_headers.iter().all(|(name, unwanted)| {
            let mut own = special
                .without_headers
                .iter()
                .filter(|(other, _)| other == name);
            own.any(|(_, own)| excludes(own, unwanted))
        })
        && general.claims.iter().all(|(claim, wanted)| {
            let mut own = special.claims.iter().filter(|(other, _)| other == claim);
            own.any(|(_, own)| value_covers(wanted, own))
        })
        && general.without_claims.iter().all(|(claim, unwanted)| {
            let mut own = special
                .without_claims
                .iter()
                .filter(|(other, _)| other == claim);
            own.any(|(_, own)| value_covers(own, unwanted))
        })
        && general.query_params.iter().all(|(name, wanted)| {
            let mut own = special
                .query_params
                .iter()
                .filter(|(other, _)| other == name);
            own.any(|(_, own)| value_covers(wanted, own))
        })
}

/// Whether no path is refused; every path begins with `/`.
pub(super) fn is_any_path(condition: &Condition) -> bool {
    match &condition.uri {
        None => true,
        Some(Text::Prefix(prefix) | Text::PrefixIgnoreCase(prefix)) => {
            prefix.is_empty() || &**prefix == "/"
        }
        Some(Text::Regex(regex)) => matches!(open_end(regex.as_str()), Some("" | "/")),
        Some(_) => false,
    }
}

/// As [`value_covers`], for what is always valid text: paths, methods, schemes and hosts.
fn text_covers(general: &Text, special: &Text) -> bool {
    match general {
        // `/a.*` is the prefix `/a`.
        Text::Regex(regex) => match open_end(regex.as_str()) {
            Some(start) if literal_start(special).is_some_and(|text| text.starts_with(start)) => {
                !ignores_case(special) || !start.bytes().any(|byte| byte.is_ascii_alphabetic())
            }
            _ => value_covers(general, special),
        },
        _ => value_covers(general, special),
    }
}

fn value_covers(general: &Text, special: &Text) -> bool {
    match (general, special) {
        (Text::Present, _) | (_, Text::Never) => true,
        (Text::Exact(one), Text::Exact(other)) => one == other,
        (Text::ExactIgnoreCase(one), Text::Exact(other) | Text::ExactIgnoreCase(other)) => {
            one.eq_ignore_ascii_case(other)
        }
        (Text::Prefix(prefix), special) => {
            let blind =
                ignores_case(special) && prefix.bytes().any(|byte| byte.is_ascii_alphabetic());
            !blind && literal_start(special).is_some_and(|text| text.starts_with(&**prefix))
        }
        (Text::PrefixIgnoreCase(prefix), special) => literal_start(special).is_some_and(|text| {
            text.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }),
        (Text::Regex(regex), Text::Exact(text)) => regex.is_match(text.as_bytes()),
        (Text::Regex(one), Text::Regex(other)) => one.as_str() == other.as_str(),
        (Text::Never | Text::Exact(_) | Text::ExactIgnoreCase(_) | Text::Regex(_), _) => false,
    }
}

/// Whether a header that must not be `own` can never be `unwanted`. A header that is not there counts as the empty
/// text, but where presence is asked for.
fn excludes(own: &Text, unwanted: &Text) -> bool {
    match (own, unwanted) {
        (Text::Present, Text::Present) => true,
        (Text::Present, unwanted) => !unwanted.matches(b""),
        (own, Text::Exact(text)) => own.matches(text.as_bytes()),
        (Text::Prefix(one), Text::Prefix(other)) => other.starts_with(&**one),
        (Text::Regex(one), Text::Regex(other)) => one.as_str() == other.as_str(),
        _ => false,
    }
}

fn ignores_case(text: &Text) -> bool {
    matches!(text, Text::ExactIgnoreCase(_) | Text::PrefixIgnoreCase(_))
}

/// What every matching text begins with.
pub(super) fn literal_start(text: &Text) -> Option<&str> {
    match text {
        Text::Exact(start)
        | Text::ExactIgnoreCase(start)
        | Text::Prefix(start)
        | Text::PrefixIgnoreCase(start) => Some(start),
        Text::Regex(regex) => Some(start_of(inner(regex.as_str())?)),
        Text::Present | Text::Never => None,
    }
}

/// The expression as its author wrote it.
fn inner(anchored: &str) -> Option<&str> {
    anchored.strip_prefix("\\A(?:")?.strip_suffix(")\\z")
}

/// The literal text of an expression that is a literal and then anything.
fn open_end(anchored: &str) -> Option<&str> {
    let pattern = inner(anchored)?;
    let start = start_of(pattern);
    (pattern.strip_prefix(start)? == ".*").then_some(start)
}

/// The plain characters at the beginning of an expression; none if anything about it is unusual.
fn start_of(pattern: &str) -> &str {
    if pattern.contains('|') || pattern.contains("(?") {
        return "";
    }
    let end = pattern.find([
        '\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$',
    ]);
    let Some(end) = end else { return pattern };
    let optional = pattern
        .get(end..)
        .is_some_and(|rest| rest.starts_with(['*', '?', '{']));
    let plain = pattern.get(..end).unwrap_or_default();
    if optional {
        // The last character may be missing.
        let mut characters = plain.chars();
        characters.next_back();
        characters.as_str()
    } else {
        plain
    }
}
