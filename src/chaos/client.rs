//! Questions of the command to the chaos API of the running mesh.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::bodies::{ErrorBody, LatencyBody, Refusal, ScenarioBody, StoppedBody};
use super::server::{ERROR, LATENCY, SCENARIOS};
use crate::admin_port;
use crate::cli::Dir;
use crate::directory::MeshDir;
use crate::exit::{Context as _, Failure};
use crate::record::Record;

/// The chaos API of one mesh.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) dir: MeshDir,
    /// What runs in it.
    pub(crate) record: Record,
    pub(crate) runtime: Runtime,
    at: SocketAddr,
}

impl Client {
    /// That of the mesh that runs in a directory.
    pub(crate) fn of_running(dir: &Dir) -> Result<Self, Failure> {
        let dir = MeshDir::resolve(dir)?;
        let record = Record::of_running(&dir)?;
        let at = record
            .chaos
            .ok_or_else(|| Failure::unreachable("this mesh has no chaos API"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(|| "cannot start".to_owned())?;
        Ok(Self {
            dir,
            record,
            runtime,
            at,
        })
    }

    /// Begins to fail requests.
    pub(crate) fn error(&self, body: &ErrorBody) -> Result<ScenarioBody, Failure> {
        self.ask(Method::POST, ERROR, &json(body)?)
    }

    /// Begins to delay requests.
    pub(crate) fn latency(&self, body: &LatencyBody) -> Result<ScenarioBody, Failure> {
        self.ask(Method::POST, LATENCY, &json(body)?)
    }

    /// What holds.
    pub(crate) fn list(&self) -> Result<Vec<ScenarioBody>, Failure> {
        self.ask(Method::GET, SCENARIOS, &Bytes::new())
    }

    /// Ends what holds at a service, or everything.
    pub(crate) fn stop(&self, service: Option<&str>) -> Result<StoppedBody, Failure> {
        let path = match service {
            None => SCENARIOS.to_owned(),
            Some(service) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                if service.is_empty() || !service.chars().all(plain) {
                    let shown = runtime::escape::escape(service, 128);
                    return Err(Failure::usage(format!("`{shown}` is no name of a service")));
                }
                format!("{SCENARIOS}/{service}")
            }
        };
        self.ask(Method::DELETE, &path, &Bytes::new())
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Bytes,
    ) -> Result<T, Failure> {
        let asked = admin_port::ask_for(self.at, method, path, body.clone());
        let (status, answer) = self.runtime.block_on(asked).map_err(Failure::unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&answer)
                .context(|| format!("cannot understand {}{path}", self.at));
        }
        Err(refused(status, &answer))
    }
}

fn json(body: &impl Serialize) -> Result<Bytes, Failure> {
    let text = serde_json::to_vec(body).context(|| "cannot write the request".to_owned())?;
    Ok(text.into())
}

fn refused(status: StatusCode, answer: &[u8]) -> Failure {
    let Ok(refusal) = serde_json::from_slice::<Refusal>(answer) else {
        let text = String::from_utf8_lossy(answer);
        return Failure::new(format!("the chaos API answers {status}: {}", text.trim()));
    };
    let failure = Failure::new(refusal.error);
    if refusal.services.is_empty() {
        match refusal.help {
            Some(help) => failure.hint(help),
            None => failure,
        }
    } else {
        failure.hint(format!("services are: {}", refusal.services.join(", ")))
    }
}
