//! References to Gateways that nobody is.

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationPolicy, DocumentSet},
};

use crate::{
    advice::known::Workloads,
    attachment::{GATEWAY_NAME, is_gateway},
    codes,
};

/// Finds references to a Gateway whose name no Gateway document selects workloads by, and no declared workload has.
pub(super) fn advise(
    policy: &AuthorizationPolicy,
    documents: &DocumentSet,
    workloads: &Workloads<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let is = |labels: &std::collections::BTreeMap<String, String>, name: &str| {
        labels.get(GATEWAY_NAME).is_some_and(|own| own == name)
    };
    for target in policy
        .target_refs
        .iter()
        .filter(|target| is_gateway(target))
    {
        let selected = documents
            .gateways
            .iter()
            .any(|gateway| is(&gateway.selector, &target.name));
        let declared = workloads
            .of_namespace(&policy.meta.namespace)
            .iter()
            .any(|known| is(known.labels, &target.name));
        if selected || declared {
            continue;
        }
        let message = format!(
            "no document speaks of workloads that are the Gateway `{}`: all others ignore {}",
            target.name, policy.meta
        );
        let help = format!(
            "let the `selector` of its Gateway be `{GATEWAY_NAME}: {}`, a label of the gateway's process, or choose the workloads by `selector`",
            target.name
        );
        let (at, path) = (target.at.clone(), &target.path);
        found
            .push(Diagnostic::warning(codes::GATEWAY_NOBODY_IS, at, path, message).with_help(help));
    }
}
