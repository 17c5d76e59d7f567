//! `mesh.json`: what the running `up` says about itself and its parts, for the other verbs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::directory::{self, MeshDir};
use crate::exit::{Context as _, Failure};
use crate::lock;

/// A running mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The pid of `up`.
    pub(crate) pid: i32,
    /// The version of `up`.
    pub(crate) version: String,
    /// Seconds since 1970.
    pub(crate) started_at: u64,
    /// Whether every part has been ready.
    pub(crate) ready: bool,
    /// Where the chaos API listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chaos: Option<SocketAddr>,
    /// By the order in which they start.
    pub(crate) parts: Vec<PartRecord>,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// The certificate authority.
    Ca,
    /// The registry of workloads.
    Registry,
    /// The gateway.
    Gateway,
    /// The proxy beside a demo service.
    Sidecar,
    /// A demo service.
    App,
}

/// One process of a running mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartRecord {
    /// Unique in the mesh.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Absent while it is being restarted.
    pub(crate) pid: Option<u32>,
    /// Whether it has been ready since it was last started.
    pub(crate) ready: bool,
    /// How many times it was started again.
    pub(crate) restarts: u32,
    /// When it was last started, in seconds since 1970.
    pub(crate) started_at: u64,
    /// Where it listens, by the names of its `ports.json`.
    pub(crate) ports: BTreeMap<String, SocketAddr>,
    /// Where its log is.
    pub(crate) log: String,
}

impl Record {
    /// Writes the record for others to read.
    pub(crate) fn write(&self, dir: &MeshDir) -> Result<(), Failure> {
        let path = dir.record();
        serde_json::to_string_pretty(self)
            .map_err(std::io::Error::from)
            .and_then(|text| directory::write_whole(&path, &text))
            .map(drop)
            .context(|| format!("cannot write `{}`", path.display()))
    }

    /// Reads the record of the mesh that runs in `dir`; without one the failure says what to type.
    pub(crate) fn of_running(dir: &MeshDir) -> Result<Self, Failure> {
        let shown = dir.root().display();
        let nobody = || {
            Failure::unreachable(format!("no mesh runs in `{shown}`"))
                .hint(format!("start one with: portcullis up{}", dir.flag()))
        };
        let pid = lock::holder(&dir.lock())
            .context(|| format!("cannot look into `{shown}`"))?
            .ok_or_else(nobody)?;
        let starting = || {
            Failure::unreachable(format!(
                "the mesh in `{shown}` is still starting (pid {pid})"
            ))
            .hint("try again in a second")
        };
        let text = std::fs::read(dir.record()).map_err(|_absent| starting())?;
        let record: Self =
            serde_json::from_slice(&text).context(|| "cannot understand `mesh.json`".to_owned())?;
        // A record of an earlier `up` that the present one has not replaced yet.
        if record.pid == pid {
            Ok(record)
        } else {
            Err(starting())
        }
    }

    /// The part of that name.
    pub(crate) fn part(&self, name: &str) -> Option<&PartRecord> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
