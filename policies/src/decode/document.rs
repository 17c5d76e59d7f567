//! From a YAML tree to a document of its kind.

use std::sync::Arc;

use super::kinds::{self, Class};
use super::metadata::metadata;
use super::operator::operator;
use super::recorder::record;
use super::{Context, Cursor, Fields, Paths, Regexes, RegexesOfFile, Standing, hints};
use crate::diagnostic::{Diagnostic, DocPath, Fix, codes};
use crate::document::rate_limit::envoy_filter;
use crate::document::{DocumentSet, Kind, Meta};
use crate::mesh::Mesh;
use crate::nearest::{nearest, only_near};
use crate::schema::Shape;
use crate::source::SourceFile;
use crate::yaml::{Node, Value, documents, shortened};

/// A kind whose `spec` can be read.
pub(crate) trait Document: Sized {
    /// Whether its documents have an effect.
    const STANDING: Standing = Standing::InForce;

    /// Reads the fields of `spec`.
    fn spec(meta: Meta, spec: &mut Fields<'_>) -> Option<Self>;
}

/// What the files of a load share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) paths: Paths,
    pub(crate) regexes: Regexes,
}

/// What one source text holds.
#[derive(Debug, Default)]
pub(crate) struct OfFile {
    /// The documents without errors.
    pub(crate) documents: DocumentSet,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) regexes: RegexesOfFile,
}

/// Reads every document of a source text.
pub(crate) fn file(file: &SourceFile, mesh: &Mesh, shared: &Shared) -> OfFile {
    let mut set = DocumentSet::default();
    let mut diagnostics = Vec::new();
    let context = Context::new(&file.name, &file.text, mesh, shared);
    // One tree at a time: a tree is many times as large as its text.
    documents(file, &mut diagnostics, |node| {
        if context.findings.is_full() {
            return;
        }
        let cursor = Cursor {
            context: &context,
            node,
            path: DocPath::root(),
            key: node.position,
            key_end: node.position,
        };
        document(&cursor, &mut set);
    });
    diagnostics.append(&mut context.findings.into_diagnostics(&file.name));
    OfFile {
        documents: set,
        diagnostics,
        regexes: context.regexes.into_inner(),
    }
}

/// Reads documents that stand within another document of a source text.
pub(crate) fn nodes<'a>(
    file: &SourceFile,
    nodes: impl Iterator<Item = &'a Node>,
    mesh: &Mesh,
    shared: &Shared,
) -> OfFile {
    let mut set = DocumentSet::default();
    let context = Context::new(&file.name, &file.text, mesh, shared);
    for node in nodes {
        let cursor = Cursor {
            context: &context,
            node,
            path: DocPath::root(),
            key: node.position,
            key_end: node.position,
        };
        document(&cursor, &mut set);
    }
    OfFile {
        documents: set,
        diagnostics: context.findings.into_diagnostics(&file.name),
        regexes: context.regexes.into_inner(),
    }
}

fn document(cursor: &Cursor<'_>, set: &mut DocumentSet) {
    let Value::Mapping(entries) = &cursor.node.value else {
        let message = format!(
            "expected a document with `apiVersion` and `kind`, found {}",
            cursor.node.describe()
        );
        cursor.error(codes::NOT_A_DOCUMENT, message, None);
        return;
    };
    let text = |name: &str| {
        let entry = entries.iter().find(|entry| &*entry.key == name)?;
        match &entry.value.value {
            Value::Scalar { text, .. } if !entry.value.is_null() => Some((text, entry)),
            _ => None,
        }
    };
    let (Some((api_version, version)), Some((kind, entry))) = (text("apiVersion"), text("kind"))
    else {
        let missing = match (text("apiVersion"), text("kind")) {
            (None, None) => "`apiVersion` and `kind` are missing",
            (None, _) => "`apiVersion` is missing",
            _ => "`kind` is missing",
        };
        let place = entries
            .iter()
            .find_map(|entry| Some((&entry.key, hints::misplaced(&entry.key)?)));
        let help = place.map(|(key, place)| format!("`{}` belongs to {place}", shortened(key)));
        cursor.error(codes::NOT_A_DOCUMENT, missing, help);
        return;
    };
    let at_kind = || {
        cursor
            .context
            .location(entry.value.position, entry.value.end)
    };
    match kinds::classify(api_version, kind) {
        Class::Read(kind) => read(kind, cursor, set),
        Class::List => list(cursor, set),
        Class::Operator => operator(cursor, set),
        Class::EnvoyFilter => envoy_filter(cursor, set),
        Class::Foreign => {
            let message = format!(
                "`{}` of `{}` is not read",
                shortened(kind),
                shortened(api_version)
            );
            cursor.context.report(Diagnostic::info(
                codes::FOREIGN_KIND,
                at_kind(),
                "kind",
                message,
            ));
        }
        Class::GatewayApi(help) => {
            let message = format!(
                "`{}` of the Gateway API is not read, and has no effect",
                shortened(kind)
            );
            let code = codes::GATEWAY_API_NOT_READ;
            let finding = Diagnostic::warning(code, at_kind(), "kind", message);
            cursor.context.report(finding.with_help(help));
        }
        Class::Refused(reason) => {
            let message = format!("`{kind}` is not in force, and it is never ignored: {reason}");
            cursor.context.report(Diagnostic::error(
                codes::SECURITY_KIND_NOT_IN_FORCE,
                at_kind(),
                "kind",
                message,
            ));
        }
        Class::UnknownVersion { expected } => {
            let message = format!("`{}` has no kind `{kind}`", shortened(api_version));
            let help = format!("write `apiVersion: {expected}`");
            let written = version.value.position..version.value.end;
            let edit = cursor.context.edit(written.start, written.end, expected);
            let diagnostic =
                Diagnostic::error(codes::UNKNOWN_API_VERSION, at_kind(), "apiVersion", message);
            cursor
                .context
                .report(diagnostic.with_fix(Fix::new(help, edit)));
        }
        Class::UnknownKind => {
            let message = format!(
                "`{}` has no kind `{}`",
                shortened(api_version),
                shortened(kind)
            );
            let help = nearest(kind, kinds::names()).map(|name| format!("did you mean `{name}`?"));
            let fix = only_near(kind, kinds::names()).map(|name| {
                let place = entry.value.position..entry.value.end;
                let edit = cursor.context.edit(place.start, place.end, name);
                Fix::new(format!("write `kind: {name}`"), edit)
            });
            let diagnostic = Diagnostic::error(codes::UNKNOWN_KIND, at_kind(), "kind", message);
            cursor
                .context
                .report(diagnostic.with_help_if(help).with_fix_if(fix));
        }
    }
}

