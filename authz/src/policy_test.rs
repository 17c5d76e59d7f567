//! Policy tests: what the policies of a workload decide about requests that a PolicyTest describes.
//!
//! Everything is judged as a proxy judges it, step by step: mTLS of the port, the canonical path, CUSTOM, tokens, then
//! AUDIT, DENY and ALLOW. Nobody is asked and nothing is sent.

mod arrival;
mod judgement;
mod rules;

use std::time::SystemTime;

use policies::{
    diagnostic::{Diagnostic, DocPath, codes as of_documents},
    document::{
        DocumentSet, Spanned,
        policy_test::{Caller, Outcome, PolicyTest, ProviderAnswer, TestRequest},
    },
    load::load_with_test,
    mesh::Mesh,
    source::{Location, SourceFile},
    workload::Workload,
};

pub use judgement::{Decider, Judgement, Reason};
pub use rules::TestedRule;

use crate::{
    codes,
    decision::{Ask, Custom, DryRunAllow, Verdict},
    explain::Explanation,
    jwt::TokenRules,
    mtls::{self, MtlsMode, MtlsModes},
    policy_set::PolicySet,
};
use arrival::Arrival;

/// A workload with its policies, ready to be asked.
#[derive(Debug)]
pub struct Subject {
    documents: DocumentSet,
    mesh: Mesh,
    workload: Workload,
    policies: PolicySet,
    tokens: TokenRules,
    /// None on a gateway, whose servers say themselves which TLS they speak.
    mtls: Option<MtlsModes>,
    findings: Vec<Diagnostic>,
}

impl Subject {
    /// Reads and checks the documents of a test: `files` are what its `policies` name, `own` is the file that it stands in.
    ///
    /// A service that no document declares is no mistake here: tests are about policies, and often given nothing else.
    ///
    /// # Errors
    /// Every finding, when one of them is an error: no proxy would put such documents in force.
    pub fn new(
        test: &PolicyTest,
        own: &SourceFile,
        files: &[SourceFile],
    ) -> Result<Self, Vec<Diagnostic>> {
        let loaded = load_with_test(files, own, test, &mesh_before(test));
        let documents = loaded.documents;
        let mesh = mesh_in_force(test, &documents, loaded.mesh);
        let (registry, across) = policies::check::check(&documents, &mesh);
        let mut findings = loaded.diagnostics;
        findings.extend(across);
        findings.extend(crate::check::check(&documents, &registry, &mesh));
        findings.retain(|finding| {
            // The test's `trustDomain` stands in for the process's.
            finding.code != of_documents::FOREIGN_TRUST_DOMAIN
                && !finding.code.is_open_reference()
                && finding.code != of_documents::POLICY_TEST_NOT_IN_FORCE
        });
        findings.extend(principals(test));
        findings.sort_by(|a, b| a.at.cmp(&b.at));
        if findings.iter().any(Diagnostic::is_error) {
            return Err(findings);
        }
        let workload = workload(test);
        let is_gateway = is_gateway(&workload, &documents);
        Ok(Self {
            policies: PolicySet::compile(&documents, &workload, &mesh),
            tokens: TokenRules::compile(&documents, &workload, &mesh),
            mtls: (!is_gateway).then(|| MtlsModes::compile(&documents, &workload, &mesh)),
            documents,
            mesh,
            workload,
            findings,
        })
    }

    /// What was found about the documents that is no error.
    pub fn findings(&self) -> &[Diagnostic] {
        &self.findings
    }

