//! Explanations for people: what was decided, why, which rule was nearest, and what would change it.

use std::fmt::Write as _;

use dataplane::decisions::{
    DecisionExplained, DecisionShown, ExplanationShown, Place, Protocol, ReasonShown, RequestFacts,
    RuleExplainedShown, RuleShown, VerdictShown,
};

use crate::terminal::heading;

/// A decision that a process made.
pub(super) fn decision(process: &str, found: &DecisionExplained) -> String {
    let made = &found.decision;
    let verdict = match (made.verdict, made.enforced) {
        (VerdictShown::Allow, _) => "ALLOWED",
        (VerdictShown::Deny, true) => "DENIED",
        (VerdictShown::Deny, false) => "WOULD BE DENIED, but passed in the audit mode",
    };
    let mut text = heading(&format!(
        "{verdict} at {} ({process}) {}",
        made.workload, made.time
    ));
    text.push('\n');
    request(&mut text, &made.request);
    match &found.explanation {
        _ if made.reason == ReasonShown::Custom => custom(&mut text, made),
        Some(explanation) => reasons(&mut text, explanation),
        None => {}
    }
    if made.reason == ReasonShown::Token {
        let told = made.text.as_deref().unwrap_or_default();
        let status = made.status.unwrap_or_default();
        item(
            &mut text,
            "why",
            &format!("the token was refused with {status}: {told}"),
        );
    } else if let Some(why) = &found.unexplained {
        item(&mut text, "why", &rule_of(made));
        item(&mut text, "note", why);
    }
    if made.cut {
        item(
            &mut text,
            "note",
            "something of the request was too long to keep, so the reasons may differ from what was decided",
        );
    }
    text
}

/// What would be decided about a request.
pub(super) fn answer(to: &str, closed_before: bool, explanation: &ExplanationShown) -> String {
    let verdict = match explanation.verdict {
        _ if closed_before => "DENIED",
        VerdictShown::Allow => "ALLOWED",
        VerdictShown::Deny => "DENIED",
    };
    let mut text = heading(&format!("{verdict} at {to}"));
    text.push('\n');
    request(&mut text, &explanation.request);
    if closed_before {
        item(
            &mut text,
            "why",
            "the port takes mutual TLS alone (PeerAuthentication STRICT), and the caller proves no identity: the \
             connection is closed",
        );
        item(
            &mut text,
            "fix",
            "name the caller with --from, if it has an identity",
        );
        return text;
    }
    reasons(&mut text, explanation);
    text
}

fn request(text: &mut String, request: &RequestFacts) {
    let nobody = "nobody: no proven identity";
    let caller = request.principal.as_deref().unwrap_or(nobody);
    let source = request.source_ip.map(|ip| format!(" from {ip}"));
    item(
        text,
        "caller",
        &format!("{caller}{}", source.unwrap_or_default()),
    );
    let port = request.destination_port.unwrap_or_default();
    let asked = if request.protocol == Protocol::Tcp {
        format!("a TCP connection to port {port}")
    } else {
        let host = request.host.as_deref().filter(|host| !host.is_empty());
        format!(
            "{} {}{} on port {port}",
            request.method.as_deref().unwrap_or_default(),
            request.path.as_deref().unwrap_or_default(),
            host.map(|host| format!(" for {host}")).unwrap_or_default(),
        )
    };
    item(text, "request", &asked);
    for (name, values) in &request.headers {
        let values: Vec<&str> = values.iter().collect();
        item(text, "header", &format!("{name}: {}", values.join(", ")));
    }
    if let Some(claims) = &request.claims {
        let shown = serde_json::to_string(claims).unwrap_or_default();
        item(text, "token", &shown);
    }
}

fn custom(text: &mut String, made: &DecisionShown) {
    let why = match &made.provider {
        Some(provider) => format!("the provider `{provider}` said no, or did not answer"),
        None => {
            "nobody can be asked: the provider is unknown, or the policies name several".to_owned()
        }
    };
    item(text, "why", &why);
    if let Some(rule) = &made.rule {
        item(text, "asked by", &format!("{rule}  {}", rule.at));
    }
}

