//! `portcullis version`: this command's version and those of the running parts.

use serde_json::{Value, json};

use crate::admin_port;
use crate::cli::{Format, Report};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::record::{PartRecord, Record};
use crate::terminal;

/// Prints the versions; a mesh that does not run is no failure.
pub(crate) fn run(args: &Report) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let record = Record::of_running(&dir).ok();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let parts = runtime.block_on(parts(record.as_ref()));
    let own = env!("CARGO_PKG_VERSION");
    match args.output {
        Format::Json => {
            let mesh = record.map(|record| json!({ "pid": record.pid, "version": record.version }));
            let parts: Vec<Value> = parts
                .into_iter()
                .map(|(name, version)| json!({ "name": name, "version": version.ok() }))
                .collect();
            let answer = json!({ "version": own, "mesh": mesh, "parts": parts });
            terminal::line(format_args!("{answer:#}"));
        }
        Format::Text => {
            terminal::line(format_args!("portcullis {own}"));
            let mesh = record.map(|record| ("up".to_owned(), Ok(record.version)));
            let rows: Vec<Vec<String>> = mesh
                .into_iter()
                .chain(parts)
                .map(|(name, version)| vec![format!("  {name}"), version.unwrap_or_else(|why| why)])
                .collect();
            for row in rows {
                if let [name, version] = row.as_slice() {
                    terminal::line(format_args!("{name:<30} {version}"));
                }
            }
        }
    }
    Ok(Exit::Fine)
}

/// The version that each part with an admin port gives.
async fn parts(record: Option<&Record>) -> Vec<(String, Result<String, String>)> {
    let mut versions = Vec::new();
    let parts = record
        .map(|record| record.parts.as_slice())
        .unwrap_or_default();
    for PartRecord { name, ports, .. } in parts {
        let Some(admin) = ports.get("admin") else {
            continue;
        };
        let version = admin_port::get_json(*admin, "/version")
            .await
            .and_then(|answer| {
                let version = answer
                    .get("version")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                version.ok_or_else(|| "does not say".to_owned())
            });
        versions.push((name.clone(), version));
    }
    versions
}
