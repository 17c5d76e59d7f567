//! Policy documents: whatever the text, reading it ends, findings lie in it and can be shown, and a good set compiles.

use std::collections::BTreeMap;

use authz::{MtlsModes, PolicySet};
use policies::diagnostic::{Diagnostic, render};
use policies::listener::GatewayListeners;
use policies::load::load;
use policies::mesh::Mesh;
use policies::route::{Proxy, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

/// Reads, checks, compiles and shows a text as a process and `portcullis lint` would.
pub fn documents(bytes: &[u8]) {
    let file = SourceFile::new("fuzz.yaml", String::from_utf8_lossy(bytes));
    let found = judge(&file);
    let widths = widths(&file.text);
    for diagnostic in &found {
        within(diagnostic, &widths);
        let line = diagnostic.to_string();
        assert!(is_safe(&line, false), "unsafe to show: {line:?}");
        let json = serde_json::to_string(diagnostic).expect("a finding is JSON");
        assert!(is_safe(&json, false), "unsafe to show: {json:?}");
    }
    for pair in found.windows(2) {
        assert!(
            pair[0].at <= pair[1].at,
            "out of order: {} {}",
            pair[0],
            pair[1]
        );
        assert!(pair[0] != pair[1], "twice: {}", pair[0]);
    }
    let shown = render(&found, std::slice::from_ref(&file));
    assert!(is_safe(&shown, true), "unsafe to show: {shown:?}");
}

/// Every finding about a text, advice included, in order; whatever is found, compiling for any proxy must not fail.
pub(super) fn judge(file: &SourceFile) -> Vec<Diagnostic> {
    let mesh = Mesh::default();
    let loaded = load(std::slice::from_ref(file), &mesh);
    let mesh = loaded.mesh;
    let mut found = loaded.diagnostics;
    let (registry, across) = policies::check::check(&loaded.documents, &mesh);
    found.extend(across);
    found.extend(authz::check::check(&loaded.documents, &registry, &mesh));
    found.extend(policies::advice::advise(
        &loaded.documents,
        &registry,
        &mesh,
    ));
    found.extend(authz::advice::advise(&loaded.documents, &registry, &mesh));
    let edge = workload(
        "istio-ingressgateway",
        "istio-system",
        &[("istio", "ingressgateway")],
    );
    let own = workload("web", "default", &[("app", "web")]);
    for workload in [&edge, &own] {
        drop(PolicySet::compile(&loaded.documents, workload, &mesh));
        drop(MtlsModes::compile(&loaded.documents, workload, &mesh));
    }
    for proxy in [
        Proxy::Gateway { workload: &edge },
        Proxy::Sidecar { workload: &own },
    ] {
        drop(RouteTable::compile(
            &loaded.documents,
            &registry,
            &mesh,
            proxy,
        ));
    }
    drop(GatewayListeners::compile(&loaded.documents, &edge, &mesh));
    found.sort_by(|a, b| a.at.cmp(&b.at));
    found
}

fn workload(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Workload {
    let labels: BTreeMap<String, String> = (labels.iter())
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Workload {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        service_account: name.to_owned(),
        labels,
    }
}

/// How long each line is, as YAML ends lines; a byte order mark is no column.
fn widths(text: &str) -> Vec<usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    unix.split('\n').map(|line| line.chars().count()).collect()
}

fn within(diagnostic: &Diagnostic, widths: &[usize]) {
    let start = (diagnostic.at.line, diagnostic.at.column);
    let end = (diagnostic.at.end.line, diagnostic.at.end.column);
    assert!(
        start <= end,
        "it ends before it starts: {diagnostic} {end:?}"
    );
    for (line, column) in [start, end] {
        let line = usize::try_from(line).expect("small");
        let column = usize::try_from(column).expect("small");
        assert!(line >= 1 && column >= 1, "{diagnostic}");
        let width = widths
            .get(line - 1)
            .unwrap_or_else(|| panic!("no line {line}: {diagnostic}"));
        assert!(
            column <= width + 1,
            "no column {column} in line {line}: {diagnostic}"
        );
    }
}

/// Whether no character steers a terminal or reorders a line.
fn is_safe(text: &str, lines: bool) -> bool {
    text.chars().all(|character| {
        !((character.is_control() && !(lines && character == '\n'))
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
    })
}