fn reasons(text: &mut String, explanation: &ExplanationShown) {
    if let Some(rule) = &explanation.custom {
        let asked = match &explanation.provider {
            Some(provider) => format!("the provider `{provider}` is asked first, by {rule}"),
            None => {
                format!("{rule} wants a provider asked, and there is none: the request is denied")
            }
        };
        item(text, "first", &format!("{asked}  {}", rule.at));
    }
    item(text, "why", &why(explanation));
    if let Some(rule) = &explanation.by {
        explained(text, "rule", rule, false);
    }
    if let Some(rule) = &explanation.nearest {
        explained(text, "nearest", rule, true);
    }
    if let Some(rule) = &explanation.audit {
        item(text, "audit", &format!("{rule}  {}", rule.at));
    }
    if let Some(dry_run) = &explanation.dry_run {
        let verdict = match dry_run.verdict {
            VerdictShown::Allow => "would be allowed",
            VerdictShown::Deny => "would be denied",
        };
        let rule = dry_run.rule.as_ref();
        let by = rule.map_or_else(
            || "no ALLOW rule in dry run matches".to_owned(),
            |rule| format!("{rule}  {}", rule.at),
        );
        item(
            text,
            "dry run",
            &format!("{verdict} if it were enforced: {by}"),
        );
    }
    for step in &explanation.suggestion {
        let at = step.at.as_ref().map(|at| format!("  {at}"));
        item(
            text,
            "fix",
            &format!("{}{}", step.text, at.unwrap_or_default()),
        );
    }
}

fn why(explanation: &ExplanationShown) -> String {
    let policies = explanation.policies.len();
    match explanation.reason {
        ReasonShown::NoAllowPolicy if policies == 0 => {
            "no policy selects this workload, so everything is allowed".to_owned()
        }
        ReasonShown::NoAllowPolicy => {
            "no ALLOW policy selects this workload, and no DENY rule matches".to_owned()
        }
        ReasonShown::NoRuleMatched => format!(
            "ALLOW policies select this workload, and none of their rules matches ({}, {} in all)",
            counted(policies, "policy", "policies"),
            counted(explanation.rule_count, "rule", "rules"),
        ),
        ReasonShown::Refused => "the policies have errors, so nothing passes".to_owned(),
        ReasonShown::Rule | ReasonShown::Custom | ReasonShown::Token => {
            match explanation.by.as_ref().map(|by| &*by.rule.action) {
                Some("DENY") => "a DENY rule matches".to_owned(),
                _ => "an ALLOW rule matches, and no DENY rule does".to_owned(),
            }
        }
    }
}

fn rule_of(made: &DecisionShown) -> String {
    match &made.rule {
        Some(rule) => format!("{rule} matched  {}", rule.at),
        None => "no rule matched".to_owned(),
    }
}

/// A rule, its lines, and below them what they saw.
fn explained(text: &mut String, label: &str, explained: &RuleExplainedShown, failing: bool) {
    let RuleExplainedShown { rule, fields, .. } = explained;
    item(text, label, &named(rule));
    let shown: Vec<_> = fields
        .iter()
        .filter(|field| field.holds != failing)
        .collect();
    for field in shown {
        quote(text, &field.at, &field.because);
    }
    if failing {
        let held = fields.iter().filter(|field| field.holds);
        let held: Vec<&str> = held.map(|field| field.field.as_str()).collect();
        if !held.is_empty() {
            let fits = if held.len() == 1 { "fits" } else { "fit" };
            writeln!(text, "            {} {fits}", held.join(", ")).ok();
        }
    } else if fields.is_empty() {
        text.push_str("            it restricts nothing\n");
    }
}

fn named(rule: &RuleShown) -> String {
    format!("{} {rule}  {}", rule.action, rule.at)
}

/// The line of a document with a mark below; the sentence alone if the file is not at hand.
fn quote(text: &mut String, at: &Place, because: &str) {
    let Some(line) = line_of(at) else {
        writeln!(text, "            {because}  {at}").ok();
        return;
    };
    let number = at.line.to_string();
    let margin = " ".repeat(number.len());
    let start = usize::try_from(at.column).unwrap_or(1).max(1) - 1;
    let end = if at.end_line == at.line {
        usize::try_from(at.end_column)
            .unwrap_or(0)
            .saturating_sub(1)
    } else {
        0
    };
    let width = end.saturating_sub(start).max(1);
    let line = runtime::escape::escape(&line, 400).into_owned();
    let (space, marks) = (" ".repeat(start), "^".repeat(width));
    // Writing to a String does not fail.
    writeln!(text, "            {number} │ {line}").ok();
    writeln!(text, "            {margin} │ {space}{marks} {because}").ok();
}

fn line_of(at: &Place) -> Option<String> {
    let file = std::fs::read_to_string(&at.file).ok()?;
    let position = usize::try_from(at.line).ok()?.checked_sub(1)?;
    file.lines().nth(position).map(str::to_owned)
}

fn item(text: &mut String, label: &str, value: &str) {
    writeln!(text, "  {label:<8}  {value}").ok();
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
