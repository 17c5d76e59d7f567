//! Whether every workload is registered and every proxy sends to it.

use serde_json::Value;

use crate::admin_port;
use crate::record::{Kind, Record};

/// Whether all of these workloads are registered as ready, and in force at every proxy.
pub(super) async fn is_known(record: &Record, workloads: &[&str]) -> bool {
    let Some(registered) = ask(record, "registry", "/services").await else {
        return false;
    };
    let instances = registered.get("instances").and_then(Value::as_array);
    let is_ready = |name: &str| {
        let mut instances = instances.into_iter().flatten();
        instances.any(|instance| {
            instance.get("name").is_some_and(|found| found == name)
                && instance.get("state").is_some_and(|state| state == "ready")
        })
    };
    if !workloads.iter().all(|name| is_ready(name)) {
        return false;
    }
    let version = registered.get("version").and_then(Value::as_u64);
    for part in &record.parts {
        if !matches!(part.kind, Kind::Gateway | Kind::Sidecar) {
            continue;
        }
        let Some(known) = ask(record, &part.name, "/registry").await else {
            return false;
        };
        let told = known.pointer("/watch/version").and_then(Value::as_u64);
        let in_force = known.get("inForce").and_then(Value::as_bool);
        if told < version || in_force != Some(true) {
            return false;
        }
    }
    true
}

async fn ask(record: &Record, part: &str, path: &str) -> Option<Value> {
    let admin = record.part(part)?.ports.get("admin")?;
    admin_port::get_json(*admin, path).await.ok()
}
