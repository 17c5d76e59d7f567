//! IstioOperator (`install.istio.io`): its `meshConfig` is a MeshConfig, the rest installs what does not exist here.

use std::sync::Arc;

use super::{Cursor, Document as _};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Kind, MeshConfig, Meta};

/// Reads `spec.meshConfig`; everything else is warned about, once.
pub(super) fn operator(cursor: &Cursor<'_>, set: &mut DocumentSet) {
    let before = cursor.context.findings.errors();
    cursor.context.quiet.set(false);
    let config = cursor.fields(|f| {
        for known in ["apiVersion", "kind", "status"] {
            f.get(known);
        }
        let metadata = f.get("metadata").and_then(|cursor| cursor.entries());
        let name = metadata
            .unwrap_or_default()
            .into_iter()
            .find_map(|(key, value)| (key == "name").then(|| value.text())?)
            .unwrap_or("istio-operator")
            .to_owned();
        *cursor.context.subject.borrow_mut() = format!("IstioOperator `{name}`");
        let spec = f.get("spec")?.entries()?;
        let (config, others): (Vec<_>, Vec<_>) =
            spec.into_iter().partition(|(key, _)| *key == "meshConfig");
        if let Some((_, first)) = others.first() {
            let names: Vec<String> = others.iter().map(|(key, _)| format!("`{key}`")).collect();
            let message = format!(
                "of IstioOperator `{name}` only `meshConfig` is read: {} have no effect",
                names.join(", ")
            );
            cursor.context.report(Diagnostic::warning(
                codes::OPERATOR_NOT_READ,
                first.key_at(),
                &first.path,
                message,
            ));
        }
        let (_, config) = config.into_iter().next()?;
        let meta = Meta {
            kind: Kind::MeshConfig,
            name,
            namespace: String::new(),
            labels: std::collections::BTreeMap::default(),
            annotations: std::collections::BTreeMap::default(),
            at: cursor.at(),
        };
        config.fields(|f| MeshConfig::spec(meta, f))
    });
    let clean = cursor.context.findings.errors() == before;
    set.mesh_configs
        .extend(config.filter(|_| clean).map(Arc::new));
}
