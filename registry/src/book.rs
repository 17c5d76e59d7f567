//! What is registered: who may say what, how long it holds, and what a watcher has to be told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dataplane::registry::{Instance, InstanceName, InstanceState};
use identity::SpiffeId;

/// The most instances at once, those that have gone among them.
const MOST_INSTANCES: usize = 10_000;
/// How many that have gone are remembered; their services stay declared.
const MOST_GONE: usize = 1_000;

/// A moment: for leases, and for people.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since some fixed moment; never goes back.
    pub monotonic: Duration,
    /// Seconds since 1970.
    pub seconds: u64,
}

/// One stream of a workload; counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session(pub u64);

/// Why a workload is not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It says that it is somebody else.
    #[error(
        "`{caller}` may not register {name} as service account `{account}`: that is another identity"
    )]
    NotYours {
        /// Who asks.
        caller: SpiffeId,
        /// What it wants to be.
        name: InstanceName,
        /// As whom.
        account: String,
    },
    /// Another identity has that name.
    #[error("{name} is registered by `{holder}`")]
    Taken {
        /// The name.
        name: InstanceName,
        /// Who has it.
        holder: SpiffeId,
    },
    /// One stream speaks for one instance.
    #[error("this stream has registered {0} already")]
    Another(InstanceName),
    /// There is no room.
    #[error("there are {MOST_INSTANCES} instances already")]
    Full,
}

/// What every watcher shall know; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Counts the changes.
    pub version: u64,
    /// Whether whoever was there before has had time to come back.
    pub settled: bool,
    /// All instances.
    pub instances: BTreeMap<InstanceName, Arc<Instance>>,
}

/// What a watcher has to be told.
#[derive(Debug, Default)]
pub struct Change {
    /// New or changed.
    pub told: Vec<Arc<Instance>>,
    /// Not remembered any more.
    pub forgotten: Vec<InstanceName>,
}

impl State {
    /// The way from an earlier state to this one.
    pub fn since(&self, before: &Self) -> Change {
        let told = self.instances.iter().filter(|(name, instance)| {
            let known = before.instances.get(name);
            !known.is_some_and(|known| Arc::ptr_eq(known, instance))
        });
        let forgotten = before.instances.keys();
        Change {
            told: told.map(|(_, instance)| Arc::clone(instance)).collect(),
            forgotten: forgotten
                .filter(|name| !self.instances.contains_key(name))
                .cloned()
                .collect(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    holder: SpiffeId,
    /// The stream that speaks for it; none when it has gone.
    session: Option<Session>,
    /// When it was heard of.
    heard: Duration,
    /// What it said last; it is believed again when an expired stream speaks.
    told: InstanceState,
}

/// The registry's memory.
#[derive(Debug)]
pub struct Book {
    lease: Duration,
    state: State,
    entries: BTreeMap<InstanceName, Entry>,
    sessions: BTreeMap<Session, InstanceName>,
}

impl Book {
    /// An empty book in which a registration holds for `lease` after each sign of life.
    pub fn new(lease: Duration) -> Self {
        Self {
            lease,
            state: State::default(),
            entries: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A workload says what it is. Whether anything changed.
    ///
    /// # Errors
    /// When it may not say that.
    pub fn tell(
        &mut self,
        session: Session,
        caller: &SpiffeId,
        instance: Instance,
        now: Now,
    ) -> Result<bool, Refused> {
        let name = instance.name.clone();
        if !instance.is(caller) {
            return Err(Refused::NotYours {
                caller: caller.clone(),
                name,
                account: instance.service_account,
            });
        }
        if let Some(own) = self.sessions.get(&session)
            && *own != name
        {
            return Err(Refused::Another(own.clone()));
        }
        match self.entries.get(&name) {
            // A workload that starts again may come before its old stream is known to be broken.
            Some(entry) if entry.session.is_some() && entry.holder != *caller => {
                return Err(Refused::Taken {
                    name,
                    holder: entry.holder.clone(),
                });
            }
            Some(entry) => {
                if let Some(old) = entry.session {
                    self.sessions.remove(&old);
                }
            }
            None if self.entries.len() >= MOST_INSTANCES => return Err(Refused::Full),
            None => {}
        }
        self.sessions.insert(session, name.clone());
        let entry = Entry {
            holder: caller.clone(),
            session: Some(session),
            heard: now.monotonic,
            told: instance.state,
        };
        self.entries.insert(name, entry);
        Ok(self.put(instance, now))
    }

    /// A sign of life. Whether anything changed: one that was given up is believed again.
    pub fn hear(&mut self, session: Session, now: Now) -> bool {
        let Some(name) = self.sessions.get(&session) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(name) else {
            return false;
        };
        entry.heard = now.monotonic;
        let told = entry.told;
        self.become_state(&name.clone(), told, "", now)
    }

    /// A stream has ended. Whether anything changed.
    pub fn end(&mut self, session: Session, now: Now) -> bool {
        let Some(name) = self.sessions.remove(&session) else {
            return false;
        };
        if let Some(entry) = self.entries.get_mut(&name) {
            entry.session = None;
        }
        let changed = self.become_state(&name, InstanceState::Gone, "it has ended", now);
        self.forget_oldest();
        changed
    }

    /// Gives up everybody of whom nothing was heard for a lease. Whether anything changed.
    pub fn expire(&mut self, now: Now) -> bool {
        let silent = |entry: &Entry| {
            entry.session.is_some() && now.monotonic.saturating_sub(entry.heard) > self.lease
        };
        let names = self.entries.iter().filter(|(_, entry)| silent(entry));
        let names: Vec<InstanceName> = names.map(|(name, _)| name.clone()).collect();
        let mut changed = false;
        for name in names {
            changed |= self.become_state(&name, InstanceState::Gone, "nothing is heard of it", now);
        }
        changed
    }

    /// Whoever was registered with an earlier registry has had time to come back.
    pub fn settle(&mut self) {
        self.state.settled = true;
    }

    fn put(&mut self, mut instance: Instance, now: Now) -> bool {
        let known = self.state.instances.get(&instance.name);
        if known.is_some_and(|known| known.says_the_same(&instance)) {
            return false;
        }
        let since = known.filter(|known| known.state == instance.state);
        instance.since = since.map_or(now.seconds, |known| known.since);
        self.state
            .instances
            .insert(instance.name.clone(), Arc::new(instance));
        self.state.version += 1;
        true
    }

    fn become_state(
        &mut self,
        name: &InstanceName,
        state: InstanceState,
        reason: &str,
        now: Now,
    ) -> bool {
        match self.state.instances.get(name) {
            Some(known) if known.state != state => {
                let instance = Instance {
                    state,
                    reason: reason.to_owned(),
                    ..Instance::clone(known)
                };
                self.put(instance, now)
            }
            _ => false,
        }
    }

    /// Keeps the number of those that have gone within bounds.
    fn forget_oldest(&mut self) {
        let gone = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.session.is_none());
        if gone.clone().count() <= MOST_GONE {
            return;
        }
        let oldest = gone.min_by_key(|(_, entry)| entry.heard);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.entries.remove(&name);
            self.state.instances.remove(&name);
            self.state.version += 1;
        }
    }
}

#[cfg(test)]
mod tests;