/// `kind: List`, as `kubectl get -o yaml` prints.
fn list(cursor: &Cursor<'_>, set: &mut DocumentSet) {
    cursor.fields(|f| {
        for ignored in ["apiVersion", "kind", "metadata"] {
            f.get(ignored);
        }
        for item in f
            .get("items")
            .and_then(|items| items.items())
            .unwrap_or_default()
        {
            document(&item, set);
        }
        Some(())
    });
}

fn read(kind: Kind, cursor: &Cursor<'_>, set: &mut DocumentSet) {
    match kind {
        Kind::VirtualService => keep(kind, cursor, &mut set.virtual_services),
        Kind::DestinationRule => keep(kind, cursor, &mut set.destination_rules),
        Kind::Gateway => keep(kind, cursor, &mut set.gateways),
        Kind::ServiceEntry => keep(kind, cursor, &mut set.service_entries),
        Kind::WorkloadEntry => keep(kind, cursor, &mut set.workload_entries),
        Kind::AuthorizationPolicy => keep(kind, cursor, &mut set.authorization_policies),
        Kind::PeerAuthentication => keep(kind, cursor, &mut set.peer_authentications),
        Kind::MeshConfig => keep(kind, cursor, &mut set.mesh_configs),
        Kind::RegistrationEntry => keep(kind, cursor, &mut set.registration_entries),
        Kind::PolicyTest => keep(kind, cursor, &mut set.policy_tests),
        Kind::Namespace => keep(kind, cursor, &mut set.namespaces),
        Kind::WorkloadGroup => keep(kind, cursor, &mut set.workload_groups),
        Kind::Sidecar => keep(kind, cursor, &mut set.sidecars),
        Kind::ProxyConfig => keep(kind, cursor, &mut set.proxy_configs),
        Kind::RequestAuthentication => keep(kind, cursor, &mut set.request_authentications),
        Kind::Telemetry => keep(kind, cursor, &mut set.telemetries),
        Kind::RateLimit => keep(kind, cursor, &mut set.rate_limits),
        Kind::HealthCheck => keep(kind, cursor, &mut set.health_checks),
        Kind::Fallback => keep(kind, cursor, &mut set.fallbacks),
    }
}

/// What documents of a kind look like, found by running their decoder over nothing.
pub(crate) fn shape(kind: Kind) -> Shape {
    record(|cursor| read(kind, cursor, &mut DocumentSet::default()))
}

/// Reads one document and keeps it if nothing in it is an error.
fn keep<D: Document>(kind: Kind, cursor: &Cursor<'_>, kept: &mut Vec<Arc<D>>) {
    let before = cursor.context.findings.errors();
    let document = cursor.fields(|f| {
        for known in ["apiVersion", "status"] {
            f.get(known);
        }
        let at_kind = f.get("kind");
        let meta = metadata(kind, f);
        let named = meta.is_some();
        // The rest is read without a name as well, so that its problems show.
        let meta = meta.unwrap_or_else(|| nameless(kind, cursor));
        *cursor.context.subject.borrow_mut() = subject(&meta, named);
        if let Some(at_kind) = at_kind {
            D::STANDING.report(&at_kind);
        }
        cursor.context.quiet.set(!D::STANDING.is_in_force());
        // A missing spec means something for some kinds (allow nothing); what is required is reported by the schema.
        let empty = Node {
            value: Value::Mapping(Vec::new()),
            position: cursor.node.position,
            end: cursor.node.position,
        };
        let path = cursor.context.shared.paths.field(&cursor.path, "spec");
        let spec = f.get("spec").unwrap_or_else(|| Cursor {
            node: &empty,
            path,
            ..cursor.clone()
        });
        spec.fields(|f| D::spec(meta, f)).filter(|_| named)
    });
    let clean = cursor.context.findings.errors() == before;
    kept.extend(document.filter(|_| clean).map(Arc::new));
}

fn nameless(kind: Kind, cursor: &Cursor<'_>) -> Meta {
    Meta {
        kind,
        name: String::new(),
        namespace: cursor.context.mesh.default_namespace.clone(),
        labels: std::collections::BTreeMap::default(),
        annotations: std::collections::BTreeMap::default(),
        at: cursor.at(),
    }
}

fn subject(meta: &Meta, named: bool) -> String {
    if named {
        format!("{} `{}`", meta.kind, meta.qualified())
    } else {
        format!("a {} without a name", meta.kind)
    }
}
