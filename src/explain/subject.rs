//! A workload with the policies that documents give it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use authz::{MtlsMode, MtlsModes, PolicySet};
use dataplane::checked::{self, Checked};
use policies::diagnostic::{Diagnostic, render};
use policies::load::Loader;
use policies::source::SourceFile;
use policies::workload::Workload;

use super::args::Request;
use crate::cli::Dir;
use crate::directory::MeshDir;
use crate::exit::Failure;
use crate::inputs;
use crate::mesh_set::{Readers, edge, mesh};
use crate::services;
use crate::terminal;

/// Who is called, and by which policies it judges.
pub(crate) struct Subject {
    pub(crate) workload: Workload,
    pub(crate) policies: PolicySet,
    pub(crate) mtls: Option<MtlsModes>,
    pub(crate) checked: Checked,
}

impl Subject {
    /// Reads the documents that are named, or the mesh's, and compiles the policies of the workload that is called.
    pub(crate) fn read(dir: &Dir, request: &Request) -> Result<Self, Failure> {
        let mut files = inputs::read(&paths(dir, &request.files)?)?;
        if request.files.is_empty() {
            files = services::with_registered(&MeshDir::resolve(dir)?, &files);
        }
        let mut checked = checked::check(&mut Loader::default(), &files, &mesh());
        // A service that is declared elsewhere changes nothing about who may.
        checked
            .diagnostics
            .retain(|finding| !finding.code.is_open_reference());
        if checked.has_errors() {
            return Err(refused(&checked, &files));
        }
        let workload = workload(request, &checked);
        let is_gateway = workload.labels.contains_key("istio");
        Ok(Self {
            policies: PolicySet::compile(&checked.documents, &workload, &checked.mesh),
            mtls: (!is_gateway)
                .then(|| MtlsModes::compile(&checked.documents, &workload, &checked.mesh)),
            workload,
            checked,
        })
    }

    /// Whether the port takes mutual TLS alone, so that a caller without identity does not get in at all.
    pub(crate) fn demands_mtls(&self, port: u16) -> bool {
        let mode = self.mtls.as_ref().map(|modes| modes.for_port(port));
        mode == Some(MtlsMode::Strict)
    }

    /// `namespace/name`.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.workload.namespace, self.workload.name)
    }
}

fn refused(checked: &Checked, files: &[SourceFile]) -> Failure {
    let errors: Vec<Diagnostic> = checked
        .diagnostics
        .iter()
        .filter(|finding| finding.is_error())
        .cloned()
        .collect();
    terminal::note(render(&errors, files).trim_end());
    Failure::usage("the documents have errors, so no proxy would judge by them")
}

/// What is named, or the documents of the mesh whether it runs or not.
fn paths(dir: &Dir, named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let dir = MeshDir::resolve(dir)?;
    if dir.policies().is_dir() {
        let roots = Readers::Proxies.roots(&dir);
        return Ok(roots.into_iter().filter(|root| root.is_dir()).collect());
    }
    Err(
        Failure::unreachable(format!("there is no mesh in `{}`", dir.root().display()))
            .hint("name the files or directories with the documents by -f"),
    )
}

/// The workload that is called: the usual gateway, one that a WorkloadEntry declares, or one with the label `app`.
fn workload(request: &Request, checked: &Checked) -> Workload {
    let (namespace, name) = request.target();
    let entries = &checked.documents.workload_entries;
    let named = |whole: bool| {
        entries.iter().find(|entry| {
            let app = entry.spec.labels.get("app").map(String::as_str);
            entry.meta.namespace == namespace
                && (entry.meta.name == name || (!whole && app == Some(name)))
        })
    };
    let mut workload = if request.to.as_deref() == Some("gateway") {
        edge()
    } else if let Some(entry) = named(true).or_else(|| named(false)) {
        Workload {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            service_account: name.to_owned(),
            labels: entry.spec.labels.clone(),
        }
    } else {
        Workload {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            service_account: name.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
        }
    };
    for label in &request.labels {
        let (key, value) = (label.key.clone(), label.value.clone());
        workload.labels.insert(key, value);
    }
    workload
}
