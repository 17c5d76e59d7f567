//! The document sets of a mesh's directory: what the proxies read and what the CA reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use identity::TrustDomain;
use policies::diagnostic::Diagnostic;
use policies::load::Loader;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use runtime::documents::{DocumentSource, Edition};

use crate::directory::MeshDir;
use crate::exit::{Context as _, Failure};
use crate::names::{DEFAULT_NAMESPACE, TRUST_DOMAIN};

/// Which processes read a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readers {
    /// The gateway and every sidecar.
    Proxies,
    /// The CA, which reads the registration entries.
    Ca,
}

impl Readers {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Proxies, Self::Ca];

    /// Who reads documents of a kind.
    pub(crate) fn of_kind(kind: &str) -> Self {
        if kind == "RegistrationEntry" {
            Self::Ca
        } else {
            Self::Proxies
        }
    }

    /// Where the user's documents stand.
    pub(crate) fn own(self, dir: &MeshDir) -> PathBuf {
        match self {
            Self::Proxies => dir.policies(),
            Self::Ca => dir.entries(),
        }
    }

    /// Where `run` writes documents, if it does.
    pub(crate) fn generated(self, dir: &MeshDir) -> Option<PathBuf> {
        match self {
            Self::Proxies => None,
            Self::Ca => Some(dir.run_entries()),
        }
    }

    /// Every directory with their documents.
    pub(crate) fn roots(self, dir: &MeshDir) -> Vec<PathBuf> {
        let mut roots = vec![self.own(dir)];
        roots.extend(self.generated(dir));
        roots
    }

    /// Reads the set as it is now.
    pub(crate) fn read(self, dir: &MeshDir) -> Result<Edition, Failure> {
        DocumentSource::new(self.roots(dir))
            .read_edition()
            .context(|| "cannot read the mesh's documents".to_owned())
    }

    /// Every finding about a set, as its readers would report it; `registered` is what stands in the registry beside it.
    pub(crate) fn check(self, files: &[SourceFile], registered: &[SourceFile]) -> Vec<Diagnostic> {
        match self {
            Self::Proxies => {
                let mut findings = check_policies(&[files, registered].concat());
                // Where a file and the registry declare the same thing, the file wins.
                findings.retain(|finding| !registered.iter().any(|r| r.name == finding.at.file));
                findings
            }
            Self::Ca => match TrustDomain::parse(TRUST_DOMAIN) {
                Ok(domain) => ca::entries::read(files, &domain).1,
                Err(_) => Vec::new(),
            },
        }
    }
}

/// The settings of every process that `up` and `run` start.
pub(crate) fn mesh() -> Mesh {
    Mesh {
        trust_domain: TRUST_DOMAIN.to_owned(),
        default_namespace: DEFAULT_NAMESPACE.to_owned(),
        ..Mesh::default()
    }
}

/// The workload that a gateway is unless its file says otherwise.
pub(crate) fn edge() -> Workload {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Workload {
        name: "istio-ingressgateway".to_owned(),
        namespace: "istio-system".to_owned(),
        service_account: "istio-ingressgateway".to_owned(),
        labels: BTreeMap::from([
            label("app", "istio-ingressgateway"),
            label("istio", "ingressgateway"),
        ]),
    }
}

/// What every proxy says about a set, and advice.
fn check_policies(files: &[SourceFile]) -> Vec<Diagnostic> {
    let checked = dataplane::checked::check(&mut Loader::default(), files, &mesh());
    let advice = if checked.has_errors() {
        Vec::new()
    } else {
        checked.advice()
    };
    checked.diagnostics.into_iter().chain(advice).collect()
}

/// A path below the mesh's directory, as short as it can be said.
pub(crate) fn shown<'a>(dir: &MeshDir, path: &'a Path) -> std::path::Display<'a> {
    path.strip_prefix(dir.root()).unwrap_or(path).display()
}
