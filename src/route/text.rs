//! The answer of `route` for people.

use std::fmt::Write as _;

use super::answer::{Answer, Because, Found, FoundCluster};
use crate::terminal::heading;

/// The whole answer.
pub(super) fn render(answer: &Answer) -> String {
    let asked = &answer.request;
    let query = asked.query.as_ref().map(|query| format!("?{query}"));
    let mut text = heading(&format!(
        "{} {}{} for {} on port {}",
        asked.method,
        asked.path,
        query.unwrap_or_default(),
        asked.host,
        asked.port
    ));
    text.push('\n');
    for earlier in &answer.earlier {
        // Writing to a String does not fail.
        writeln!(
            text,
            "  ✗ {} at {}",
            named(earlier.name.as_deref(), &earlier.virtual_service),
            earlier.at
        )
        .ok();
        for because in &earlier.because {
            writeln!(text, "      {}", reason(because)).ok();
        }
    }
    match &answer.route {
        Some(route) => found(&mut text, route),
        None if answer.host_is_known => {
            text.push_str("  no route matches: the proxy answers 404\n");
        }
        None => {
            writeln!(
                text,
                "  no route is for the host `{}` on port {}: the proxy answers 404",
                asked.host, asked.port
            )
            .ok();
        }
    }
    for absent in &answer.absent {
        let name = absent.name.as_deref().unwrap_or("a rule");
        writeln!(text, "  · {name} at {}: {}", absent.at, absent.why).ok();
    }
    text
}

fn named(name: Option<&str>, document: &str) -> String {
    match name {
        Some(name) => format!("{name} of {document}"),
        None => document.to_owned(),
    }
}

fn reason(because: &Because) -> String {
    match &because.found {
        Some(found) => format!(
            "{} should be {}, but is {found:?}",
            because.field, because.wanted
        ),
        None => format!(
            "{} should be {}, but is not there",
            because.field, because.wanted
        ),
    }
}

fn found(text: &mut String, route: &Found) {
    let name = named(route.name.as_deref(), &route.virtual_service);
    writeln!(text, "  ✓ {name} at {}", route.at).ok();
    if let Some(path) = &route.rewritten_path {
        writeln!(text, "      path becomes {path}").ok();
    }
    if let Some(host) = &route.rewritten_host {
        writeln!(text, "      host becomes {host}").ok();
    }
    if let Some(redirect) = &route.redirect {
        writeln!(
            text,
            "      answers {} to {}",
            redirect.status, redirect.location
        )
        .ok();
    }
    if let Some(status) = route.direct_response {
        writeln!(text, "      answers {status} itself").ok();
    }
    for cluster in &route.clusters {
        forward(text, cluster);
    }
    match route.timeout_seconds {
        Some(timeout) => writeln!(text, "      timeout {timeout} s").ok(),
        None if route.clusters.is_empty() => None,
        None => writeln!(text, "      no timeout").ok(),
    };
}

fn forward(text: &mut String, cluster: &FoundCluster) {
    let FoundCluster {
        name,
        share_percent,
        transport,
        at,
        ..
    } = cluster;
    writeln!(
        text,
        "      {share_percent:.0} % to {name} by {transport}, defined at {at}"
    )
    .ok();
    for endpoint in &cluster.endpoints {
        let identity = endpoint
            .identity
            .as_deref()
            .unwrap_or("nobody in particular");
        writeln!(
            text,
            "          {} as {identity}, at {}",
            endpoint.address, endpoint.at
        )
        .ok();
    }
    if cluster.endpoints.is_empty() {
        text.push_str("          no endpoint: requests are answered with 503\n");
    }
}
