//! Which files have to change, and to what, so that some documents stand in a set or stand there no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::raw::{self, Edit, Identity, RawDocument};
use policies::source::SourceFile;
use runtime::documents::Edition;

use crate::directory::MeshDir;
use crate::exit::Failure;
use crate::mesh_set::{Readers, shown};
use crate::names::DEFAULT_NAMESPACE;

/// Where documents go that stand nowhere yet, below the user's directory.
const APPLIED: &str = "applied";

/// A document that is to be in force.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What it is called.
    pub(crate) identity: Identity,
    /// Its lines.
    pub(crate) text: String,
    /// What they say, without `status`.
    pub(crate) value: serde_json::Value,
}

/// What becomes of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What it is called.
    pub(crate) identity: Identity,
    /// What happens.
    pub(crate) what: What,
    /// In which file.
    pub(crate) file: PathBuf,
}

/// What happens to a document, in kubectl's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It stood nowhere.
    Created,
    /// It says something else now.
    Configured,
    /// It said the same already.
    Unchanged,
    /// It stands there no more.
    Deleted,
}

impl What {
    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// A change of one or both sets of a mesh.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Every document that was asked for.
    pub(crate) changes: Vec<Change>,
    /// The sets with files to change.
    pub(crate) sets: Vec<SetPlan>,
    /// What that does, where it is more than documents that change.
    pub(crate) effect: Effect,
}

/// What a change does, in the words of the verb that makes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Effect {
    /// For people; ends with a line break if there is any.
    pub(crate) text: String,
    /// For programs, beside what every change says.
    pub(crate) json: serde_json::Map<String, serde_json::Value>,
}

/// A change of one set.
#[derive(Debug)]
pub(crate) struct SetPlan {
    /// Whose set it is.
    pub(crate) readers: Readers,
    /// The set as it was read.
    pub(crate) before: Edition,
    /// The new text of each file that changes; none where the file goes.
    pub(crate) files: BTreeMap<PathBuf, Option<String>>,
}

impl Plan {
    /// Whether no file has to change.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

impl SetPlan {
    /// The set after the change.
    pub(crate) fn after(&self) -> Vec<SourceFile> {
        let kept = self.before.files.iter();
        let kept = kept.filter(|file| !self.files.contains_key(Path::new(&*file.name)));
        let new = self.files.iter().filter_map(|(path, text)| {
            Some(SourceFile::new(path.to_string_lossy(), text.as_deref()?))
        });
        let mut after: Vec<SourceFile> = kept.cloned().chain(new).collect();
        after.sort_by(|a, b| a.name.cmp(&b.name));
        after
    }

    /// The text of a file before the change.
    pub(crate) fn text_before(&self, path: &Path) -> Option<&Arc<str>> {
        let file = self.before.files.iter();
        let mut file = file.filter(|file| Path::new(&*file.name) == path);
        file.next().map(|file| &file.text)
    }
}

impl Wanted {
    /// The documents of some files that a mesh has a place for; names those that it has not.
    pub(crate) fn of(
        files: &[SourceFile],
        namespace: Option<&str>,
    ) -> Result<(Vec<Self>, Vec<String>), Failure> {
        let texts: BTreeMap<&str, &str> = files
            .iter()
            .map(|file| (&*file.name, &*file.text))
            .collect();
        let mut wanted: Vec<Self> = Vec::new();
        let mut skipped = Vec::new();
        for document in raw::documents(files) {
            let identity = document.identity(namespace.unwrap_or(DEFAULT_NAMESPACE));
            if !is_ours(&document) {
                skipped.push(format!("{} `{}`", document.kind, document.name));
                continue;
            }
            if let Some(asked) = namespace
                && document
                    .namespace
                    .as_deref()
                    .is_some_and(|own| own != asked)
            {
                return Err(Failure::usage(format!(
                    "{identity} at {} is not of the namespace `{asked}` that -n names",
                    document.at
                )));
            }
            if let Some(twice) = wanted.iter().find(|known| known.identity == identity) {
                return Err(Failure::usage(format!(
                    "{} stands twice in what is applied, again at {}",
                    twice.identity, document.at
                )));
            }
            wanted.push(Self::new(&document, identity, &texts, namespace));
        }
        Ok((wanted, skipped))
    }

