//! `exportTo`: the namespaces that may see a document.

use std::fmt;

use super::Spanned;
use crate::decode::{Cursor, Decode, Fields, is_dns_label};
use crate::diagnostic::{Diagnostic, codes};

/// One entry of `exportTo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// `*`: every namespace, also the default.
    Everywhere,
    /// `.`: the document's own namespace.
    OwnNamespace,
    /// `~`: nobody; services only.
    Nowhere,
    /// A namespace by name.
    Namespace(Box<str>),
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everywhere => "*",
            Self::OwnNamespace => ".",
            Self::Nowhere => "~",
            Self::Namespace(name) => name,
        })
    }
}

impl Decode for Visibility {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match cursor.text()? {
            "*" => Some(Self::Everywhere),
            "." => Some(Self::OwnNamespace),
            "~" => Some(Self::Nowhere),
            text if is_dns_label(text) => Some(Self::Namespace(text.into())),
            _ => cursor.invalid_with(
                "a namespace",
                Some("write `.`, `*` or the name of a namespace".to_owned()),
            ),
        }
    }
}

/// What the document is, as far as `exportTo` depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exported {
    Routes,
    Service,
    Rule { with_selector: bool },
}

/// Reads and checks `exportTo`.
pub(crate) fn export_to(
    f: &mut Fields<'_>,
    namespace: &str,
    what: Exported,
) -> Box<[Spanned<Visibility>]> {
    let Some(cursor) = f.get("exportTo") else {
        return Box::default();
    };
    let items = cursor.items().unwrap_or_default();
    let entries: Box<[Spanned<Visibility>]> = items.iter().filter_map(Decode::decode).collect();
    check(f, &entries, namespace, what);
    entries
}

fn check(f: &Fields<'_>, entries: &[Spanned<Visibility>], namespace: &str, what: Exported) {
    let error = |entry: &Spanned<Visibility>, code, message: String| {
        f.report(Diagnostic::error(
            code,
            entry.at.clone(),
            &entry.path,
            message,
        ));
    };
    // `.` and the document's own namespace are the same.
    let is_own = |entry: &Visibility| match entry {
        Visibility::OwnNamespace => true,
        Visibility::Namespace(name) => **name == *namespace,
        _ => false,
    };
    for (position, entry) in entries.iter().enumerate() {
        let same = |other: &&Spanned<Visibility>| {
            other.value == entry.value || (is_own(other) && is_own(entry))
        };
        if let Some(earlier) = entries.iter().take(position).find(same) {
            let message = format!("`{entry}` means the same as `{earlier}`");
            error(entry, codes::DUPLICATE_ENTRY, message);
        }
        if entry.value == Visibility::Nowhere && what != Exported::Service {
            let message = "only a ServiceEntry can be exported to nobody (`~`)".to_owned();
            error(entry, codes::INVALID_VALUE, message);
        } else if matches!(entry.value, Visibility::Everywhere | Visibility::Nowhere)
            && entries.len() > 1
        {
            let message = format!("`{entry}` leaves nothing for the other entries to say");
            error(entry, codes::EXCLUSIVE_FIELDS, message);
        }
        if what
            == (Exported::Rule {
                with_selector: true,
            })
            && !is_own(entry)
        {
            let message = format!(
                "a rule with `workloadSelector` holds in its own namespace only, so it cannot be exported to `{entry}`"
            );
            error(entry, codes::EXCLUSIVE_FIELDS, message);
        }
    }
}
