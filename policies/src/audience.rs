//! Who sees a document: its `exportTo`, else the mesh's default for its kind.

use crate::document::{Spanned, Visibility};

/// The namespaces whose proxies see a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// All of them.
    #[default]
    Everywhere,
    /// These, sorted; nobody if there is none.
    Only(Box<[Box<str>]>),
}

/// How narrowly a document is exported; a narrower one is meant for its audience rather than for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Its own namespace alone: `.`.
    Own,
    /// Namespaces by name.
    Named,
    /// `*`.
    Everywhere,
}

impl Audience {
    /// The audience of a document of `namespace`; `default` holds where it says nothing (MeshConfig `default…ExportTo`).
    pub(crate) fn of(
        export_to: &[Spanned<Visibility>],
        default: &[Visibility],
        namespace: &str,
    ) -> Self {
        let mut names: Vec<Box<str>> = Vec::new();
        let written: Vec<&Visibility> = if export_to.is_empty() {
            default.iter().collect()
        } else {
            export_to.iter().map(|entry| &entry.value).collect()
        };
        if written.is_empty() {
            return Self::Everywhere;
        }
        for entry in written {
            match entry {
                Visibility::Everywhere => return Self::Everywhere,
                Visibility::OwnNamespace => names.push(namespace.into()),
                Visibility::Namespace(name) => names.push(name.clone()),
                Visibility::Nowhere => {}
            }
        }
        names.sort_unstable();
        names.dedup();
        Self::Only(names.into())
    }

    /// Whether proxies of a namespace see the document.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Only(names) => names
                .binary_search_by(|name| (**name).cmp(namespace))
                .is_ok(),
        }
    }

    /// The namespaces that are named, if not all are meant.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::Everywhere => &[][..],
            Self::Only(names) => names,
        };
        names.iter().map(|name| &**name)
    }

    /// Whether some namespace sees both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everywhere, Self::Everywhere) => true,
            (Self::Everywhere, Self::Only(names)) | (Self::Only(names), Self::Everywhere) => {
                !names.is_empty()
            }
            (Self::Only(names), other @ Self::Only(_)) => {
                names.iter().any(|name| other.includes(name))
            }
        }
    }

    /// Whether every namespace of this audience is one of the other.
    pub(crate) fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Everywhere) => true,
            (Self::Everywhere, Self::Only(_)) => false,
            (Self::Only(names), other) => names.iter().all(|name| other.includes(name)),
        }
    }

    /// How narrow it is, for a document of `namespace`.
    pub(crate) fn reach(&self, namespace: &str) -> Reach {
        match self {
            Self::Everywhere => Reach::Everywhere,
            Self::Only(names) if matches!(&**names, [only] if **only == *namespace) => Reach::Own,
            Self::Only(_) => Reach::Named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Audience {
        let defaults: Vec<Visibility> = names
            .iter()
            .map(|name| Visibility::Namespace((*name).into()))
            .collect();
        Audience::of(&[], &defaults, "own")
    }

    #[test]
    fn the_default_holds_where_nothing_is_written() {
        assert_eq!(Audience::of(&[], &[], "a"), Audience::Everywhere);
        let own = Audience::of(&[], &[Visibility::OwnNamespace], "a");
        assert!(own.includes("a") && !own.includes("b"));
        assert_eq!(own.reach("a"), Reach::Own);
        assert_eq!(own.reach("b"), Reach::Named);
        let nobody = Audience::of(&[], &[Visibility::Nowhere], "a");
        assert!(!nobody.includes("a") && !nobody.meets(&Audience::Everywhere));
    }

    #[test]
    fn audiences_are_compared() {
        let (ab, bc, c) = (only(&["b", "a"]), only(&["b", "c"]), only(&["c"]));
        assert!(ab.meets(&bc) && !ab.meets(&c) && c.within(&bc) && !bc.within(&c));
        assert!(ab.within(&Audience::Everywhere) && !Audience::Everywhere.within(&ab));
        assert!(Audience::Everywhere.meets(&c));
    }
}
