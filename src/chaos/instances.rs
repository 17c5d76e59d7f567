//! The sidecars of the mesh that take chaos: which there are, whose they are, and what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use dataplane::chaos::{ChaosOrder, ChaosPage, Scenario, ServiceName};
use tokio::task::JoinSet;

use super::board::Wanted;
use crate::admin_port;
use crate::directory::MeshDir;
use crate::exit::Failure;
use crate::mesh_set::Readers;
use crate::processes;

/// One sidecar that takes orders.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    admin: SocketAddr,
    page: ChaosPage,
}

/// Every sidecar that takes orders now.
pub(crate) async fn all(dir: &MeshDir) -> Result<Vec<Instance>, Failure> {
    let mut asked = JoinSet::new();
    let processes = processes::of_mesh(dir, Readers::Proxies)?;
    for admin in processes.into_iter().filter_map(|process| process.admin) {
        asked.spawn(async move {
            // Whoever does not answer, or knows no such page, takes no orders.
            let (status, body) = admin_port::get(admin, "/chaos").await.ok()?;
            let page = serde_json::from_slice(&body).ok()?;
            status.is_success().then_some(Instance { admin, page })
        });
    }
    let mut all: Vec<Instance> = asked.join_all().await.into_iter().flatten().collect();
    all.sort_by(|a, b| (&a.page.workload, a.admin).cmp(&(&b.page.workload, b.admin)));
    Ok(all)
}

impl Instance {
    /// The workload's name.
    pub(crate) fn name(&self) -> &str {
        &self.page.workload
    }

    /// How many requests a scenario has struck there; `None` where it does not hold.
    pub(crate) fn struck(&self, id: &str) -> Option<u64> {
        let mut scenarios = self.page.scenarios.iter();
        let found = scenarios.find(|shown| shown.id == id)?;
        Some(found.struck)
    }

    /// Whether exactly these scenarios hold there.
    fn has(&self, orders: &[Scenario]) -> bool {
        let held: BTreeSet<&str> = self.page.scenarios.iter().map(|one| &*one.id).collect();
        let wanted: BTreeSet<&str> = orders.iter().map(|one| &*one.id).collect();
        held == wanted
    }

    /// Tells it what is to hold, if that is not so already. Who cannot be told is asked again in the next round.
    async fn bring_to(mut self, orders: Vec<Scenario>) -> Self {
        if !self.has(&orders)
            && let Some(page) = self.tell(orders).await
        {
            self.page = page;
        }
        self
    }

    async fn tell(&self, orders: Vec<Scenario>) -> Option<ChaosPage> {
        let order = serde_json::to_vec(&ChaosOrder { scenarios: orders }).ok()?;
        let told = admin_port::put(self.admin, "/chaos", order.into()).await;
        let (status, page) = told.ok()?;
        if !status.is_success() {
            return None;
        }
        serde_json::from_slice(&page).ok()
    }
}

/// Brings every instance to what is wanted of its services. Gives them back as they are then.
pub(crate) async fn bring_to(
    instances: Vec<Instance>,
    wanted: &[Wanted],
    now: tokio::time::Instant,
) -> Vec<Instance> {
    let mut told = JoinSet::new();
    for instance in instances {
        let own = wanted
            .iter()
            .filter(|wanted| instance.page.services.contains(&wanted.service));
        let orders: Vec<Scenario> = own.map(|wanted| wanted.order(now)).collect();
        told.spawn(instance.bring_to(orders));
    }
    let mut instances = told.join_all().await;
    instances.sort_by(|a, b| (&a.page.workload, a.admin).cmp(&(&b.page.workload, b.admin)));
    instances
}

/// The services of the instances, by the names that people give.
pub(crate) fn services(instances: &[Instance]) -> BTreeMap<String, BTreeSet<ServiceName>> {
    let mut names: BTreeMap<String, BTreeSet<ServiceName>> = BTreeMap::new();
    for service in instances.iter().flat_map(|one| &one.page.services) {
        let of = names.entry(service.name.clone()).or_default();
        of.insert(service.clone());
    }
    names
}

/// The instances of a service.
pub(crate) fn of<'a>(
    instances: &'a [Instance],
    service: &'a ServiceName,
) -> impl Iterator<Item = &'a Instance> {
    instances
        .iter()
        .filter(move |one| one.page.services.contains(service))
}