    fn new(
        document: &RawDocument,
        identity: Identity,
        texts: &BTreeMap<&str, &str>,
        namespace: Option<&str>,
    ) -> Self {
        let mut value = document.value.clone();
        let mut rewritten = false;
        if let Some(fields) = value.as_object_mut() {
            // What a server or `portcullis get` says about a document is no part of it.
            rewritten |= fields.remove("status").is_some();
            if let Some(namespace) = namespace.filter(|_| document.namespace.is_none())
                && let Some(metadata) = fields.get_mut("metadata").and_then(|m| m.as_object_mut())
            {
                metadata.insert("namespace".to_owned(), namespace.into());
                rewritten = true;
            }
        }
        let own = document.extent.filter(|_| !rewritten);
        let own = own.and_then(|extent| Some((extent, texts.get(&*document.at.file)?)));
        Self {
            text: own.map_or_else(
                || raw::to_yaml(&value),
                |(extent, text)| raw::extract(text, extent),
            ),
            identity,
            value,
        }
    }
}

/// Whether a mesh reads documents of this group at all.
fn is_ours(document: &RawDocument) -> bool {
    let group = document.group();
    group == "portcullis.dev"
        || group.ends_with(".istio.io")
        || (group.is_empty() && document.kind == "Namespace")
}

/// The documents of one set by what they are called, and the edits that are to be made.
struct Desk<'a> {
    dir: &'a MeshDir,
    readers: Readers,
    before: Edition,
    known: BTreeMap<Identity, RawDocument>,
    edits: BTreeMap<PathBuf, Vec<Edit>>,
    new: BTreeMap<PathBuf, Vec<String>>,
}

impl<'a> Desk<'a> {
    fn open(dir: &'a MeshDir, readers: Readers) -> Result<Self, Failure> {
        let before = readers.read(dir)?;
        let known = raw::documents(&before.files)
            .into_iter()
            .map(|document| (document.identity(DEFAULT_NAMESPACE), document))
            .collect();
        Ok(Self {
            dir,
            readers,
            before,
            known,
            edits: BTreeMap::new(),
            new: BTreeMap::new(),
        })
    }

    fn put(&mut self, wanted: &Wanted) -> Result<Change, Failure> {
        let identity = wanted.identity.clone();
        let Some(standing) = self.known.get(&identity) else {
            let root = self.readers.own(self.dir);
            let file = root.join(APPLIED).join(file_name(&identity));
            let texts = self.new.entry(file.clone()).or_default();
            texts.push(wanted.text.clone());
            return Ok(Change {
                identity,
                what: What::Created,
                file,
            });
        };
        let file = PathBuf::from(&*standing.at.file);
        let mut value = standing.value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        if value == wanted.value {
            return Ok(Change {
                identity,
                what: What::Unchanged,
                file,
            });
        }
        let extent = self.editable(standing)?;
        let edit = Edit::Replace(extent, wanted.text.clone());
        self.edits.entry(file.clone()).or_default().push(edit);
        Ok(Change {
            identity,
            what: What::Configured,
            file,
        })
    }

    fn remove(&mut self, identity: &Identity) -> Result<Option<Change>, Failure> {
        let Some(standing) = self.known.get(identity) else {
            return Ok(None);
        };
        let file = PathBuf::from(&*standing.at.file);
        let edit = Edit::Remove(self.editable(standing)?);
        self.edits.entry(file.clone()).or_default().push(edit);
        Ok(Some(Change {
            identity: identity.clone(),
            what: What::Deleted,
            file,
        }))
    }

    /// The lines of a document that may be changed.
    fn editable(&self, standing: &RawDocument) -> Result<raw::Extent, Failure> {
        let identity = standing.identity(DEFAULT_NAMESPACE);
        let generated = self.readers.generated(self.dir);
        if generated.is_some_and(|root| Path::new(&*standing.at.file).starts_with(root)) {
            return Err(Failure::new(format!(
                "{identity} is written by `portcullis up` and `run` themselves ({})",
                standing.at
            )));
        }
        standing.extent.ok_or_else(|| {
            Failure::new(format!(
                "{identity} is part of a `kind: List` at {}",
                standing.at
            ))
            .hint("write the items of the list as documents of their own, with `---` between them")
        })
    }

