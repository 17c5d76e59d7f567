//! Who may: AuthorizationPolicy and PeerAuthentication, compiled and decided.
//!
//! The crate is pure: no I/O, no clock, no task. Documents are checked ([`check::check`]) and go in once
//! ([`PolicySet::compile`], [`MtlsModes::compile`]); then each request is a set of [`Facts`] that [`PolicySet::decide`] answers without
//! allocating and without a lock. The path among the facts is canonical: [`path::normalize`] makes it, and the same
//! text must be routed and forwarded.
//!
//! A request is judged in Istio's order: where a CUSTOM rule matches ([`PolicySet::custom`]) an external provider is asked, and its
//! denial is final; then its tokens are looked at; then any matching DENY rule denies; without an ALLOW policy for the workload it is
//! allowed; any matching ALLOW rule allows; else it is denied. AUDIT rules and policies in dry run are noted beside the verdict.
//!
//! ```
//! use authz::{Facts, PolicySet, Verdict};
//! use policies::{load::load, mesh::Mesh, source::SourceFile, workload::Workload};
//!
//! let mesh = Mesh::default();
//! let file = SourceFile::new("deny.yaml", "
//! apiVersion: security.istio.io/v1
//! kind: AuthorizationPolicy
//! metadata: {name: admin, namespace: default}
//! spec: {action: DENY, rules: [{to: [{operation: {ports: [\"9090\"]}}]}]}
//! ");
//! let workload = Workload {
//!     name: "web".into(),
//!     namespace: "default".into(),
//!     service_account: "web".into(),
//!     labels: Default::default(),
//! };
//! let documents = load(&[file], &mesh).documents;
//! let (registry, _) = policies::check::check(&documents, &mesh);
//! assert!(authz::check::check(&documents, &registry, &mesh).is_empty());
//! let policies = PolicySet::compile(&documents, &workload, &mesh);
//!
//! let here = std::net::Ipv4Addr::LOCALHOST.into();
//! let mut facts = Facts {
//!     peer: None,
//!     source_ip: here,
//!     remote_ip: here,
//!     destination_ip: here,
//!     destination_port: 9090,
//!     sni: None,
//!     http: None,
//! };
//! let decision = policies.decide(&facts);
//! assert_eq!(decision.verdict, Verdict::Deny);
//! assert_eq!(decision.by.unwrap().to_string(), "ns[default]-policy[admin]-rule[0]");
//! facts.destination_port = 8080;
//! assert_eq!(policies.decide(&facts).verdict, Verdict::Allow);
//! ```

#![warn(clippy::wildcard_enum_match_arm)]

pub mod advice;
mod attachment;
pub mod check;
pub mod claims;
pub mod codes;
mod compile;
pub mod decision;
mod dry_run;
pub mod explain;
pub mod facts;
mod field;
mod index;
pub mod jwt;
mod matcher;
pub mod mtls;
pub mod path;
pub mod policy_set;
pub mod policy_test;
mod principal;
mod provider;
mod request_principal;
mod rule;
mod template;

pub use claims::Claims;
pub use decision::{Action, Ask, Custom, Decision, DryRun, DryRunAllow, RuleId, Verdict};
pub use facts::{Facts, HttpFacts};
pub use mtls::{MtlsMode, MtlsModes};
pub use path::{PathError, normalize, split_target};
pub use policy_set::PolicySet;
