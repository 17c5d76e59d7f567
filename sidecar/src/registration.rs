//! What this sidecar says of its workload in the mesh's registry, and when.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use dataplane::registry::{
    ApplicationHealth, Instance, InstanceName, InstancePort, InstanceState, Registering,
    RegistryConfig, wire,
};
use identity::material::MaterialReader;
use runtime::health::Readiness;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{AppProtocol, Config, Inbound};
use crate::probe::App;

/// How often an application that does not answer is asked.
const SOON: Duration = Duration::from_millis(50);
/// How often one that answers is asked.
const SELDOM: Duration = Duration::from_secs(1);
/// Kubernetes' and Istio's label for where a workload runs.
const LOCALITY: &str = "topology.istio.io/locality";

/// Checks what `registry.register` has to do with `inbound`.
pub(crate) fn check(registry: &RegistryConfig, inbound: &[Inbound]) -> anyhow::Result<()> {
    let Some(register) = &registry.register else {
        return Ok(());
    };
    anyhow::ensure!(
        !inbound.is_empty(),
        "`registry.register`: without `inbound` there is nothing that others could reach"
    );
    for port in &register.ports {
        anyhow::ensure!(
            inbound.iter().any(|inbound| inbound.port == port.inbound),
            "`registry.register.ports`: `{}` is no port of `inbound`",
            port.inbound
        );
    }
    let unspecified = inbound.iter().any(|port| port.listen.ip().is_unspecified());
    anyhow::ensure!(
        !unspecified || register.address.is_some(),
        "`registry.register.address` is missing: `inbound` listens on every address, and others need one"
    );
    Ok(())
}

/// Begins to register the workload, if it is to be: as ready once the sidecar is ready and the application answers.
pub(crate) fn start(
    config: &Config,
    listens_at: &[SocketAddr],
    material: &MaterialReader,
    readiness: &Readiness,
) -> anyhow::Result<Option<Registering>> {
    let Some(registry) = &config.registry else {
        return Ok(None);
    };
    if registry.register.is_none() {
        return Ok(None);
    }
    let expected = registry
        .expected(&config.identity.trust_domain, &config.mesh.root_namespace)
        .context("`registry.identity`")?;
    let instance = instance(config, registry, listens_at).context("`registry.register`")?;
    let health = follow(readiness.clone(), App::of(config));
    Ok(Some(Registering::start(
        registry,
        expected,
        material.clone(),
        instance,
        health,
    )))
}

/// The workload as others shall know it.
fn instance(
    config: &Config,
    registry: &RegistryConfig,
    listens_at: &[SocketAddr],
) -> anyhow::Result<Instance> {
    let register = registry.register.clone().unwrap_or_default();
    let first = listens_at.first().context("`inbound` is empty")?;
    let ports = config.inbound.iter().zip(listens_at).map(|(inbound, at)| {
        let named = register
            .ports
            .iter()
            .find(|port| port.inbound == inbound.port);
        let protocol = match inbound.protocol {
            AppProtocol::Http => "http",
            AppProtocol::Http2 => "http2",
            AppProtocol::Grpc => "grpc",
            AppProtocol::Tcp => "tcp",
        };
        let alone = config.inbound.len() == 1;
        InstancePort {
            name: named.and_then(|port| port.name.clone()).unwrap_or_else(|| {
                if alone {
                    protocol.to_owned()
                } else {
                    format!("{protocol}-{}", inbound.port)
                }
            }),
            number: named.and_then(|port| port.number).unwrap_or(inbound.port),
            protocol: protocol.to_ascii_uppercase(),
            listens_at: at.port(),
        }
    });
    let workload = &config.workload;
    let instance = Instance {
        name: InstanceName {
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
        },
        service_account: workload.service_account.clone(),
        labels: workload.labels.clone(),
        address: register.address.unwrap_or_else(|| first.ip()),
        ports: ports.collect(),
        locality: workload
            .labels
            .get(LOCALITY)
            .map(|locality| locality.replace('.', "/")),
        state: InstanceState::Unready,
        reason: String::new(),
        since: 0,
    };
    // The registry would refuse it with the same words, only later.
    Ok(Instance::try_from(wire::Instance::from(&instance))?)
}

/// Looks after the application for as long as anybody wants to know.
fn follow(readiness: Readiness, app: App) -> watch::Receiver<ApplicationHealth> {
    let (tell, health) = watch::channel(None);
    tokio::spawn(async move {
        let mut ready = readiness.subscribe();
        // A sidecar that cannot serve yet is not worth mentioning.
        drop(ready.wait_for(|ready| *ready).await);
        while !tell.is_closed() {
            let now = app.ask().await;
            let pause = if now.is_ok() { SELDOM } else { SOON };
            tell.send_if_modified(|told| {
                let same = told.as_ref() == Some(&now);
                *told = Some(now);
                !same
            });
            tokio::select! {
                () = sleep(pause) => {}
                () = tell.closed() => {}
            }
        }
    });
    health
}
