//! What a watcher knows: the instances as the registry told them, across the registry's restarts.

use std::collections::{BTreeMap, BTreeSet};

use super::instance::{BadInstance, Instance, InstanceName, InstanceState};
use super::wire::WatchResponse;

/// More than this is not kept, whatever the registry says.
const MOST_INSTANCES: usize = 20_000;

/// The instances that are known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Which life of the registry told it.
    pub(super) life: String,
    /// The version of that life.
    pub(super) version: u64,
    /// All of them.
    pub(super) instances: BTreeMap<InstanceName, Instance>,
    /// Told in an earlier life and not in this one yet.
    unheard: BTreeSet<InstanceName>,
}

impl Known {
    /// Takes over what the registry tells; whether any document changes by it.
    pub(super) fn take(&mut self, told: WatchResponse) -> Result<bool, BadInstance> {
        let mut changed = false;
        if told.life != self.life {
            self.life = told.life;
            self.unheard = self.instances.keys().cloned().collect();
        } else if told.complete {
            // Of its own life the registry knows everything; who is missing is forgotten.
            let names = told
                .instances
                .iter()
                .filter_map(|instance| instance.name.clone());
            let names: BTreeSet<InstanceName> = names
                .map(InstanceName::try_from)
                .collect::<Result<_, _>>()?;
            let before = self.instances.len();
            let unheard = &self.unheard;
            self.instances
                .retain(|name, _| names.contains(name) || unheard.contains(name));
            changed |= self.instances.len() != before;
        }
        for instance in told.instances {
            let instance = Instance::try_from(instance)?;
            self.unheard.remove(&instance.name);
            let room = self.instances.len() < MOST_INSTANCES;
            let known = self.instances.get(&instance.name);
            if known != Some(&instance) && (room || known.is_some()) {
                self.instances.insert(instance.name.clone(), instance);
                changed = true;
            }
        }
        for name in told.forgotten {
            let name = InstanceName::try_from(name)?;
            changed |= self.instances.remove(&name).is_some();
        }
        if told.settled {
            // They had time to come back and did not. Their services stay declared.
            for name in std::mem::take(&mut self.unheard) {
                if let Some(instance) = self.instances.get_mut(&name) {
                    instance.state = InstanceState::Gone;
                    changed = true;
                }
            }
        }
        self.version = told.version;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::wire;

    fn told(life: &str, names: &[&str]) -> WatchResponse {
        let instances = names.iter().map(|name| wire::Instance {
            name: Some(wire::InstanceName {
                namespace: "my-app".to_owned(),
                name: (*name).to_owned(),
            }),
            service_account: "billing".to_owned(),
            address: "127.0.0.1".to_owned(),
            ports: vec![wire::Port {
                name: "http".to_owned(),
                number: 80,
                protocol: "HTTP".to_owned(),
                listens_at: 1,
            }],
            state: wire::State::Ready.into(),
            ..wire::Instance::default()
        });
        WatchResponse {
            life: life.to_owned(),
            version: 1,
            complete: true,
            settled: false,
            instances: instances.collect(),
            forgotten: Vec::new(),
        }
    }

    fn ready(known: &Known) -> Vec<&str> {
        let ready = known.instances.values();
        let ready = ready.filter(|instance| instance.state == InstanceState::Ready);
        ready.map(|instance| instance.name.name.as_str()).collect()
    }

    #[test]
    fn within_a_life_the_registry_is_believed() {
        let mut known = Known::default();
        assert_eq!(known.take(told("one", &["a", "b"])), Ok(true));
        assert_eq!(known.take(told("one", &["a", "b"])), Ok(false));
        assert_eq!(known.take(told("one", &["b"])), Ok(true));
        assert_eq!(ready(&known), ["b"]);
        let change = WatchResponse {
            complete: false,
            forgotten: vec![wire::InstanceName {
                namespace: "my-app".to_owned(),
                name: "b".to_owned(),
            }],
            ..told("one", &["c"])
        };
        assert_eq!(known.take(change), Ok(true));
        assert_eq!(ready(&known), ["c"]);
    }

    #[test]
    fn a_registry_that_has_just_started_takes_nobody_out() {
        let mut known = Known::default();
        known.take(told("one", &["a", "b"])).unwrap();
        assert_eq!(known.take(told("two", &[])), Ok(false));
        assert_eq!(known.take(told("two", &["b"])), Ok(false));
        assert_eq!(ready(&known), ["a", "b"]);
        let settled = WatchResponse {
            complete: false,
            settled: true,
            ..told("two", &[])
        };
        assert_eq!(known.take(settled), Ok(true));
        assert_eq!(ready(&known), ["b"]);
        assert_eq!(
            known.instances.len(),
            2,
            "the service of `a` stays declared"
        );
    }

    #[test]
    fn nonsense_changes_nothing_that_is_known_of_others() {
        let mut known = Known::default();
        known.take(told("one", &["a"])).unwrap();
        assert!(known.take(told("one", &["a", "../b"])).is_err());
        assert_eq!(ready(&known), ["a"]);
    }
}