    fn close(self) -> Option<SetPlan> {
        let mut files = BTreeMap::new();
        let text_of = |path: &Path| {
            let mut files = self.before.files.iter();
            let file = files.find(|file| Path::new(&*file.name) == path);
            file.map(|file| &*file.text)
        };
        for (path, edits) in &self.edits {
            let after = raw::change(text_of(path).unwrap_or_default(), edits);
            files.insert(path.clone(), Some(after));
        }
        for (path, texts) in &self.new {
            let standing = files.remove(path).flatten();
            let standing = standing.or_else(|| text_of(path).map(str::to_owned));
            let parts = standing.iter().chain(texts).map(|text| text.trim_end());
            let mut after = parts.collect::<Vec<_>>().join("\n---\n");
            after.push('\n');
            files.insert(path.clone(), Some(after));
        }
        for (path, after) in &mut files {
            let ours = path
                .parent()
                .is_some_and(|parent| parent.ends_with(APPLIED));
            let says_something =
                |line: &str| !(line.is_empty() || line == "---" || (ours && line.starts_with('#')));
            if after
                .as_ref()
                .is_some_and(|after| !after.lines().map(str::trim).any(says_something))
            {
                *after = None;
            }
        }
        (!files.is_empty()).then_some(SetPlan {
            readers: self.readers,
            before: self.before,
            files,
        })
    }
}

/// A name that says what is in the file; names of Kubernetes have no other characters.
fn file_name(identity: &Identity) -> String {
    let Identity {
        kind,
        namespace,
        name,
        ..
    } = identity;
    format!("{}-{namespace}-{name}.yaml", kind.to_lowercase())
}

/// Makes documents stand in the mesh.
pub(crate) fn apply(dir: &MeshDir, wanted: &[Wanted]) -> Result<Plan, Failure> {
    let mut plan = Plan {
        changes: Vec::new(),
        sets: Vec::new(),
        effect: Effect::default(),
    };
    for readers in Readers::ALL {
        let ours = |wanted: &&Wanted| Readers::of_kind(&wanted.identity.kind) == readers;
        let mut wanted = wanted.iter().filter(ours).peekable();
        if wanted.peek().is_none() {
            continue;
        }
        let mut desk = Desk::open(dir, readers)?;
        for wanted in wanted {
            plan.changes.push(desk.put(wanted)?);
        }
        plan.sets.extend(desk.close());
    }
    Ok(plan)
}

/// Takes documents out of the mesh.
pub(crate) fn delete(
    dir: &MeshDir,
    identities: &BTreeSet<Identity>,
    missing: Missing,
) -> Result<Plan, Failure> {
    let mut plan = Plan {
        changes: Vec::new(),
        sets: Vec::new(),
        effect: Effect::default(),
    };
    for readers in Readers::ALL {
        let ours = |identity: &&Identity| Readers::of_kind(&identity.kind) == readers;
        let mut identities = identities.iter().filter(ours).peekable();
        if identities.peek().is_none() {
            continue;
        }
        let mut desk = Desk::open(dir, readers)?;
        for identity in identities {
            match desk.remove(identity)? {
                Some(change) => plan.changes.push(change),
                None if missing == Missing::Fine => {}
                None => return Err(not_there(&desk, identity)),
            }
        }
        plan.sets.extend(desk.close());
    }
    Ok(plan)
}

/// What it means that a document to delete is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// That is what was wanted.
    Fine,
    /// Somebody mistyped its name.
    Wrong,
}

fn not_there(desk: &Desk<'_>, identity: &Identity) -> Failure {
    let failure = Failure::new(format!("there is no {identity}"));
    let same = desk.known.iter();
    let mut same =
        same.filter(|(known, _)| known.kind == identity.kind && known.name == identity.name);
    match same.next() {
        Some((known, document)) => failure.hint(format!(
            "there is one in the namespace `{}` ({}): use -n {}",
            known.namespace,
            shown(desk.dir, Path::new(&*document.at.file)),
            known.namespace
        )),
        None => failure,
    }
}

#[cfg(test)]
mod tests;