    /// What becomes of a request that arrives at `now`, which matters to tokens with `exp` or `nbf` only.
    pub fn judge(&self, request: &TestRequest, now: SystemTime) -> Judgement<'_> {
        let (arrival, custom) = match self.before_tokens(request) {
            Ok(passed) => passed,
            Err(stopped) => return stopped,
        };
        let mut hits: Vec<_> = custom.iter().map(|custom| custom.by).collect();
        let claims = match self.claims(request, now) {
            Ok(claims) => claims,
            Err(refused) => return Judgement { hits, ..refused },
        };
        let decision = self.policies.decide(&arrival.facts(claims.as_ref()));
        hits.extend(decision.audit);
        hits.extend(decision.dry_run.deny);
        if let DryRunAllow::Matched(rule) = decision.dry_run.allow {
            hits.push(rule);
        }
        hits.extend(decision.by);
        let reason = match (decision.verdict, decision.by, custom) {
            (_, Some(rule), _) => Reason::Matches(rule),
            (Verdict::Allow, None, Some(custom)) => Reason::ProviderAllows(custom.by),
            (Verdict::Allow, None, None) => Reason::NoAllowPolicy,
            (Verdict::Deny, None, _) => Reason::NoneMatches,
        };
        Judgement {
            outcome: match decision.verdict {
                Verdict::Allow => Outcome::Allow,
                Verdict::Deny => Outcome::Deny,
            },
            by: match (decision.by, decision.verdict) {
                (Some(rule), _) => Some(Decider::Rule(rule)),
                // Nothing else has a say behind a provider that allows.
                (None, Verdict::Allow) => custom.map(|custom| Decider::Rule(custom.by)),
                (None, Verdict::Deny) => None,
            },
            reason,
            hits,
        }
    }

    /// Every rule with what it saw of a request; none if the request never came before the rules.
    pub fn explain(&self, request: &TestRequest, now: SystemTime) -> Option<Explanation> {
        let (arrival, _) = self.before_tokens(request).ok()?;
        let claims = self.claims(request, now).ok()?;
        Some(self.policies.explain(&arrival.facts(claims.as_ref())))
    }

    /// mTLS, the path and CUSTOM: what stops a request before its token is looked at.
    fn before_tokens<'r>(
        &self,
        request: &'r TestRequest,
    ) -> Result<(Arrival<'r>, Option<Custom<'_>>), Judgement<'_>> {
        let port = request.destination_port;
        let mode = self.mtls.as_ref().map(|modes| modes.for_port(port));
        let takes_mtls = mode != Some(MtlsMode::Disable);
        let mtls = request.mtls.unwrap_or(takes_mtls);
        if let (Some(mode @ MtlsMode::Strict), false) | (Some(mode @ MtlsMode::Disable), true) =
            (mode, mtls)
        {
            let by = mtls::decided_by(&self.documents, &self.workload, &self.mesh, port);
            return Err(Judgement {
                outcome: Outcome::Deny,
                by: by.map(|policy| Decider::PeerAuthentication(&policy.meta)),
                reason: Reason::Mtls { mode, port },
                hits: Vec::new(),
            });
        }
        let arrival = Arrival::new(request, mtls, self.mesh.path_normalization)
            .map_err(|error| Judgement::denied(Reason::Path(error)))?;
        let Some(custom) = self.policies.custom(&arrival.facts(None)) else {
            return Ok((arrival, None));
        };
        let (outcome, reason) = match (custom.ask, request.provider) {
            (Ask::Nobody, _) => (Outcome::Deny, Reason::NobodyToAsk),
            (Ask::Provider(name), None) => (Outcome::Custom, Reason::Asks(name)),
            (Ask::Provider(name), Some(ProviderAnswer::Deny)) => {
                (Outcome::Deny, Reason::ProviderDenies(name))
            }
            (Ask::Provider(_), Some(ProviderAnswer::Allow)) => {
                return Ok((arrival, Some(custom)));
            }
        };
        Err(Judgement {
            outcome,
            by: Some(Decider::Rule(custom.by)),
            reason,
            hits: vec![custom.by],
        })
    }
}

/// The settings of the process that the test stands for, before the documents are known.
fn mesh_before(test: &PolicyTest) -> Mesh {
    let named = Some(&test.meta.namespace).filter(|namespace| !namespace.is_empty());
    let namespace = named.unwrap_or(&test.workload.namespace);
    Mesh {
        default_namespace: namespace.clone(),
        ..Mesh::default()
    }
}

/// The settings with the MeshConfig of the documents, and what the test says instead.
fn mesh_in_force(test: &PolicyTest, documents: &DocumentSet, mut mesh: Mesh) -> Mesh {
    let config = documents.mesh_configs.first();
    if let Some(domain) = config.and_then(|config| config.trust_domain.as_ref()) {
        mesh.trust_domain.clone_from(&domain.value);
    }
    let own = test.mesh.clone();
    let Mesh {
        trust_domain,
        trust_domain_aliases,
        root_namespace,
        path_normalization,
        extension_providers,
        ..
    } = &mut mesh;
    set(trust_domain, own.trust_domain);
    set(trust_domain_aliases, own.trust_domain_aliases);
    set(root_namespace, own.root_namespace);
    set(path_normalization, own.path_normalization);
    set(extension_providers, own.extension_providers);
    mesh
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// The workload; what no selector looks at has the name of its service account.
fn workload(test: &PolicyTest) -> Workload {
    let workload = &test.workload;
    Workload {
        name: workload.service_account.clone(),
        namespace: workload.namespace.clone(),
        service_account: workload.service_account.clone(),
        labels: workload.labels.clone(),
    }
}

/// Whether the workload is a gateway: a Gateway selects it, or it has the label of one. PeerAuthentication is about the
/// inbound ports of sidecars; a gateway's TLS is that of its servers.
fn is_gateway(workload: &Workload, documents: &DocumentSet) -> bool {
    let labels = &workload.labels;
    let label = |key: &str| labels.get(key).map(String::as_str);
    label("istio") == Some("ingressgateway")
        || label("gateway.networking.k8s.io/gateway-name").is_some()
        || (documents.gateways.iter())
            .any(|gateway| !gateway.selector.is_empty() && gateway.selects(labels))
}

/// Principals that no certificate could have.
fn principals(test: &PolicyTest) -> Vec<Diagnostic> {
    let of_cases = test.cases.iter().map(|case| &case.request);
    let of_cases = of_cases.filter_map(|request| request.principal.as_ref());
    let of_cases = of_cases.map(|Spanned { value, at, path }| (value, at, path));
    let of_matrix = test.matrix.iter().flat_map(|matrix| &matrix.callers);
    let of_matrix = of_matrix.filter_map(|caller| match &caller.value {
        Caller::Principal(principal) => Some((principal, &caller.at, &caller.path)),
        Caller::Anonymous | Caller::Plaintext => None,
    });
    let finding = |(principal, at, path): (&String, &Location, &DocPath)| {
        let error = arrival::spiffe_id(principal).err()?;
        let message = format!("`{principal}` is no principal: {error}");
        let help = "write `cluster.local/ns/shop/sa/order`";
        Some(Diagnostic::error(codes::INVALID_VALUE, at.clone(), path, message).with_help(help))
    };
    of_cases.chain(of_matrix).filter_map(finding).collect()
}

#[cfg(test)]
mod tests;
