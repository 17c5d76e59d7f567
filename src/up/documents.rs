//! The demo's documents: copied into the mesh's directory once, and the user's from then on.

use std::fs;
use std::path::Path;

use crate::directory::{self, MeshDir, private_dir};
use crate::exit::{Context as _, Failure};

/// What every mesh begins with.
const MESH_POLICIES: &[(&str, &str)] = &[
    (
        "gateway.yaml",
        include_str!("../../deploy/demo/policies/gateway.yaml"),
    ),
    (
        "peer-authentication.yaml",
        include_str!("../../deploy/demo/policies/peer-authentication.yaml"),
    ),
];
const MESH_ENTRIES: &[(&str, &str)] = &[(
    "gateway.yaml",
    include_str!("../../deploy/demo/entries/gateway.yaml"),
)];

/// What the demo adds.
const DEMO_POLICIES: &[(&str, &str)] = &[
    (
        "services.yaml",
        include_str!("../../deploy/demo/policies/services.yaml"),
    ),
    (
        "virtual-services.yaml",
        include_str!("../../deploy/demo/policies/virtual-services.yaml"),
    ),
    (
        "destination-rules.yaml",
        include_str!("../../deploy/demo/policies/destination-rules.yaml"),
    ),
    (
        "authorization.yaml",
        include_str!("../../deploy/demo/policies/authorization.yaml"),
    ),
    (
        "resilience-policies/circuit-breaker.yaml",
        include_str!("../../deploy/demo/policies/resilience-policies/circuit-breaker.yaml"),
    ),
    (
        "resilience-policies/retry-timeout.yaml",
        include_str!("../../deploy/demo/policies/resilience-policies/retry-timeout.yaml"),
    ),
];
const DEMO_ENTRIES: &[(&str, &str)] = &[(
    "services.yaml",
    include_str!("../../deploy/demo/entries/services.yaml"),
)];

/// Whether the demo services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demo {
    /// They do.
    With,
    /// The mesh is CA and gateway only.
    Without,
}

/// Lays out the directory; each set of documents is copied the first time it is needed and never again.
pub(crate) fn lay_out(dir: &MeshDir, demo: Demo) -> Result<(), Failure> {
    let ours = [
        dir.ca(),
        dir.registry(),
        dir.gateway(),
        dir.runs(),
        dir.run_entries(),
        dir.logs(),
    ];
    for path in ours.iter().chain([&dir.workload("")]) {
        private_dir(path).context(|| format!("cannot make `{}`", path.display()))?;
    }
    copy_once(&dir.policies().join("mesh"), MESH_POLICIES)?;
    copy_once(&dir.entries().join("mesh"), MESH_ENTRIES)?;
    if demo == Demo::With {
        copy_once(&dir.policies().join("demo"), DEMO_POLICIES)?;
        copy_once(&dir.entries().join("demo"), DEMO_ENTRIES)?;
    }
    Ok(())
}

/// A directory that exists is the user's, whatever is in it or is not any more.
fn copy_once(target: &Path, files: &[(&str, &str)]) -> Result<(), Failure> {
    if target.exists() {
        return Ok(());
    }
    // Complete or not there at all, also when this process is stopped half-way.
    let mut new = target.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let copy = || {
        if new.exists() {
            fs::remove_dir_all(new)?;
        }
        private_dir(new)?;
        for (name, text) in files {
            let path = new.join(name);
            if let Some(parent) = path.parent() {
                private_dir(parent)?;
            }
            directory::write_whole(&path, text)?;
        }
        fs::rename(new, target)
    };
    copy().context(|| format!("cannot write `{}`", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Dir;

    #[test]
    fn the_documents_load_without_a_word() {
        use policies::source::SourceFile;
        let id = "spiffe://cluster.local/ns/my-app/sa/billing";
        let entry = crate::entries::entry("billing", "my-app", id);
        let generated = crate::entries::file("Written by a test", &entry);
        let embedded = [MESH_POLICIES, MESH_ENTRIES, DEMO_POLICIES, DEMO_ENTRIES].concat();
        let files: Vec<SourceFile> = embedded
            .into_iter()
            .chain([("generated.yaml", generated.as_str())])
            .map(|(name, text)| SourceFile {
                name: name.into(),
                text: text.into(),
            })
            .collect();
        let loaded = policies::load::load(&files, &policies::mesh::Mesh::default());
        let words: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(words.is_empty(), "{}", words.join("\n"));
        assert_eq!(loaded.documents.virtual_services.len(), 6);
        assert_eq!(loaded.documents.service_entries.len(), 5);
    }

    #[test]
    fn edits_and_removals_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let dir = MeshDir::resolve(&Dir {
            dir: Some(temp.path().join("mesh")),
        })
        .unwrap();
        dir.open().unwrap();
        lay_out(&dir, Demo::Without).unwrap();
        assert!(!dir.policies().join("demo").exists());
        lay_out(&dir, Demo::With).unwrap();
        let edited = dir.policies().join("demo/virtual-services.yaml");
        let removed = dir.policies().join("demo/authorization.yaml");
        fs::write(&edited, "# mine\n").unwrap();
        fs::remove_file(&removed).unwrap();
        lay_out(&dir, Demo::With).unwrap();
        assert_eq!(fs::read_to_string(&edited).unwrap(), "# mine\n");
        assert!(!removed.exists());
    }
}
