//! The running processes of a mesh, and questions to several of them.

use std::net::SocketAddr;

use crate::admin_port;
use crate::directory::MeshDir;
use crate::exit::{Context as _, Failure};
use crate::lock;
use crate::mesh_set::Readers;
use crate::ports;
use crate::record::{Kind, Record};

/// A process to ask.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Its name among the parts; `run NAME` for the sidecar of a program under `portcullis run`.
    pub(crate) name: String,
    /// Its admin port; none while it is started.
    pub(crate) admin: Option<SocketAddr>,
    /// Which documents it reads.
    pub(crate) readers: Readers,
}

impl Process {
    /// Whether it is called so: by its own name, or as the sidecar of that workload.
    fn is_called(&self, name: &str) -> bool {
        let own = self.name.strip_prefix("run ").unwrap_or(&self.name);
        own == name || own.strip_suffix("-sidecar") == Some(name)
    }
}

/// The running processes that read a set.
pub(crate) fn of_mesh(dir: &MeshDir, readers: Readers) -> Result<Vec<Process>, Failure> {
    let record = Record::of_running(dir)?;
    let wanted = |kind: Kind| match readers {
        Readers::Ca => kind == Kind::Ca,
        Readers::Proxies => matches!(kind, Kind::Gateway | Kind::Sidecar),
    };
    let mut parts: Vec<Process> = record
        .parts
        .iter()
        .filter(|part| wanted(part.kind))
        .map(|part| Process {
            name: part.name.clone(),
            admin: part.ports.get("admin").copied(),
            readers,
        })
        .collect();
    if readers == Readers::Proxies {
        parts.extend(runs(dir));
    }
    Ok(parts)
}

/// The one proxy of that name.
pub(crate) fn proxy(dir: &MeshDir, name: &str) -> Result<Process, Failure> {
    let all = of_mesh(dir, Readers::Proxies)?;
    let found = all.iter().find(|process| process.is_called(name)).cloned();
    found.ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|process| process.name.as_str()).collect();
        Failure::usage(format!("`{name}` is no proxy of this mesh"))
            .hint(format!("proxies are: {}", known.join(", ")))
    })
}

/// A process with its page, or why it has not shown it.
pub(crate) type Asked = (Process, Result<bytes::Bytes, String>);

/// Asks every process for `path`; those that do not answer, or not with success, are told apart by `Err`.
pub(crate) fn ask_all(processes: &[Process], path: &str) -> Result<Vec<Asked>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let mut answers = Vec::with_capacity(processes.len());
    for process in processes {
        let answer = match process.admin {
            None => Err("it is not ready".to_owned()),
            Some(admin) => {
                runtime
                    .block_on(admin_port::get(admin, path))
                    .and_then(|(status, body)| {
                        if status.is_success() {
                            Ok(body)
                        } else {
                            Err(String::from_utf8_lossy(&body).trim().to_owned())
                        }
                    })
            }
        };
        answers.push((process.clone(), answer));
    }
    Ok(answers)
}

/// The sidecars of programs under `portcullis run`.
fn runs(dir: &MeshDir) -> Vec<Process> {
    let Ok(homes) = std::fs::read_dir(dir.runs()) else {
        return Vec::new();
    };
    let names = homes.filter_map(|home| home.ok()?.file_name().into_string().ok());
    let alive = names.filter(|name| {
        let lock = lock::path_in(&dir.run(name), "run");
        matches!(lock::holder(&lock), Ok(Some(_)))
    });
    alive
        .filter_map(|name| {
            // Before it has its ports it has not read anything, and will read what stands there.
            let admin = *ports::published(&dir.run(&name).join("state"))?.get("admin")?;
            Some(Process {
                name: format!("run {name}"),
                admin: Some(admin),
                readers: Readers::Proxies,
            })
        })
        .collect()
}
