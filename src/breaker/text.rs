//! Breakers for people.

use dataplane::breakers::{ClusterShown, EndpointShown};

use super::words::{span, spoken};
use super::{Done, Seen};
use crate::terminal;

/// The breakers, a line for each cluster and for all the proxies that see it alike.
pub(super) fn list(all: &[Seen]) -> String {
    if all.is_empty() {
        return "No service has a breaker: `outlierDetection` of a DestinationRule sets one up (--all shows them all).\n"
            .to_owned();
    }
    let heads = [
        "SERVICE",
        "FROM",
        "BREAKER",
        "ENDPOINTS",
        "ACTIVE",
        "EJECTIONS",
        "LAST",
    ];
    let alike = alike(all.iter().map(|seen| {
        let cluster = &seen.cluster;
        let ejections: u64 = cluster.endpoints.iter().map(|one| one.ejections).sum();
        let breaker = match cluster.detection {
            Some(_) => cluster.breaker.clone(),
            None => "-".to_owned(),
        };
        let row = [
            name(cluster),
            breaker,
            endpoints(&cluster.endpoints),
            active(cluster),
            ejections.to_string(),
            last(cluster),
        ];
        (seen.process.as_str(), row)
    }));
    let rows = alike.into_iter().map(|(from, [name, rest @ ..])| {
        let mut row = vec![name, among(&from)];
        row.extend(rest);
        row
    });
    let rows: Vec<_> = std::iter::once(heads.map(str::to_owned).to_vec())
        .chain(rows)
        .collect();
    terminal::table(&rows)
}

/// What is told, each thing once, with all the processes of which it is told, in the order in which it came.
fn alike<'a, T: PartialEq>(told: impl Iterator<Item = (&'a str, T)>) -> Vec<(Vec<&'a str>, T)> {
    let mut found: Vec<(Vec<&str>, T)> = Vec::new();
    for (process, what) in told {
        match found.iter_mut().find(|(_, known)| *known == what) {
            Some((processes, _)) => processes.push(process),
            None => found.push((vec![process], what)),
        }
    }
    found
}

/// Processes by name, if they are few.
fn among(processes: &[&str]) -> String {
    match processes {
        [first, more @ ..] if more.len() > 2 => format!("{first} and {} more", more.len()),
        few => few.join(", "),
    }
}

/// `payment-service:8080`, with the subset if there is one.
fn name(cluster: &ClusterShown) -> String {
    let subset = cluster.subset.as_deref();
    let subset = subset.map(|subset| format!(" {subset}"));
    format!(
        "{}:{}{}",
        cluster.service,
        cluster.port,
        subset.unwrap_or_default()
    )
}

fn endpoints(all: &[EndpointShown]) -> String {
    let mut parts = Vec::new();
    for state in ["closed", "half-open", "open"] {
        let count = all.iter().filter(|one| one.breaker == state).count();
        if count > 0 {
            parts.push(format!("{count} {state}"));
        }
    }
    let failing = all.iter().filter(|one| !one.healthy).count();
    if failing > 0 {
        parts.push(format!("{failing} unhealthy"));
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(", ")
    }
}

fn active(cluster: &ClusterShown) -> String {
    match cluster.max_requests {
        Some(most) => format!("{} of {most}", cluster.active),
        None => cluster.active.to_string(),
    }
}

fn last(cluster: &ClusterShown) -> String {
    let last = cluster.transitions.last();
    last.map_or_else(
        || "-".to_owned(),
        |last| {
            format!(
                "{} {} ago: {}",
                last.to,
                span(last.ago),
                spoken(&last.reason)
            )
        },
    )
}

/// What each breaker will do, and how it stands at the proxies that see it alike.
pub(super) fn explained(all: &[Seen]) -> String {
    let said = |seen: &Seen| {
        let title = format!("{} ({})", name(&seen.cluster), seen.cluster.host);
        (title, seen.explained.clone())
    };
    let mut text = String::new();
    for (_, about) in alike(all.iter().map(|seen| (&*seen.process, said(seen)))) {
        if !text.is_empty() {
            text.push('\n');
        }
        let (title, lines) = &about;
        text.push_str(&terminal::heading(title));
        text.push('\n');
        for line in lines {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        let of_it = all.iter().filter(|seen| said(seen) == about);
        for (processes, state) in alike(of_it.map(|seen| (&*seen.process, state(&seen.cluster)))) {
            text.push_str("\n  At ");
            text.push_str(&among(&processes));
            text.push_str(": ");
            text.push_str(&state);
        }
    }
    text
}

/// How the breaker stands at one proxy.
fn state(cluster: &ClusterShown) -> String {
    let mut text = format!("{}, {} under way.\n", cluster.breaker, active(cluster));
    for one in &cluster.endpoints {
        text.push_str(&endpoint(one).concat());
        text.push('\n');
    }
    text
}

/// How one endpoint stands, in the order in which one would say it.
fn endpoint(one: &EndpointShown) -> Vec<String> {
    let mut told = vec![format!("    {}", one.address)];
    if !one.workload.is_empty() {
        told.push(format!(" ({})", one.workload));
    }
    told.push(format!(": {}", one.breaker));
    if let Some(remaining) = one.remaining {
        told.push(format!(" for another {}", span(remaining)));
    }
    if let (true, Some(reason)) = (one.breaker != "closed", &one.reason) {
        told.push(format!(", because of {}", spoken(reason)));
    }
    if !one.healthy {
        told.push(", fails its health checks".to_owned());
    }
    let row = one
        .consecutive_5xx_errors
        .max(one.consecutive_gateway_errors);
    if row > 0 {
        told.push(format!(", {row} errors in a row"));
    }
    match one.ejections {
        0 => {}
        1 => told.push(", ejected once".to_owned()),
        count => told.push(format!(", ejected {count} times")),
    }
    told
}

/// What was reset.
pub(super) fn reset(all: &[Done]) -> String {
    let told = all.iter().map(|done| {
        let what = match done.reset.reset {
            0 => "was closed already".to_owned(),
            1 => "1 breaker closed".to_owned(),
            count => format!("{count} breakers closed"),
        };
        (done.process.as_str(), (done.cluster.as_str(), what))
    });
    let lines = alike(told).into_iter().map(|(processes, (cluster, what))| {
        let processes = among(&processes);
        format!("{processes}: {cluster}: {what}\n")
    });
    lines.collect()
}
