//! PeerAuthentication: how strictly peers prove who they are, port by port.

use std::{fmt, sync::Arc};

use policies::{
    diagnostic::Diagnostic,
    document::{DocumentSet, PeerAuthentication, PeerAuthenticationMode, Spanned},
    mesh::Mesh,
    workload::Workload,
};

use crate::{codes, dry_run};

/// What a workload's port takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MtlsMode {
    /// TLS with a client certificate of the mesh; everything else is closed without an answer.
    Strict,
    /// Both; the default without any PeerAuthentication (Istio).
    Permissive,
    /// Plaintext only.
    Disable,
}

impl MtlsMode {
    /// As written in `mode:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "STRICT",
            Self::Permissive => "PERMISSIVE",
            Self::Disable => "DISABLE",
        }
    }
}

impl fmt::Display for MtlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The modes of one workload, resolved over mesh, namespace, workload and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MtlsModes {
    workload: MtlsMode,
    /// Sorted by port.
    ports: Box<[(u16, MtlsMode)]>,
}

impl Default for MtlsModes {
    /// PERMISSIVE everywhere: no PeerAuthentication.
    fn default() -> Self {
        Self {
            workload: MtlsMode::Permissive,
            ports: Box::default(),
        }
    }
}

impl MtlsModes {
    /// Resolves the PeerAuthentications that concern the workload, from a set in which
    /// [`check`](crate::check::check) found no error.
    ///
    /// Where several stand on one level Istio takes the oldest; documents in files have no age, so the first in the
    /// order of (file, position) counts. Should a document have an error nevertheless, every port is STRICT.
    pub fn compile(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Self {
        let refused = |policy: &Arc<PeerAuthentication>| {
            findings_of(policy, mesh).iter().any(Diagnostic::is_error)
        };
        if documents.peer_authentications.iter().any(refused) {
            return Self {
                workload: MtlsMode::Strict,
                ports: Box::default(),
            };
        }

        let mut levels: [Option<&Arc<PeerAuthentication>>; 3] = [None; 3];
        for policy in &documents.peer_authentications {
            let Some(level) = level_for(policy, workload, mesh) else {
                continue;
            };
            let [of_mesh, of_namespace, of_workload] = &mut levels;
            let slot = match level {
                Level::Mesh => of_mesh,
                Level::Namespace => of_namespace,
                Level::Workload => of_workload,
            };
            slot.get_or_insert(policy);
        }

        let mut mode = MtlsMode::Permissive;
        for policy in levels.iter().flatten() {
            mode = resolve(policy.mode.as_ref(), mode);
        }
        let [_, _, of_workload] = levels;
        let ports = of_workload.map(|policy| {
            policy
                .port_level
                .iter()
                .map(|(port, own)| (*port, resolve(Some(own), mode)))
                .collect()
        });
        Self {
            workload: mode,
            ports: ports.unwrap_or_default(),
        }
    }

    /// The mode of a workload port: the port of the application, not of a service in front of it.
    pub fn for_port(&self, workload_port: u16) -> MtlsMode {
        let found = self
            .ports
            .binary_search_by_key(&workload_port, |(port, _)| *port);
        found
            .ok()
            .and_then(|at| self.ports.get(at))
            .map_or(self.workload, |(_, mode)| *mode)
    }

    /// The ports with a mode of their own, ascending.
    pub fn ports(&self) -> impl Iterator<Item = (u16, MtlsMode)> {
        self.ports.iter().copied()
    }

    /// The mode of every port without one of its own.
    pub const fn for_workload(&self) -> MtlsMode {
        self.workload
    }
}

/// The PeerAuthentication that gives a port its mode; none where nobody says anything and PERMISSIVE holds.
pub(crate) fn decided_by<'a>(
    documents: &'a DocumentSet,
    workload: &Workload,
    mesh: &Mesh,
    port: u16,
) -> Option<&'a Arc<PeerAuthentication>> {
    let of_level = |wanted: Level| {
        let mut policies = documents.peer_authentications.iter();
        policies.find(|policy| level_for(policy, workload, mesh) == Some(wanted))
    };
    let says = |mode: &Spanned<PeerAuthenticationMode>| mode.value != PeerAuthenticationMode::Unset;
    let narrow = of_level(Level::Workload);
    let of_port = narrow.filter(|policy| policy.port_level.get(&port).is_some_and(says));
    let levels = [narrow, of_level(Level::Namespace), of_level(Level::Mesh)];
    let mut levels = levels.into_iter().flatten();
    of_port.or_else(|| levels.find(|policy| policy.mode.as_ref().is_some_and(says)))
}

/// How wide a PeerAuthentication reaches, from wide to narrow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Mesh,
    Namespace,
    Workload,
}

fn level_for(policy: &PeerAuthentication, workload: &Workload, mesh: &Mesh) -> Option<Level> {
    let selector = policy
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty());
    if policy.meta.namespace == mesh.root_namespace {
        // A selector in the root namespace was refused by `check`.
        return selector.is_none().then_some(Level::Mesh);
    }
    if policy.meta.namespace != workload.namespace {
        return None;
    }
    match selector {
        None => Some(Level::Namespace),
        Some(selector) => selector
            .matches(&workload.labels)
            .then_some(Level::Workload),
    }
}

fn resolve(mode: Option<&Spanned<PeerAuthenticationMode>>, inherited: MtlsMode) -> MtlsMode {
    match mode.map(|mode| mode.value) {
        Some(PeerAuthenticationMode::Strict) => MtlsMode::Strict,
        Some(PeerAuthenticationMode::Permissive) => MtlsMode::Permissive,
        Some(PeerAuthenticationMode::Disable) => MtlsMode::Disable,
        Some(PeerAuthenticationMode::Unset) | None => inherited,
    }
}

/// What Istio would leave without effect is refused: the author believes that it protects something.
pub(crate) fn findings_of(policy: &PeerAuthentication, mesh: &Mesh) -> Vec<Diagnostic> {
    let meta = &policy.meta;
    let mut found: Vec<Diagnostic> = dry_run::out_of_place(meta).into_iter().collect();
    let selector = policy
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty());
    if selector.is_some() && meta.namespace == mesh.root_namespace {
        let message = format!(
            "{meta} selects workloads from the root namespace, where a selector has no effect"
        );
        let help = "move it to the namespace of the workloads, or remove the selector to mean the whole mesh";
        found.push(
            Diagnostic::error(
                codes::ROOT_SELECTOR_WITHOUT_EFFECT,
                meta.at.clone(),
                "spec.selector",
                message,
            )
            .with_help(help),
        );
    }
    found
}
