//! The status of a mesh as text for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::{MeshStatus, PartStatus};
use crate::record;
use crate::terminal::{heading, mebibytes, span, table};

/// More of them than this are counted, not shown.
const MOST_DIAGNOSTICS: usize = 10;

/// The whole report.
pub(super) fn render(mesh: &MeshStatus) -> String {
    let mut text = format!(
        "{}\n{} · up {} · {} in all · {}\n\n",
        heading(&format!("Portcullis {} in {}", mesh.version, mesh.dir)),
        if mesh.ready { "ready" } else { "not ready" },
        span(mesh.uptime_seconds),
        mebibytes(mesh.memory_bytes),
        gateway(mesh),
    );
    text.push_str(&table(&parts(mesh)));
    text.push('\n');
    text.push_str(&table(&identities(mesh)));
    if let Some(ca) = &mesh.ca {
        let left = |end: i64| {
            span(
                u64::try_from(end)
                    .unwrap_or(0)
                    .saturating_sub(record::now()),
            )
        };
        // Writing to a String does not fail.
        writeln!(
            text,
            "CA {} ({}): root good for {}, intermediate {}; {} entries, {} issued, {} refused",
            ca.trust_domain,
            ca.profile,
            left(ca.root_not_after),
            left(ca.intermediate_not_after),
            ca.entries,
            ca.issued_total,
            ca.refused_total,
        )
        .ok();
        for problem in &ca.problems {
            writeln!(text, "  ✗ {problem}").ok();
        }
    }
    text.push('\n');
    text.push_str(&policies(mesh));
    text
}

fn gateway(mesh: &MeshStatus) -> String {
    let urls: Vec<String> = mesh
        .gateway
        .iter()
        .map(|(scheme, at)| format!("{scheme}://{at}"))
        .collect();
    if urls.is_empty() {
        "the gateway is not ready".to_owned()
    } else {
        urls.join("  ")
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn parts(mesh: &MeshStatus) -> Vec<Vec<String>> {
    let mut rows = vec![row(&[
        "PART", "PID", "READY", "UP", "RESTARTS", "MEMORY", "PORTS",
    ])];
    for part in &mesh.parts {
        let ports: Vec<String> = part
            .ports
            .iter()
            .map(|(name, at)| format!("{name}={}", at.port()))
            .collect();
        rows.push(vec![
            part.name.clone(),
            part.pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            readiness(part),
            span(part.uptime_seconds),
            part.restarts.to_string(),
            part.rss_bytes.map_or_else(|| "-".to_owned(), mebibytes),
            ports.join(" "),
        ]);
    }
    rows
}

fn readiness(part: &PartStatus) -> String {
    if part.ready {
        return "yes".to_owned();
    }
    let reasons = part.told("/waitingFor").and_then(Value::as_array);
    let reasons: Vec<String> = reasons.into_iter().flatten().map(plain).collect();
    match (&part.problem, reasons.is_empty()) {
        (Some(problem), _) => format!("no: {problem}"),
        (None, false) => format!("no: {}", reasons.join(", ")),
        (None, true) => "no".to_owned(),
    }
}

fn identities(mesh: &MeshStatus) -> Vec<Vec<String>> {
    let mut rows = vec![row(&["IDENTITY", "OF", "EXPIRES IN", "RENEWALS", "SERIAL"])];
    for part in &mesh.parts {
        let Some(id) = part.told("/identity/spiffeId").and_then(Value::as_str) else {
            continue;
        };
        let field = |name: &str| part.told(&format!("/identity/{name}"));
        rows.push(vec![
            id.to_owned(),
            part.name.clone(),
            field("notAfter")
                .and_then(seconds_left)
                .map_or_else(|| "?".to_owned(), span),
            field("renewals").map(plain).unwrap_or_default(),
            field("serial").map(plain).unwrap_or_default(),
        ]);
    }
    rows
}

/// How long it is until a moment given as RFC 3339 text or in seconds since 1970.
fn seconds_left(moment: &Value) -> Option<u64> {
    let end = match moment {
        Value::String(text) => text.parse::<jiff::Timestamp>().ok()?.as_second(),
        number => number.as_i64()?,
    };
    Some(u64::try_from(end).ok()?.saturating_sub(record::now()))
}

fn policies(mesh: &MeshStatus) -> String {
    let mut rows = vec![row(&[
        "POLICY OF",
        "GENERATION",
        "DOCUMENTS",
        "WARNINGS",
        "STATE",
    ])];
    let mut findings: Vec<String> = Vec::new();
    for part in &mesh.parts {
        let Some(policy) = part.told("/policy") else {
            continue;
        };
        let list =
            |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let warnings = list(policy.get("warnings"));
        let rejected = list(policy.pointer("/rejected/diagnostics"));
        rows.push(vec![
            part.name.clone(),
            policy.get("generation").map(plain).unwrap_or_default(),
            policy.get("documents").map(plain).unwrap_or_default(),
            warnings.len().to_string(),
            if part.rejects_documents() {
                "the newest edit is refused; the generation before it is in force".to_owned()
            } else {
                "in force".to_owned()
            },
        ]);
        for finding in rejected.iter().chain(&warnings).map(diagnostic) {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    let mut text = table(&rows);
    for finding in findings.iter().take(MOST_DIAGNOSTICS) {
        writeln!(text, "  {finding}").ok();
    }
    if findings.len() > MOST_DIAGNOSTICS {
        let more = findings.len().saturating_sub(MOST_DIAGNOSTICS);
        writeln!(text, "  and {more} more: see -o json").ok();
    }
    text
}

/// `file:line:column: severity[code]: message (help: …)`, from the flat JSON form.
fn diagnostic(value: &Value) -> String {
    let field = |name: &str| value.get(name).map(plain).unwrap_or_default();
    if value.get("message").is_none() {
        return plain(value);
    }
    let help = value.get("help").and_then(Value::as_str);
    let help = help
        .map(|help| format!(" (help: {help})"))
        .unwrap_or_default();
    format!(
        "{}:{}:{}: {}[{}]: {}{help}",
        field("file"),
        field("line"),
        field("column"),
        field("severity").to_lowercase(),
        field("code"),
        field("message"),
    )
}

/// A JSON value without the quotes of a text.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
