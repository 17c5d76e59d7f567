//! Waiting until every process of a mesh has the documents in force that stand on the disk, or refuses them.

use std::time::Duration;

use runtime::documents::EditionId;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::write::Written;
use crate::admin_port;
use crate::directory::MeshDir;
use crate::exit::Failure;
use crate::mesh_set::Readers;
use crate::processes::{Process, of_mesh};

/// How often the processes are asked.
const GLANCE: Duration = Duration::from_millis(40);

/// How far one process is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartState {
    /// Its name among the parts.
    pub(super) name: String,
    /// What it made of the documents.
    pub(super) state: State,
    /// The generation that it has in force.
    pub(super) generation: Option<u64>,
    /// How long that took, counted from the write.
    pub(super) milliseconds: u128,
    /// Why it refuses, or does not answer.
    pub(super) reasons: Vec<String>,
}

/// What a process made of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// It has them in force.
    InForce,
    /// It keeps the ones before.
    Refused,
    /// It has not said so in time.
    Behind,
}

/// Asks until every reader of these sets has what stands on the disk, one of them refuses it, or time is over.
///
/// Others may write to the directories too (`run` writes registration entries), so what stands on the disk is read again each time.
pub(super) async fn until_in_force(
    dir: &MeshDir,
    readers: &[Readers],
    _written: Option<&Written>,
    timeout: Duration,
) -> Result<Vec<PartState>, Failure> {
    let begun = Instant::now();
    let mut states: Vec<PartState> = Vec::new();
    loop {
        let mut all_told = true;
        for readers in readers {
            let Ok(edition) = readers.read(dir) else {
                // Held by a change under way, or in motion.
                all_told = false;
                continue;
            };
            for part in of_mesh(dir, *readers)? {
                let mut state = ask(&part, edition.id).await;
                state.milliseconds = begun.elapsed().as_millis();
                all_told &= state.state != State::Behind;
                match states.iter_mut().find(|known| known.name == state.name) {
                    // The moment at which it was first seen counts.
                    Some(known) if known.state == state.state => {
                        known.generation = state.generation;
                    }
                    Some(known) => *known = state,
                    None => states.push(state),
                }
            }
        }
        if all_told || begun.elapsed() >= timeout {
            return Ok(states);
        }
        sleep(GLANCE).await;
    }
}

async fn ask(part: &Process, edition: EditionId) -> PartState {
    let mut state = PartState {
        name: part.name.clone(),
        state: State::Behind,
        generation: None,
        milliseconds: 0,
        reasons: Vec::new(),
    };
    let Some(admin) = part.admin else {
        state.reasons.push("it is not ready yet".to_owned());
        return state;
    };
    let told = match admin_port::get_json(admin, "/status").await {
        Ok(told) => told,
        Err(problem) => {
            state.reasons.push(problem);
            return state;
        }
    };
    let (of_set, refused, reasons) = match part.readers {
        Readers::Proxies => (
            "/policy",
            "/policy/rejected/edition",
            "/policy/rejected/diagnostics",
        ),
        Readers::Ca => ("/entries", "/entries/refused", "/entries/problems"),
    };
    let wanted = edition.to_string();
    let is_wanted = |pointer: &str| told.pointer(pointer).and_then(Value::as_str) == Some(&wanted);
    state.generation = told
        .pointer(&format!("{of_set}/generation"))
        .and_then(Value::as_u64);
    if is_wanted(refused) {
        state.state = State::Refused;
        let reasons = told.pointer(reasons).and_then(Value::as_array);
        state.reasons = reasons.into_iter().flatten().filter_map(reason).collect();
    } else if is_wanted(&format!("{of_set}/edition")) && is_settled(&told, part.readers) {
        state.state = State::InForce;
    } else {
        state
            .reasons
            .push("it has other documents in force".to_owned());
    }
    state
}

/// Whether nothing newer was refused: then what is in force is not what stands on the disk any more.
fn is_settled(told: &Value, readers: Readers) -> bool {
    let pointer = match readers {
        Readers::Proxies => "/policy/rejected",
        Readers::Ca => "/entries/refused",
    };
    told.pointer(pointer).is_none_or(Value::is_null)
}

/// A finding on one line; those that are no errors do not refuse anything.
fn reason(finding: &Value) -> Option<String> {
    if let Some(text) = finding.as_str() {
        return Some(text.to_owned());
    }
    let field = |name: &str| {
        let value = finding.get(name).cloned().unwrap_or_default();
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    (field("severity") == "error").then(|| {
        format!(
            "{}:{}:{}: error[{}]: {}",
            field("file"),
            field("line"),
            field("column"),
            field("code"),
            field("message")
        )
    })
}
