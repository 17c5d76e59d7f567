//! Whether one rule matches wherever another one does: certain, but not complete.

use policies::document::{Condition, Operation, Rule, Source, Spanned};
use policies::mesh::Mesh;

use crate::{matcher::Pattern, template::Template};

/// Texts of one field.
type Texts = [Spanned<String>];

/// How the values of a field are compared.
type Covers = fn(&str, &str) -> bool;

/// Compares rules of one mesh.
pub(super) struct Implication {
    /// Principals are written out for every name of the trust domain; then only equal ones are compared.
    one_name: bool,
}

impl Implication {
    pub(super) fn new(mesh: &Mesh) -> Self {
        Self {
            one_name: mesh.trust_domain == "cluster.local" && mesh.trust_domain_aliases.is_empty(),
        }
    }

    /// Whether every request that `special` matches is matched by `general`. A no may be wrong, a yes never is.
    ///
    /// Both rules stand in policies of one namespace: a service account without namespace is in the policy's own.
    pub(super) fn within(&self, special: &Rule, general: &Rule) -> bool {
        let any_within = general.from.is_empty()
            || (!special.from.is_empty()
                && special.from.iter().all(|special| {
                    let mut wider = general.from.iter();
                    wider.any(|general| self.source(special, general))
                }));
        any_within
            && (general.to.is_empty()
                || (!special.to.is_empty()
                    && special.to.iter().all(|special| {
                        general.to.iter().any(|general| operation(special, general))
                    })))
            && general.when.iter().all(|general| {
                let mut own = special.when.iter();
                own.any(|special| condition(special, general))
            })
    }

    fn source(&self, special: &Source, general: &Source) -> bool {
        let principal: Covers = if self.one_name { text } else { same };
        let fields: [(&Texts, &Texts, &Texts, &Texts, Covers); 7] = [
            (
                &special.principals,
                &special.not_principals,
                &general.principals,
                &general.not_principals,
                principal,
            ),
            (
                &special.request_principals,
                &special.not_request_principals,
                &general.request_principals,
                &general.not_request_principals,
                same,
            ),
            (
                &special.namespaces,
                &special.not_namespaces,
                &general.namespaces,
                &general.not_namespaces,
                same,
            ),
            (
                &special.service_accounts,
                &special.not_service_accounts,
                &general.service_accounts,
                &general.not_service_accounts,
                same,
            ),
            (
                &special.trust_domains,
                &special.not_trust_domains,
                &general.trust_domains,
                &general.not_trust_domains,
                same,
            ),
            (
                &special.ip_blocks,
                &special.not_ip_blocks,
                &general.ip_blocks,
                &general.not_ip_blocks,
                equal,
            ),
            (
                &special.remote_ip_blocks,
                &special.not_remote_ip_blocks,
                &general.remote_ip_blocks,
                &general.not_remote_ip_blocks,
                equal,
            ),
        ];
        fields
            .into_iter()
            .all(|(values, nots, wider, wider_nots, covers)| {
                field(values, nots, wider, wider_nots, covers)
            })
    }
}

fn operation(special: &Operation, general: &Operation) -> bool {
    let ports = general.ports.is_empty()
        || (!special.ports.is_empty()
            && special
                .ports
                .iter()
                .all(|port| general.ports.contains(port)));
    let not_ports = general
        .not_ports
        .iter()
        .all(|port| special.not_ports.contains(port));
    let fields: [(&Texts, &Texts, &Texts, &Texts, Covers); 3] = [
        (
            &special.hosts,
            &special.not_hosts,
            &general.hosts,
            &general.not_hosts,
            text,
        ),
        (
            &special.methods,
            &special.not_methods,
            &general.methods,
            &general.not_methods,
            text,
        ),
        (
            &special.paths,
            &special.not_paths,
            &general.paths,
            &general.not_paths,
            path,
        ),
    ];
    ports
        && not_ports
        && fields
            .into_iter()
            .all(|(values, nots, wider, wider_nots, covers)| {
                field(values, nots, wider, wider_nots, covers)
            })
}

fn condition(special: &Condition, general: &Condition) -> bool {
    special.key == general.key
        && field(
            &special.values,
            &special.not_values,
            &general.values,
            &general.not_values,
            equal,
        )
}

fn field(values: &Texts, nots: &Texts, wider: &Texts, wider_nots: &Texts, covers: Covers) -> bool {
    let wanted = wider.is_empty()
        || (!values.is_empty()
            && values
                .iter()
                .all(|value| wider.iter().any(|wider| covers(wider, value))));
    let refused = wider_nots
        .iter()
        .all(|refused| nots.iter().any(|own| covers(own, refused)));
    wanted && refused
}

fn equal(wider: &str, value: &str) -> bool {
    wider == value
}

/// Equal, or anything that is there at all.
fn same(wider: &str, value: &str) -> bool {
    wider == "*" || wider == value
}

fn text(wider: &str, value: &str) -> bool {
    match (Pattern::parse(wider), Pattern::parse(value)) {
        (Pattern::Present, _) => true,
        (Pattern::Exact(wider), Pattern::Exact(value)) => wider == value,
        (Pattern::Prefix(wider), Pattern::Exact(value) | Pattern::Prefix(value)) => {
            value.starts_with(&*wider)
        }
        (Pattern::Suffix(wider), Pattern::Exact(value) | Pattern::Suffix(value)) => {
            value.ends_with(&*wider)
        }
        (Pattern::Exact(_) | Pattern::Prefix(_) | Pattern::Suffix(_), _) => false,
    }
}

fn path(wider: &str, value: &str) -> bool {
    if wider == value || wider == "*" {
        return true;
    }
    match (Template::is_template(wider), Template::is_template(value)) {
        (false, false) => text(wider, value),
        // What stands before the first operator is literal.
        (false, true) => match Pattern::parse(wider) {
            Pattern::Prefix(prefix) => value
                .split('{')
                .next()
                .is_some_and(|start| start.starts_with(&*prefix)),
            Pattern::Present | Pattern::Exact(_) | Pattern::Suffix(_) => false,
        },
        (true, _) => false,
    }
}
