//! `portcullis who-can`: every identity that may do something, and the rule that lets it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use dataplane::decisions::{ExplanationShown, RuleShown, VerdictShown};
use policies::document::DocumentSet;
use serde::Serialize;

use crate::cli::{Dir, Format};
use crate::exit::{Exit, Failure};
use crate::explain::args::Request;
use crate::explain::show;
use crate::explain::subject::Subject;
use crate::terminal::{heading, table};

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis who-can --to product-service --method DELETE --path /api/products/1
  portcullis who-can --to my-app/product-service --path /admin -f policies/ -f services.yaml -o json
  portcullis who-can --to gateway --path /api/orders --jwt '{\"iss\":\"https://idp.test\",\"sub\":\"alice\"}'

Asks for each identity that a WorkloadEntry or ServiceEntry declares or a policy names, for a stranger of the
mesh, and for somebody without an identity. What a policy names by a wildcard is asked as `any…`.

Exit codes: 0 somebody may, 1 nobody may, 2 a wrong command line or documents with errors, 3 no mesh there.";

/// An account and a namespace that nobody has: whoever is let in like this, anybody is.
const ANY: &str = "any-";

/// `portcullis who-can`.
#[derive(Debug, Args)]
pub(crate) struct WhoCan {
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    request: Request,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// One caller, and what becomes of its request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Caller {
    /// The identity; none of somebody without.
    principal: Option<String>,
    /// Where it is known from.
    known_from: &'static str,
    allowed: bool,
    /// The rule that decides; none for a default.
    rule: Option<RuleShown>,
    /// What else the request would need for an ALLOW rule that knows the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    needs: Vec<String>,
    /// The CUSTOM rule by which a provider is asked as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<RuleShown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    to: String,
    method: String,
    path: String,
    /// Whether a caller without identity, or any identity of the mesh, may: then everybody may.
    anybody: bool,
    callers: Vec<Caller>,
}

/// Lists who may; 1 if nobody may.
pub(crate) fn run(args: &WhoCan) -> Result<Exit, Failure> {
    if args.request.to.is_none() {
        return Err(Failure::usage("who can do what where?").hint("name the workload by --to"));
    }
    let subject = Subject::read(&args.dir, &args.request)?;
    let mesh = &subject.checked.mesh;
    let mut callers = Vec::new();
    let mut asked = (String::new(), String::new());
    for (principal, known_from) in identities(&subject.checked.documents, &mesh.trust_domain) {
        if principal.is_none() && subject.demands_mtls(args.request.port) {
            callers.push(Caller {
                principal,
                known_from: "PeerAuthentication STRICT closes its connection",
                allowed: false,
                rule: None,
                needs: Vec::new(),
                custom: None,
            });
            continue;
        }
        let facts = args.request.facts(principal.clone())?;
        let explained = facts
            .explain(&subject.policies, mesh.path_normalization)
            .map_err(|error| Failure::usage(error.to_string()))?;
        asked = (
            explained.request.method.clone().unwrap_or_default(),
            explained.request.path.clone().unwrap_or_default(),
        );
        callers.push(caller(principal, known_from, explained));
    }
    callers.sort_by_key(|caller| !caller.allowed);
    let anybody = callers.iter().any(|caller| {
        let stranger = caller
            .principal
            .as_ref()
            .is_none_or(|name| is_stranger(name));
        caller.allowed && stranger
    });
    let answer = Answer {
        to: subject.name(),
        method: asked.0,
        path: asked.1,
        anybody,
        callers,
    };
    show(args.output, &answer, || text(&answer))?;
    Ok(if answer.callers.iter().any(|caller| caller.allowed) {
        Exit::Fine
    } else {
        Exit::Finding
    })
}

fn caller(
    principal: Option<String>,
    known_from: &'static str,
    explained: ExplanationShown,
) -> Caller {
    let allowed = explained.verdict == VerdictShown::Allow && {
        // Nobody to ask denies.
        explained.custom.is_none() || explained.provider.is_some()
    };
    let needs = match &explained.nearest {
        Some(nearest) if !allowed => needs(nearest),
        _ => Vec::new(),
    };
    Caller {
        principal,
        known_from,
        allowed,
        rule: explained.by.map(|by| by.rule),
        needs,
        custom: explained.custom,
    }
}

