//! From AuthorizationPolicy documents to compiled rules, with every finding on the way.

mod condition;
mod operation;
mod source;

use policies::{
    diagnostic::{Code, Diagnostic, DocPath},
    document::{
        AuthorizationAction, AuthorizationPolicy, DocumentSet, LabelSelector, Meta,
        Rule as RuleDocument, Spanned,
    },
    mesh::Mesh,
    source::Location,
    workload::Workload,
};

use crate::{
    codes,
    decision::{Action, RuleId},
    policy_set::{Parts, PolicyName},
    principal::TrustDomains,
    rule::Rule,
};

/// The annotation that asks for a policy to be tried without being enforced.
pub(crate) const DRY_RUN: &str = "istio.io/dry-run";

/// Every finding about every policy, whatever workload it is for.
pub(crate) fn findings(documents: &DocumentSet, mesh: &Mesh) -> Vec<Diagnostic> {
    let mut compiler = Compiler::new(mesh);
    for policy in &documents.authorization_policies {
        compiler.policy(policy);
    }
    compiler.diagnostics
}

/// Compiles what selects the workload; none if a policy among it has an error.
pub(crate) fn policies(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Option<Parts> {
    let mut compiler = Compiler::new(mesh);
    let mut parts = Parts::default();
    let is_root = |policy: &AuthorizationPolicy| policy.meta.namespace == mesh.root_namespace;
    // The mesh's own policies come first where several match; the order changes reasons, never verdicts.
    let (root, others): (Vec<_>, Vec<_>) = documents
        .authorization_policies
        .iter()
        .filter(|policy| selects(&policy.meta, policy.selector.as_ref(), workload, mesh))
        .partition(|policy| is_root(policy));
    for policy in root.into_iter().chain(others) {
        let Some((action, rules)) = compiler.policy(policy) else {
            continue;
        };
        parts.policies.push(PolicyName {
            namespace: policy.meta.namespace.as_str().into(),
            name: policy.meta.name.as_str().into(),
        });
        match action {
            Action::Allow => {
                parts.has_allow_policy = true;
                parts.allow.extend(rules);
            }
            Action::Deny | Action::Audit | Action::Custom => parts.deny.extend(rules),
        }
    }
    let good = !compiler.diagnostics.iter().any(Diagnostic::is_error);
    good.then_some(parts)
}

/// Whether a document of this namespace with this selector holds for the workload.
pub(crate) fn selects(
    meta: &Meta,
    selector: Option<&LabelSelector>,
    workload: &Workload,
    mesh: &Mesh,
) -> bool {
    let reaches = meta.namespace == workload.namespace || meta.namespace == mesh.root_namespace;
    reaches && selector.is_none_or(|selector| selector.matches(&workload.labels))
}

/// `strconv.ParseBool`, as Istio reads the annotation.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A finding about the dry-run annotation of a security document, if it is not plainly off.
pub(crate) fn dry_run_finding(meta: &Meta) -> Option<Diagnostic> {
    let value = meta.annotations.get(DRY_RUN)?;
    if parse_bool(value) == Some(false) {
        return None;
    }
    let path = DocPath::root()
        .field("metadata")
        .field("annotations")
        .key(DRY_RUN);
    let message =
        format!("{meta} asks for a dry run with `{DRY_RUN}: {value}`, which is not in force yet");
    Some(
        Diagnostic::error(codes::DRY_RUN_NOT_IN_FORCE, meta.at.clone(), path, message)
            .with_help("remove the annotation to enforce the policy, or remove the policy"),
    )
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

    fn policy(&mut self, policy: &AuthorizationPolicy) -> Option<(Action, Vec<Rule>)> {
        let meta = &policy.meta;
        self.diagnostics.extend(dry_run_finding(meta));
        for target in &policy.target_refs {
            let message = format!(
                "{meta} is attached to {} `{}` by targetRefs, which are not in force yet",
                target.kind, target.name
            );
            let help = "use `selector.matchLabels` to choose the workloads";
            self.error(
                codes::FIELD_NOT_IN_FORCE,
                &target.at,
                &target.path,
                message,
                help,
            );
        }
        let action = match policy.action.value {
            AuthorizationAction::Allow => Some(Action::Allow),
            AuthorizationAction::Deny => Some(Action::Deny),
            AuthorizationAction::Audit | AuthorizationAction::Custom => {
                let message = format!(
                    "action `{}` of {meta} is not in force yet",
                    policy.action.value.as_str()
                );
                let Spanned { at, path, .. } = &policy.action;
                self.error(
                    codes::ACTION_NOT_IN_FORCE,
                    at,
                    path,
                    message,
                    "use ALLOW or DENY, or remove the policy",
                );
                None
            }
        };
        if action == Some(Action::Deny) && policy.rules.is_empty() {
            let message = format!("{meta} denies without rules: it would deny nothing");
            let path = DocPath::root().field("spec").field("rules");
            let help = "write `rules: [{}]` to deny everything, or remove the policy";
            self.error(
                codes::MISSING_RULES,
                &policy.action.at,
                &path,
                message,
                help,
            );
        }
        // Rules of a refused action are still read: all findings at once.
        let read_as = action.unwrap_or(Action::Deny);
        let rules = policy.rules.iter().enumerate();
        let rules = rules
            .filter_map(|(index, rule)| self.rule(rule, index, meta, read_as))
            .collect();
        Some((action?, rules))
    }

    fn rule(
        &mut self,
        rule: &RuleDocument,
        index: usize,
        meta: &Meta,
        action: Action,
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
                dry_run: false,
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
