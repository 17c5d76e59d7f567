//! `portcullis status`: parts, identities, certificate lifetimes and the policy in force.

mod text;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::admin_port;
use crate::ca_admin::CaAdmin;
use crate::cli::{Format, Report};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::lock;
use crate::ports;
use crate::record::{self, Kind, PartRecord, Record};
use crate::terminal;

/// What is known of a mesh; its JSON is what `-o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MeshStatus {
    dir: String,
    pid: i32,
    version: String,
    /// Whether all parts are ready and no document is refused.
    ready: bool,
    uptime_seconds: u64,
    /// Of all processes; what several share counts once (`Pss`).
    memory_bytes: u64,
    gateway: BTreeMap<&'static str, SocketAddr>,
    ca: Option<CaStatus>,
    parts: Vec<PartStatus>,
}

/// What the CA says of itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CaStatus {
    trust_domain: String,
    profile: String,
    root_not_after: i64,
    intermediate_not_after: i64,
    issued_total: u64,
    refused_total: u64,
    entries: usize,
    /// What is wrong with the registration entries.
    problems: Vec<String>,
}

/// One process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PartStatus {
    name: String,
    kind: &'static str,
    pid: Option<u32>,
    ready: bool,
    restarts: u32,
    uptime_seconds: u64,
    rss_bytes: Option<u64>,
    ports: ports::Ports,
    log: String,
    /// What its admin port answers at `/status`; absent for a demo service.
    status: Option<Value>,
    /// Why there is no answer.
    problem: Option<String>,
}

impl PartStatus {
    /// A value deep in what the admin port said.
    fn told(&self, pointer: &str) -> Option<&Value> {
        self.status
            .as_ref()?
            .pointer(pointer)
            .filter(|value| !value.is_null())
    }

    fn rejects_documents(&self) -> bool {
        self.told("/policy/rejected").is_some()
    }
}

/// Prints the status of the running mesh.
pub(crate) fn run(args: &Report) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let record = Record::of_running(&dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let status = runtime.block_on(gather(&dir, &record));
    match args.output {
        Format::Json => {
            let json = serde_json::to_string_pretty(&status);
            terminal::line(json.context(|| "cannot print".to_owned())?);
        }
        Format::Text => terminal::print(&text::render(&status)),
    }
    Ok(if status.ready {
        Exit::Fine
    } else {
        Exit::Finding
    })
}

async fn gather(dir: &MeshDir, record: &Record) -> MeshStatus {
    let mut parts = Vec::new();
    for part in &record.parts {
        parts.push(of_part(part).await);
    }
    for name in runs(dir) {
        parts.extend(of_run(dir, &name).await);
    }
    let ca = of_ca(dir).await.ok();
    let own = u32::try_from(record.pid).ok();
    let all = parts.iter().filter_map(|part| part.pid).chain(own);
    let memory_bytes = all.filter_map(runtime::process::proportional_memory).sum();
    let ready = parts
        .iter()
        .all(|part| part.ready && !part.rejects_documents())
        && ca.as_ref().is_some_and(|ca| ca.problems.is_empty());
    let listener = |port: &str| record.part("gateway")?.ports.get(port).copied();
    let gateway = [
        ("http", listener("listener:80")),
        ("https", listener("listener:443")),
    ];
    MeshStatus {
        dir: dir.root().display().to_string(),
        pid: record.pid,
        version: record.version.clone(),
        ready,
        uptime_seconds: record::now().saturating_sub(record.started_at),
        memory_bytes,
        gateway: gateway
            .into_iter()
            .filter_map(|(name, at)| Some((name, at?)))
            .collect(),
        ca,
        parts,
    }
}

async fn of_part(part: &PartRecord) -> PartStatus {
    let kind = match part.kind {
        Kind::Ca => "ca",
        Kind::Registry => "registry",
        Kind::Gateway => "gateway",
        Kind::Sidecar => "sidecar",
        Kind::App => "app",
    };
    let mut status = PartStatus {
        name: part.name.clone(),
        kind,
        pid: part.pid,
        ready: part.ready,
        restarts: part.restarts,
        uptime_seconds: record::now().saturating_sub(part.started_at),
        rss_bytes: part.pid.and_then(runtime::process::resident_memory),
        ports: part.ports.clone(),
        log: part.log.clone(),
        status: None,
        problem: None,
    };
    ask(&mut status).await;
    status
}

/// The sidecar of a program under `portcullis run`.
async fn of_run(dir: &MeshDir, name: &str) -> Option<PartStatus> {
    let home = dir.run(name);
    let holder = lock::holder(&lock::path_in(&home, "run")).ok()??;
    let mut status = PartStatus {
        name: name.to_owned(),
        kind: "run",
        pid: u32::try_from(holder).ok(),
        ready: true,
        restarts: 0,
        uptime_seconds: age(&home),
        rss_bytes: u32::try_from(holder)
            .ok()
            .and_then(runtime::process::resident_memory),
        ports: ports::published(&home.join("state")).unwrap_or_default(),
        log: home.join("sidecar.log").display().to_string(),
        status: None,
        problem: None,
    };
    ask(&mut status).await;
    // Memory is that of the sidecar, which is what the mesh costs.
    status.rss_bytes = status
        .told("/rssBytes")
        .and_then(Value::as_u64)
        .or(status.rss_bytes);
    Some(status)
}

/// Fills in what the admin port says: readiness as it is now, not as it once was.
async fn ask(part: &mut PartStatus) {
    let Some(admin) = part.ports.get("admin") else {
        return;
    };
    match admin_port::get_json(*admin, "/status").await {
        Ok(told) => {
            part.ready = told
                .get("ready")
                .and_then(Value::as_bool)
                .unwrap_or(part.ready);
            part.status = Some(told);
        }
        Err(problem) => {
            part.ready = false;
            part.problem = Some(problem);
        }
    }
}

async fn of_ca(dir: &MeshDir) -> Result<CaStatus, Failure> {
    let mut admin = CaAdmin::connect(dir).await?;
    let status = admin.status().await?;
    let entries = admin.entries().await?;
    Ok(CaStatus {
        trust_domain: status.trust_domain,
        profile: status.profile,
        root_not_after: status.root_not_after_unix,
        intermediate_not_after: status.intermediate_not_after_unix,
        issued_total: status.issued_total,
        refused_total: status.refused_total,
        entries: entries.entries.len(),
        problems: entries.problems,
    })
}

fn runs(dir: &MeshDir) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(dir.runs()) else {
        return Vec::new();
    };
    let mut names: Vec<String> = found
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn age(path: &Path) -> u64 {
    let made = std::fs::metadata(path)
        .and_then(|found| found.created().or_else(|_unknown| found.modified()));
    made.ok()
        .and_then(|made| made.elapsed().ok())
        .map_or(0, |age| age.as_secs())
}