/// What fails in a rule that knows the caller and the operation: a header, a token, an address.
fn needs(nearest: &dataplane::decisions::RuleExplainedShown) -> Vec<String> {
    let of_the_request = |field: &str| {
        let condition = [
            "request.headers[",
            "request.auth.",
            "source.ip",
            "remote.ip",
        ];
        condition.iter().any(|key| field.starts_with(key))
            || field.to_ascii_lowercase().ends_with("requestprincipals")
            || field.to_ascii_lowercase().ends_with("ipblocks")
    };
    let failing = || nearest.fields.iter().filter(|field| !field.holds);
    if failing().all(|field| of_the_request(&field.field)) {
        failing().map(|field| field.because.clone()).collect()
    } else {
        Vec::new()
    }
}

/// Every identity to ask for, with where it is known from, and nobody.
fn identities(documents: &DocumentSet, trust_domain: &str) -> Vec<(Option<String>, &'static str)> {
    let of = |namespace: &str, account: &str| format!("{trust_domain}/ns/{namespace}/sa/{account}");
    let mut found = BTreeMap::<String, &'static str>::new();
    for policy in &documents.authorization_policies {
        let sources = policy.rules.iter().flat_map(|rule| &rule.from);
        for source in sources {
            for written in source.principals.iter().chain(&source.not_principals) {
                found.entry(probe(written)).or_insert("a policy");
            }
            for written in source.namespaces.iter().chain(&source.not_namespaces) {
                let name = of(&probe(written), &format!("{ANY}account"));
                found.entry(name).or_insert("a policy");
            }
            let accounts = source.service_accounts.iter();
            for written in accounts.chain(&source.not_service_accounts) {
                let own = (policy.meta.namespace.as_str(), written.as_str());
                let (namespace, account) = written.split_once('/').unwrap_or(own);
                found.insert(of(namespace, account), "a policy");
            }
        }
    }
    for entry in &documents.workload_entries {
        if let Some(account) = entry.spec.service_account.as_deref() {
            found.insert(of(&entry.meta.namespace, account), "a WorkloadEntry");
        }
    }
    for entry in &documents.service_entries {
        for endpoint in &entry.endpoints {
            if let Some(account) = endpoint.service_account.as_deref() {
                found.insert(of(&entry.meta.namespace, account), "a ServiceEntry");
            }
        }
    }
    let stranger = of(&format!("{ANY}namespace"), &format!("{ANY}account"));
    found.entry(stranger).or_insert("any identity of the mesh");
    let nobody = (None, "anybody without an identity");
    // What cannot be an identity is a pattern that no caller fits.
    let mut all: Vec<_> = found
        .into_iter()
        .filter(|(name, _)| identity::SpiffeId::parse(&format!("spiffe://{name}")).is_ok())
        .map(|(name, from)| (Some(name), from))
        .collect();
    all.push(nobody);
    all
}

/// A text that a value with a star at an end takes.
fn probe(written: &str) -> String {
    match (written.strip_prefix('*'), written.strip_suffix('*')) {
        (Some(""), _) => format!("{ANY}domain/ns/{ANY}namespace/sa/{ANY}account"),
        (Some(suffix), _) => format!("{ANY}domain{suffix}"),
        (_, Some(prefix)) => format!("{prefix}{ANY}account"),
        (None, None) => written.to_owned(),
    }
}

/// Whether it stands for every identity of the mesh.
fn is_stranger(principal: &str) -> bool {
    principal.contains(&format!("/ns/{ANY}namespace/sa/{ANY}account"))
}

fn text(answer: &Answer) -> String {
    let Answer {
        to, method, path, ..
    } = answer;
    let mut text = heading(&format!("{method} {path} at {to}"));
    text.push('\n');
    let nobody = "(nobody in particular)";
    let mut rows = vec![
        ["", "CALLER", "BY", "KNOWN FROM"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for caller in &answer.callers {
        let by = match (&caller.rule, caller.allowed) {
            (Some(rule), _) => format!("{} {rule}  {}", rule.action, rule.at),
            (None, true) => "no ALLOW policy selects it".to_owned(),
            (None, false) if !caller.needs.is_empty() => {
                format!("unless: {}", caller.needs.join("; "))
            }
            (None, false) => "no rule".to_owned(),
        };
        let by = match &caller.custom {
            Some(custom) => format!("{by}, after a provider is asked by {custom}"),
            None => by,
        };
        rows.push(vec![
            if caller.allowed { "✓" } else { "✗" }.to_owned(),
            caller.principal.as_deref().unwrap_or(nobody).to_owned(),
            by,
            caller.known_from.to_owned(),
        ]);
    }
    text.push_str(&table(&rows));
    if answer.anybody {
        // Writing to a String does not fail.
        writeln!(text, "\nAnybody may: the rule above names no caller.").ok();
    }
    text
}
