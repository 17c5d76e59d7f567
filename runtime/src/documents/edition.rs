//! The name of a document set's content: the same files have the same id, wherever they are mounted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use policies::source::SourceFile;
use serde::{Serialize, Serializer};

/// What the hash begins with; another way of hashing needs another word.
const DOMAIN: &[u8] = b"portcullis document set 1\0";

/// One complete document set, and the id of exactly this content.
#[derive(Clone, Debug, Default)]
pub struct Edition {
    /// Depends on the names of the files below their root and on their contents; on nothing else.
    pub id: EditionId,
    /// Sorted by path.
    pub files: Vec<SourceFile>,
}

/// Identifies the content of a document set: 128 bits of a SHA-256.
///
/// Every process that reads the same files has the same id, whatever paths it reaches them by. So whoever changes the
/// files can compute the id and wait until each process has it in force, or refuses it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EditionId([u8; 16]);

impl Edition {
    /// The edition of files that were found below these paths.
    pub(super) fn below(paths: &[PathBuf], files: Vec<SourceFile>) -> Self {
        Self {
            id: EditionId::of(paths, &files),
            files,
        }
    }
}

/// Files without a root: their names count as they are.
impl From<Vec<SourceFile>> for Edition {
    fn from(files: Vec<SourceFile>) -> Self {
        Self::below(&[], files)
    }
}

impl EditionId {
    /// The id of files that stand below these roots; a file outside of all of them counts with its whole name.
    pub fn of(roots: &[PathBuf], files: &[SourceFile]) -> Self {
        let mut named: Vec<(String, [u8; 32])> = files
            .iter()
            .map(|file| (relative(roots, &file.name), sha256(file.text.as_bytes())))
            .collect();
        // Roots may be listed in any order, so the order of paths says nothing.
        named.sort_unstable();
        let mut hash = Context::new(&SHA256);
        hash.update(DOMAIN);
        for (name, content) in &named {
            // Lengths keep two names from reading like one.
            hash.update(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(name.as_bytes());
            hash.update(content);
        }
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
        Self(id)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    hash
}

/// The name below the nearest root; a file that is a root itself keeps its own name.
fn relative(roots: &[PathBuf], name: &Arc<str>) -> String {
    let path = Path::new(&**name);
    let nearest = roots
        .iter()
        .filter_map(|root| path.strip_prefix(root).ok())
        .min_by_key(|below| below.as_os_str().len());
    let below = match nearest {
        Some(below) if below.as_os_str().is_empty() => path.file_name().map(Path::new),
        other => other,
    };
    below.unwrap_or(path).to_string_lossy().into_owned()
}

impl fmt::Display for EditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EditionId({self})")
    }
}

/// As 32 hexadecimal digits.
impl Serialize for EditionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(named: &[(&str, &str)]) -> Vec<SourceFile> {
        named
            .iter()
            .map(|(name, text)| SourceFile::new(*name, *text))
            .collect()
    }

    fn id(roots: &[&str], named: &[(&str, &str)]) -> EditionId {
        let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
        EditionId::of(&roots, &files(named))
    }

    #[test]
    fn the_same_content_has_the_same_id_wherever_it_stands() {
        let here = id(
            &["/a/policies", "/a/more"],
            &[("/a/more/x.yaml", "1"), ("/a/policies/d/y.yaml", "2")],
        );
        let there = id(
            &["/b/more", "/b/policies"],
            &[("/b/policies/d/y.yaml", "2"), ("/b/more/x.yaml", "1")],
        );
        assert_eq!(here, there);
        assert_eq!(here.to_string().len(), 32);
        assert_eq!(
            id(&["/a/x.yaml"], &[("/a/x.yaml", "1")]),
            id(&["/b"], &[("/b/x.yaml", "1")])
        );
    }

    #[test]
    fn another_name_or_content_has_another_id() {
        let ids = [
            id(&["/a"], &[]),
            id(&["/a"], &[("/a/x.yaml", "")]),
            id(&["/a"], &[("/a/x.yaml", "1")]),
            id(&["/a"], &[("/a/x.yaml", "2")]),
            id(&["/a"], &[("/a/y.yaml", "1")]),
            id(&["/a"], &[("/a/d/x.yaml", "1")]),
            id(&["/a"], &[("/a/x.yaml", "1"), ("/a/y.yaml", "1")]),
            id(&["/a", "/a/d"], &[("/a/x.yaml", "1"), ("/a/d/x.yaml", "1")]),
        ];
        for (position, one) in ids.iter().enumerate() {
            for other in ids.iter().skip(position + 1) {
                assert_ne!(one, other);
            }
        }
    }
}
