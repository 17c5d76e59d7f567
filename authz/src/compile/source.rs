//! `from[].source`: who calls.

use policies::cidr::Cidr;
use policies::document::{Meta, Source, Spanned};

use super::Compiler;
use crate::{
    codes,
    field::{Check, HttpSubject, Subject, Wants, Written},
    matcher::Pattern,
    principal::IdentityPattern,
    request_principal::RequestPrincipal,
    rule::AllOf,
};

/// No service account is longer, with its namespace (Istio).
const MAX_SERVICE_ACCOUNT_BYTES: usize = 320;
/// A source names at most so many service accounts (Istio).
const MAX_SERVICE_ACCOUNTS: usize = 16;

impl Compiler {
    pub(super) fn source(&mut self, source: &Source, meta: &Meta) -> AllOf {
        let Source { at, path, .. } = source;
        let accounts = [&source.service_accounts, &source.not_service_accounts];
        let others = [
            &source.principals,
            &source.not_principals,
            &source.namespaces,
            &source.not_namespaces,
        ];
        if accounts.iter().any(|list| !list.is_empty())
            && others.iter().any(|list| !list.is_empty())
        {
            let message =
                "`serviceAccounts` cannot stand beside `principals` or `namespaces` in one source"
                    .to_owned();
            self.error(
                codes::EXCLUSIVE_FIELDS,
                at,
                path,
                message,
                "write two sources, or name all of them one way",
            );
        }

        let mut checks = Vec::new();
        for (
            wants,
            principals,
            request_principals,
            namespaces,
            service_accounts,
            trust_domains,
            ip_blocks,
            remote_ip_blocks,
        ) in [
            (
                Wants::Match,
                &source.principals,
                &source.request_principals,
                &source.namespaces,
                &source.service_accounts,
                &source.trust_domains,
                &source.ip_blocks,
                &source.remote_ip_blocks,
            ),
            (
                Wants::NoMatch,
                &source.not_principals,
                &source.not_request_principals,
                &source.not_namespaces,
                &source.not_service_accounts,
                &source.not_trust_domains,
                &source.not_ip_blocks,
                &source.not_remote_ip_blocks,
            ),
        ] {
            let name = |field: &str| wants.field(field);
            let subjects = [
                (
                    Written::new(&name("principals"), principals),
                    Subject::Identity(self.principals(principals)),
                ),
                (
                    Written::new(&name("requestPrincipals"), request_principals),
                    Subject::Http(Self::request_principals(request_principals)),
                ),
                (
                    Written::new(&name("namespaces"), namespaces),
                    Subject::Identity(Self::namespaces(namespaces)),
                ),
                (
                    Written::new(&name("serviceAccounts"), service_accounts),
                    Subject::Identity(self.service_accounts(service_accounts, meta)),
                ),
                (
                    Written::new(&name("trustDomains"), trust_domains),
                    Subject::Identity(self.trust_domains(trust_domains)),
                ),
                (
                    Written::new(&name("ipBlocks"), ip_blocks),
                    Subject::SourceIp(self.ip_blocks(ip_blocks)),
                ),
                (
                    Written::new(&name("remoteIpBlocks"), remote_ip_blocks),
                    Subject::RemoteIp(self.ip_blocks(remote_ip_blocks)),
                ),
            ];
            // What the author wrote decides, not what was understood: a bad value must not widen a rule.
            checks.extend(subjects.into_iter().filter_map(|(written, subject)| {
                Some(Check {
                    subject,
                    wants,
                    written: written?,
                })
            }));
        }
        if checks.is_empty() {
            let message = "this source restricts nothing".to_owned();
            self.error(
                codes::INVALID_VALUE,
                at,
                path,
                message,
                "name callers, or remove `from` to mean anybody",
            );
        }
        checks.into()
    }

    pub(super) fn principals(&mut self, values: &[Spanned<String>]) -> Box<[IdentityPattern]> {
        let mut patterns = Vec::new();
        for value in values {
            if value.contains("spiffe://") {
                let message = format!(
                    "principal `{}` never matches: principals have no `spiffe://`",
                    value.value
                );
                let help = "write it as `<trust domain>/ns/<namespace>/sa/<service account>`";
                self.warning(codes::NEVER_MATCHES, &value.at, &value.path, message, help);
            }
            for principal in self.trust_domains.expand(value) {
                patterns.push(IdentityPattern::Principal(Pattern::parse(&principal)));
            }
        }
        patterns.into()
    }

    pub(super) fn request_principals(values: &[Spanned<String>]) -> HttpSubject {
        let values = values.iter();
        HttpSubject::RequestPrincipal(values.map(|value| RequestPrincipal::parse(value)).collect())
    }

    pub(super) fn namespaces(values: &[Spanned<String>]) -> Box<[IdentityPattern]> {
        values
            .iter()
            .map(|value| IdentityPattern::namespace(value))
            .collect()
    }

    pub(super) fn service_accounts(
        &mut self,
        values: &[Spanned<String>],
        meta: &Meta,
    ) -> Box<[IdentityPattern]> {
        if let Some(extra) = values.get(MAX_SERVICE_ACCOUNTS) {
            let message = format!(
                "a source names at most {MAX_SERVICE_ACCOUNTS} service accounts, this one {}",
                values.len()
            );
            self.error(
                codes::TOO_MANY,
                &extra.at,
                &extra.path,
                message,
                "split them over several sources",
            );
        }
        for value in values {
            let mut parts = value.split('/');
            let named = parts.clone().all(|part| !part.is_empty()) && parts.nth(2).is_none();
            if !named || value.contains('*') || value.len() > MAX_SERVICE_ACCOUNT_BYTES {
                let expected = "a service account: `name` or `namespace/name`, without wildcards, of at most 320 bytes";
                self.invalid(
                    value,
                    expected,
                    "use `principals` or `namespaces` for wildcards",
                );
            }
        }
        values
            .iter()
            .map(|value| IdentityPattern::service_account(value, &meta.namespace))
            .collect()
    }

    pub(super) fn trust_domains(&mut self, values: &[Spanned<String>]) -> Box<[IdentityPattern]> {
        for value in values
            .iter()
            .filter(|value| value.matches('*').count() > 1 || value.contains('/'))
        {
            self.invalid(
                value,
                "a trust domain with at most one `*`",
                "write it without a path and scheme",
            );
        }
        let names = values
            .iter()
            .flat_map(|value| self.trust_domains.expand_name(value));
        names
            .map(|name| IdentityPattern::trust_domain(&name))
            .collect()
    }

    pub(super) fn ip_blocks(&mut self, values: &[Spanned<String>]) -> Box<[Cidr]> {
        let mut blocks = Vec::with_capacity(values.len());
        for value in values {
            match Cidr::parse(value) {
                Some(block) => blocks.push(block),
                None => self.invalid(
                    value,
                    "an address or a block",
                    "write `10.1.2.3`, `10.0.0.0/8` or `fd00::/8`",
                ),
            }
        }
        blocks.into()
    }
}
