//! `portcullis services`: what is registered in the running mesh; and the same as documents, for verbs that judge documents.

use std::collections::BTreeMap;

use dataplane::checked::check;
use dataplane::registry::{Instance, InstanceState};
use policies::load::Loader;
use policies::source::SourceFile;
use serde::{Deserialize, Serialize};

use crate::admin_port;
use crate::cli::{Format, Report};
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::mesh_set::mesh;
use crate::names::spiffe_id;
use crate::record::{self, Record};
use crate::terminal::{self, span, table};

/// What the registry answers at `/services`.
#[derive(Debug, Default, Deserialize)]
struct Registered {
    instances: Vec<Instance>,
}

/// A service as `-o json` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceShown<'a> {
    service: &'a str,
    namespace: &'a str,
    /// Of its instances, those that can take requests.
    ready: usize,
    instances: Vec<InstanceShown<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceShown<'a> {
    #[serde(flatten)]
    instance: &'a Instance,
    spiffe_id: String,
    version: &'a str,
    /// Seconds since it came into its state.
    age_seconds: u64,
}

/// Prints what is registered; exits with 1 if a service has no instance that is ready.
pub(crate) fn run(args: &Report) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let record = Record::of_running(&dir)?;
    let registered = ask(&record)?;
    let services = by_service(&registered.instances);
    match args.output {
        Format::Json => {
            let json = serde_json::to_string_pretty(&services);
            terminal::line(json.context(|| "cannot print".to_owned())?);
        }
        Format::Text if services.is_empty() => terminal::line("no workload is registered"),
        Format::Text => terminal::print(&text(&services)),
    }
    let all = services.iter().all(|service| service.ready > 0);
    Ok(if all { Exit::Fine } else { Exit::Finding })
}

/// What is registered, as documents; nothing if no mesh runs.
pub(crate) fn documents(dir: &MeshDir) -> Vec<SourceFile> {
    let registered = Record::of_running(dir).and_then(|record| ask(&record));
    let registered = registered.unwrap_or_default();
    dataplane::registry::documents(&registered.instances).to_vec()
}

/// The files with what is registered beside them, as proxies read it: where both declare the same thing, the file wins.
pub(crate) fn with_registered(dir: &MeshDir, files: &[SourceFile]) -> Vec<SourceFile> {
    let mut registered = documents(dir);
    loop {
        let all = [files, &registered].concat();
        let checked = check(&mut Loader::default(), &all, &mesh());
        let before = registered.len();
        registered.retain(|file| {
            let mut errors = checked
                .diagnostics
                .iter()
                .filter(|finding| finding.is_error());
            !errors.any(|error| error.at.file == file.name)
        });
        if registered.len() == before {
            return all;
        }
    }
}

fn ask(record: &Record) -> Result<Registered, Failure> {
    let registry = record.part("registry");
    let admin = registry.and_then(|part| part.ports.get("admin").copied());
    let admin = admin.ok_or_else(|| {
        Failure::unreachable("the mesh's registry is not ready").hint("try again in a second")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let page = runtime.block_on(admin_port::get_large(admin, "/services"));
    let page = page.map_err(Failure::unreachable)?;
    serde_json::from_slice(&page).context(|| "cannot understand the registry".to_owned())
}

fn by_service(instances: &[Instance]) -> Vec<ServiceShown<'_>> {
    let now = record::now();
    let mut services: BTreeMap<(&str, &str), Vec<InstanceShown<'_>>> = BTreeMap::new();
    for instance in instances {
        let name = instance.service().unwrap_or(&instance.name.name);
        let shown = InstanceShown {
            spiffe_id: spiffe_id(&instance.name.namespace, &instance.service_account),
            version: instance.version(),
            age_seconds: now.saturating_sub(instance.since),
            instance,
        };
        let service = services
            .entry((&instance.name.namespace, name))
            .or_default();
        service.push(shown);
    }
    let services = services
        .into_iter()
        .map(|((namespace, service), instances)| {
            let ready = |shown: &&InstanceShown<'_>| shown.instance.state == InstanceState::Ready;
            ServiceShown {
                service,
                namespace,
                ready: instances.iter().filter(ready).count(),
                instances,
            }
        });
    services.collect()
}

fn text(services: &[ServiceShown<'_>]) -> String {
    let head = [
        "SERVICE", "READY", "INSTANCE", "VERSION", "HEALTH", "SINCE", "AT", "IDENTITY",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for service in services {
        for (number, shown) in service.instances.iter().enumerate() {
            let first = number == 0;
            let instance = shown.instance;
            let port = instance.ports.first().map_or(0, |port| port.listens_at);
            let health = match (instance.state, instance.reason.as_str()) {
                (InstanceState::Unready, reason) if !reason.is_empty() => {
                    format!("unready: {reason}")
                }
                (state, _) => state.to_string(),
            };
            rows.push(vec![
                if first {
                    format!("{}.{}", service.service, service.namespace)
                } else {
                    String::new()
                },
                if first {
                    format!("{}/{}", service.ready, service.instances.len())
                } else {
                    String::new()
                },
                instance.name.name.clone(),
                shown.version.to_owned(),
                health,
                span(shown.age_seconds),
                format!("{}:{port}", instance.address),
                shown.spiffe_id.clone(),
            ]);
        }
    }
    table(&rows)
}
