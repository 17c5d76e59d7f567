//! Rules about identities, and whether callers have to prove one.

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationAction, DocumentSet, PeerAuthenticationMode, Rule, Source, Spanned},
};

use super::known::Workloads;
use crate::{MtlsMode, codes};

/// Finds rules whose meaning depends on mTLS that is not asked for, and plaintext that is left over.
pub(super) fn advise(
    documents: &DocumentSet,
    workloads: &Workloads<'_>,
    found: &mut Vec<Diagnostic>,
) {
    for policy in &documents.authorization_policies {
        let selector = policy.selector.as_ref();
        // Clients of the edge have no identity of the mesh.
        let at_the_edge = !policy.target_refs.is_empty() || workloads.is_for_gateways(selector);
        if policy.rules.is_empty() || at_the_edge {
            continue;
        }
        let mode = workloads.weakest_mode(&policy.meta, selector);
        for rule in &policy.rules {
            match policy.action.value {
                AuthorizationAction::Allow => allow(rule, mode, found),
                AuthorizationAction::Deny => deny(rule, mode, found),
                AuthorizationAction::Audit | AuthorizationAction::Custom => {}
            }
        }
    }
    left_over(documents, found);
}

/// Fields that a caller without a certificate never meets.
fn positive(source: &Source) -> Option<&Spanned<String>> {
    source
        .principals
        .iter()
        .chain(&source.namespaces)
        .chain(&source.service_accounts)
        .chain(&source.trust_domains)
        .next()
}

/// Fields that a caller without a certificate always meets.
fn negative(source: &Source) -> Option<&Spanned<String>> {
    source
        .not_principals
        .iter()
        .chain(&source.not_namespaces)
        .chain(&source.not_service_accounts)
        .chain(&source.not_trust_domains)
        .next()
}

fn allow(rule: &Rule, mode: MtlsMode, found: &mut Vec<Diagnostic>) {
    if rule.from.is_empty() && rule.when.is_empty() && !rule.to.is_empty() {
        found.push(without_from(rule, mode));
        return;
    }
    if mode == MtlsMode::Strict {
        return;
    }
    for source in &rule.from {
        match (positive(source), negative(source)) {
            (None, Some(value)) => {
                let message = format!(
                    "every caller without a certificate passes: it is not `{value}`, and mTLS is {mode} here"
                );
                let (at, path) = (value.at.clone(), &value.path);
                found.push(
                    Diagnostic::warning(codes::IDENTITY_WITHOUT_STRICT, at, path, message)
                        .with_help("set `mtls.mode: STRICT` in a PeerAuthentication, or say who may with `principals: [\"*\"]` beside it"),
                );
            }
            (Some(value), _) => {
                let message = format!(
                    "mTLS is {mode} here: callers in plaintext have no identity and are never `{value}`"
                );
                let (at, path) = (value.at.clone(), &value.path);
                let finding = if mode == MtlsMode::Disable {
                    Diagnostic::warning(codes::PLAINTEXT_NEVER_MATCHES, at, path, message)
                } else {
                    Diagnostic::info(codes::PLAINTEXT_NEVER_MATCHES, at, path, message)
                };
                found.push(finding.with_help(
                    "set `mtls.mode: STRICT` in a PeerAuthentication once every caller has a sidecar",
                ));
            }
            (None, None) => {}
        }
    }
}

fn deny(rule: &Rule, mode: MtlsMode, found: &mut Vec<Diagnostic>) {
    if mode == MtlsMode::Strict {
        return;
    }
    for value in rule.from.iter().filter_map(positive) {
        let message = format!(
            "`{value}` evades this rule by calling in plaintext, where it has no identity: mTLS is {mode} here"
        );
        let (at, path) = (value.at.clone(), &value.path);
        found.push(
            Diagnostic::warning(codes::IDENTITY_WITHOUT_STRICT, at, path, message)
                .with_help("set `mtls.mode: STRICT` in a PeerAuthentication"),
        );
    }
}

fn without_from(rule: &Rule, mode: MtlsMode) -> Diagnostic {
    let (code, message, help) = if mode == MtlsMode::Strict {
        (
            codes::NEEDS_MTLS,
            "this rule is for every workload of the mesh and for nobody else: mTLS is STRICT, so callers without a \
             certificate never reach it",
            "probes from outside the mesh need a port of their own (`portLevelMtls`), or the sidecar's probe port",
        )
    } else {
        (
            codes::OPEN_TO_ANYBODY,
            "this rule is for anybody, also for callers without a certificate",
            "name the callers with `from`, or ask for certificates with `mtls.mode: STRICT` in a PeerAuthentication",
        )
    };
    Diagnostic::info(code, rule.at.clone(), &rule.path, message).with_help(help)
}

/// PERMISSIVE is a step of a migration.
fn left_over(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for policy in &documents.peer_authentications {
        let ports = policy.port_level.values();
        for mode in policy.mode.iter().chain(ports) {
            let what = match mode.value {
                PeerAuthenticationMode::Permissive => "PERMISSIVE takes plaintext beside mTLS",
                PeerAuthenticationMode::Disable => "DISABLE takes plaintext only",
                PeerAuthenticationMode::Strict | PeerAuthenticationMode::Unset => continue,
            };
            let message =
                format!("{what}: whoever reaches the port is let in without a proof of identity");
            found.push(
                Diagnostic::info(
                    codes::PLAINTEXT_ACCEPTED,
                    mode.at.clone(),
                    &mode.path,
                    message,
                )
                .with_help("set STRICT as soon as every caller has a sidecar"),
            );
        }
    }
}
