//! What `up` prints: each part as it becomes ready, what to type next, and whatever goes wrong later.

use std::net::SocketAddr;
use std::time::Duration;

use super::part::Part;
use super::plan::Plan;
use crate::admin_port;
use crate::chaos;
use crate::directory::MeshDir;
use crate::record::{Kind, PartRecord, Record};
use crate::terminal::{self, Mark, heading, line, marked, mebibytes};

/// Where the mesh lives.
pub(crate) fn beginning(dir: &MeshDir) {
    let version = env!("CARGO_PKG_VERSION");
    line(heading(&format!(
        "Portcullis {version} in {}",
        dir.root().display()
    )));
}

/// Where the chaos API is, and whether it had to move.
pub(crate) fn chaos(wish: u16, at: SocketAddr) {
    marked(Mark::Good, "chaos", chaos::server::url(at));
    if wish != 0 && at.port() != wish {
        let text = format!("port {wish} is taken; the chaos API is at {at}");
        marked(Mark::Attention, "chaos", text);
    }
}

/// A part is ready for the first time.
pub(crate) fn ready(part: &Part, record: &PartRecord, plan: &Plan) {
    let name = part.name.as_str();
    let port = |name: &str| record.ports.get(name);
    match part.kind {
        Kind::Ca => {
            let at = port("grpc").map(ToString::to_string).unwrap_or_default();
            marked(
                Mark::Good,
                name,
                format_args!("cluster.local, signs at {at}"),
            );
        }
        Kind::Registry => {
            let at = port("grpc").map(ToString::to_string).unwrap_or_default();
            marked(Mark::Good, name, format_args!("workloads register at {at}"));
        }
        Kind::Gateway => {
            let mut urls = Vec::new();
            let mut moved = Vec::new();
            for (logical, wish) in plan.gateway_wishes() {
                if let Some(real) = port(&format!("listener:{logical}")) {
                    let scheme = if logical == 443 { "https" } else { "http" };
                    urls.push(format!("{scheme}://{real}"));
                    if wish.port() != 0 && *real != wish {
                        moved.push(format!(
                            "port {} is taken; {scheme} is at {real}",
                            wish.port()
                        ));
                    }
                }
            }
            marked(Mark::Good, name, urls.join("   "));
            for text in moved {
                marked(Mark::Attention, name, text);
            }
        }
        Kind::Sidecar => {
            let at = |name: &str| port(name).map(ToString::to_string).unwrap_or_default();
            let inbound = record
                .ports
                .iter()
                .find(|(name, _)| name.starts_with("inbound:"));
            let inbound = inbound.map(|(_, at)| at.to_string()).unwrap_or_default();
            let text = format!("mTLS in at {inbound}, out by {}", at("outbound"));
            marked(Mark::Good, name, text);
        }
        // One line a workload is enough.
        Kind::App => {}
    }
}

/// Everything is ready.
pub(crate) fn complete(dir: &MeshDir, record: &Record, took: Duration) {
    let (me, flag) = (terminal::me(), dir.flag());
    let own = runtime::process::proportional_memory(std::process::id());
    let theirs = record.parts.iter().filter_map(|part| part.pid);
    let memory = theirs
        .filter_map(runtime::process::proportional_memory)
        .chain(own)
        .sum();
    let processes = record.parts.len() + 1;
    let ready = format!(
        "Ready in {:.1} s: {processes} processes, {} of memory in all.",
        took.as_secs_f64(),
        mebibytes(memory)
    );
    line("");
    line(heading(&ready));
    let demo = record.parts.iter().any(|part| part.kind == Kind::App);
    line("");
    line("In another terminal:");
    line(format_args!("  eval \"$({me} env{flag})\""));
    if demo {
        line("  curl -i http://$GATEWAY_URL/api/products                        90 % v1, 10 % v2");
        line("  curl -i -H 'x-canary: true' http://$GATEWAY_URL/api/products    always v2");
        line(
            "  curl -i http://$GATEWAY_URL/api/orders                          a sidecar calls a sidecar",
        );
        if let Some(https) = record
            .part("gateway")
            .and_then(|part| part.ports.get("listener:443"))
        {
            let root = dir.gateway().join("state/edge-root.pem");
            line(format_args!(
                "  curl -i --cacert {} https://{https}/api/products",
                root.display()
            ));
        }
        line("  curl -i -X DELETE http://$GATEWAY_URL/api/products/1            denied by policy");
    }
    line(format_args!(
        "  {me} run{flag} --name billing --port 9000 -- python3 app.py"
    ));
    line(format_args!("  {me} services{flag}"));
    line(format_args!("  {me} status{flag}"));
    line("");
    line(format_args!(
        "Policies: {}   (edits take effect as you save)",
        dir.policies().display()
    ));
    line(format_args!("Logs:     {}", dir.logs().display()));
    line(format_args!("Stop:     Ctrl-C, or {me} down{flag}"));
}

/// A part has died and will be started again.
pub(crate) fn died(part: &Part, how: &str, again_in: Duration) {
    let text = format!("{how}; starts again in {:.1} s", again_in.as_secs_f64());
    marked(Mark::Bad, &part.name, text);
}

/// A part is ready again.
pub(crate) fn back(part: &Part, record: &PartRecord) {
    let pid = record.pid.unwrap_or_default();
    marked(Mark::Good, &part.name, format_args!("is back (pid {pid})"));
}

/// Says what a part that takes long waits for.
pub(crate) async fn waiting(part: &Part) {
    let reason = match part.readiness() {
        None => "has not opened its ports yet".to_owned(),
        Some((address, path)) => match admin_port::get(address, path).await {
            Ok((_status, body)) => {
                format!("is not ready: {}", String::from_utf8_lossy(&body).trim())
            }
            Err(error) => format!("is not ready: {error}"),
        },
    };
    let log = part.log.display();
    marked(
        Mark::Attention,
        &part.name,
        format_args!("{reason}; its log is {log}"),
    );
}

/// A program under `portcullis run` was killed.
pub(crate) fn swept(name: &str) {
    marked(
        Mark::Attention,
        name,
        "its `portcullis run` is gone; taken out of the mesh",
    );
}

/// Something that is not fatal.
pub(crate) fn trouble(name: &str, what: &str) {
    marked(Mark::Attention, name, what);
}

/// The mesh begins to stop.
pub(crate) fn stopping() {
    line("");
    line("Stopping: gateway, sidecars, services, registry, CA. Ctrl-C again stops at once.");
}

/// The mesh has stopped.
pub(crate) fn stopped(ran: Duration) {
    line(format_args!(
        "Stopped after {}.",
        terminal::span(ran.as_secs())
    ));
}
