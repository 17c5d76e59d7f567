//! RateLimits that would limit nothing: attached to what is not here, or with questions that nobody is asked.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::document::attachment::is_gateway;
use crate::document::rate_limit::LimitRule;
use crate::document::{DocumentSet, RateLimit};
use crate::mesh::Mesh;

pub(super) fn check(documents: &DocumentSet, mesh: &Mesh, found: &mut Vec<Diagnostic>) {
    for document in &documents.rate_limits {
        targets(document, found);
        let local = document.local.iter().map(|local| &*local.limits);
        let global = document.global.iter().map(|global| &*global.limits);
        for limits in local.chain(global) {
            names(limits, found);
        }
        unasked(document, documents, mesh, found);
    }
}

/// References that no proxy here could ever meet.
fn targets(document: &RateLimit, found: &mut Vec<Diagnostic>) {
    let targets = document.attachment.target_refs.iter();
    for target in targets.filter(|target| !is_gateway(target)) {
        let message = format!(
            "{} is attached to {} `{}`: such references are for waypoints, which do not exist here",
            document.meta, target.kind, target.name
        );
        let finding = Diagnostic::error(
            codes::INVALID_VALUE,
            target.at.clone(),
            &target.path,
            message,
        );
        let help =
            "use `selector.matchLabels` to choose the workloads, or a reference to a `Gateway`";
        found.push(finding.with_help(help));
    }
}

/// Two limits of one name would be counted as one.
fn names(limits: &[LimitRule], found: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<String, &LimitRule> = BTreeMap::new();
    for (number, limit) in limits.iter().enumerate() {
        // One without a name is called by its number.
        let name = limit.name.clone().unwrap_or_else(|| number.to_string());
        let Some(earlier) = first.get(&name) else {
            first.insert(name, limit);
            continue;
        };
        let message = format!(
            "a second limit is called `{name}`, the first is at {}",
            earlier.at
        );
        let path = limit.path.field("name");
        let finding = Diagnostic::error(codes::DUPLICATE_ENTRY, limit.at.clone(), &path, message);
        found.push(finding.with_help("give each limit a name of its own"));
    }
}

/// Descriptors without a service anywhere that could be asked about them.
fn unasked(
    document: &RateLimit,
    documents: &DocumentSet,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let asks = document
        .global
        .as_ref()
        .is_some_and(|global| global.service.is_none() && !global.descriptors.is_empty());
    if !asks {
        return;
    }
    let meets = |other: &&RateLimit| {
        let (own, theirs) = (&document.meta.namespace, &other.meta.namespace);
        let root = &mesh.root_namespace;
        other.direction == document.direction && (own == theirs || own == root || theirs == root)
    };
    let others = documents.rate_limits.iter().map(|other| &**other);
    if others.filter(meets).any(|other| other.service().is_some()) {
        return;
    }
    let message = format!(
        "{} has descriptors, and no RateLimit of the same workloads names a service to ask",
        document.meta
    );
    let path = DocPath::root().field("spec").field("global");
    let finding = Diagnostic::error(
        codes::MISSING_FIELD,
        document.meta.at.clone(),
        &path,
        message,
    );
    found.push(finding.with_help("add `global.service`, or count in this process with `local`"));
}
