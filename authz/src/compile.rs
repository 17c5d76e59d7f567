//! From AuthorizationPolicy documents to compiled rules, with every finding on the way.

mod condition;
mod operation;
mod source;

use policies::{
    diagnostic::{Code, Diagnostic, DocPath},
    document::{
        AuthorizationAction, AuthorizationPolicy, DocumentSet, Meta, Rule as RuleDocument, Spanned,
    },
    mesh::Mesh,
    source::Location,
    workload::Workload,
};

use crate::{
    attachment, codes,
    decision::{Action, RuleId},
    dry_run,
    policy_set::{Parts, PolicyName},
    principal::TrustDomains,
    provider::Provider,
    rule::Rule,
};

/// Every finding about every policy, whatever workload it is for.
pub(crate) fn findings(documents: &DocumentSet, mesh: &Mesh) -> Vec<Diagnostic> {
    let mut compiler = Compiler::new(mesh);
    for policy in &documents.authorization_policies {
        compiler.policy(policy);
    }
    compiler.diagnostics
}

/// Compiles what holds for the workload; none if a policy among it has an error.
pub(crate) fn policies(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Option<Parts> {
    let mut compiler = Compiler::new(mesh);
    let holds = |policy: &&AuthorizationPolicy| {
        let (selector, targets) = (policy.selector.as_ref(), &policy.target_refs);
        attachment::holds_for(&policy.meta, selector, targets, workload, mesh)
            // Whom it was meant for is anybody's guess, so nobody is left open.
            || targets.iter().any(|target| !attachment::is_gateway(target))
    };
    let is_root = |policy: &&AuthorizationPolicy| policy.meta.namespace == mesh.root_namespace;
    // The mesh's own policies come first where several match; the order changes reasons, never verdicts.
    let (root, others): (Vec<_>, Vec<_>) = documents
        .authorization_policies
        .iter()
        .map(|policy| &**policy)
        .filter(holds)
        .partition(is_root);
    let mut parts = Parts::default();
    parts.provider = Provider::of(root.iter().chain(&others).copied(), mesh);
    for policy in root.into_iter().chain(others) {
        let rules = compiler.policy(policy);
        parts.policies.push(PolicyName {
            namespace: policy.meta.namespace.as_str().into(),
            name: policy.meta.name.as_str().into(),
        });
        parts.add(action(policy), dry_run::is_tried(policy), rules);
    }
    let good = !compiler.diagnostics.iter().any(Diagnostic::is_error);
    good.then_some(parts)
}

const fn action(policy: &AuthorizationPolicy) -> Action {
    match policy.action.value {
        AuthorizationAction::Custom => Action::Custom,
        AuthorizationAction::Audit => Action::Audit,
        AuthorizationAction::Deny => Action::Deny,
        AuthorizationAction::Allow => Action::Allow,
    }
}

/// Collects findings while documents become rules.
pub(crate) struct Compiler {
    trust_domains: TrustDomains,
    diagnostics: Vec<Diagnostic>,
}

impl Compiler {
    fn new(mesh: &Mesh) -> Self {
        Self {
            trust_domains: TrustDomains::new(&mesh.trust_domain, &mesh.trust_domain_aliases),
            diagnostics: Vec::new(),
        }
    }

    fn error(&mut self, code: Code, at: &Location, path: &DocPath, message: String, help: &str) {
        let finding = Diagnostic::error(code, at.clone(), path, message);
        self.diagnostics.push(finding.with_help(help));
    }

    fn warning(&mut self, code: Code, at: &Location, path: &DocPath, message: String, help: &str) {
        let finding = Diagnostic::warning(code, at.clone(), path, message);
        self.diagnostics.push(finding.with_help(help));
    }

    /// A value of the wrong form.
    fn invalid(&mut self, value: &Spanned<String>, expected: &str, help: &str) {
        let message = format!("`{}` is not {expected}", value.value);
        self.error(codes::INVALID_VALUE, &value.at, &value.path, message, help);
    }

    fn policy(&mut self, policy: &AuthorizationPolicy) -> Vec<Rule> {
        let meta = &policy.meta;
        self.diagnostics.extend(dry_run::findings(policy));
        self.diagnostics
            .extend(attachment::findings(meta, &policy.target_refs));
        let action = action(policy);
        let needs_rules = match action {
            Action::Deny | Action::Custom => true,
            // An ALLOW without rules allows nothing, an AUDIT notes nothing.
            Action::Allow | Action::Audit => false,
        };
        if needs_rules && policy.rules.is_empty() {
            let message = format!("{meta} has the action {action} without rules: it never matches");
            let path = DocPath::root().field("spec").field("rules");
            let help = "write `rules: [{}]` to match everything, or remove the policy";
            self.error(
                codes::MISSING_RULES,
                &policy.action.at,
                &path,
                message,
                help,
            );
        }
        let tried = dry_run::is_tried(policy);
        let rules = policy.rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| self.rule(rule, index, meta, (action, tried)))
            .collect()
    }

    fn rule(
        &mut self,
        rule: &RuleDocument,
        index: usize,
        meta: &Meta,
        (action, dry_run): (Action, bool),
    ) -> Option<Rule> {
        let Ok(index) = u16::try_from(index) else {
            let message = format!("{meta} has more than 65536 rules");
            self.error(
                codes::TOO_MANY,
                &rule.at,
                &rule.path,
                message,
                "split the policy",
            );
            return None;
        };
        let sources: Box<[_]> = rule
            .from
            .iter()
            .map(|source| self.source(source, meta))
            .collect();
        let operations: Box<[_]> = rule
            .to
            .iter()
            .map(|operation| self.operation(operation, action))
            .collect();
        let conditions: Box<[_]> = rule
            .when
            .iter()
            .flat_map(|condition| self.condition(condition, meta))
            .collect();
        let mut checks = sources
            .iter()
            .chain(&operations)
            .flatten()
            .chain(&conditions);
        let names_http = checks.any(crate::field::Check::is_http_only);
        Some(Rule {
            id: RuleId {
                policy_namespace: meta.namespace.as_str().into(),
                policy_name: meta.name.as_str().into(),
                rule: index,
                action,
                dry_run,
                at: rule.at.clone(),
                number: 0,
            },
            sources,
            operations,
            conditions,
            names_http,
        })
    }
}
