//! What the mesh is told about a program: its name, its identity, its labels and its port.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::leftovers;
use crate::cli::Run;
use crate::directory::{MeshDir, write_whole};
use crate::entries;
use crate::exit::{Context as _, Failure};
use crate::names::{Label, check_label};
use crate::ports::loopback;
use crate::terminal;

/// After this long without anybody on the port the user is told.
const SILENT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// One workload, as the command line describes it.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// Unique among the runs of a mesh.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its identity within the namespace.
    pub(crate) service_account: String,
    /// With `app`, which defaults to the name.
    pub(crate) labels: Vec<Label>,
    /// Where the program serves.
    pub(crate) port: Option<u16>,
    /// Whether it speaks to Dapr.
    pub(crate) dapr: bool,
}

impl Declaration {
    /// Checks names and fills in the defaults.
    pub(crate) fn of(args: &Run) -> Result<Self, Failure> {
        let service_account = args.service_account.as_ref().unwrap_or(&args.name);
        let checks = [
            ("--name", &args.name),
            ("--namespace", &args.namespace),
            ("--service-account", service_account),
        ];
        for (flag, value) in checks {
            check_label(flag, value).map_err(Failure::usage)?;
        }
        let mut labels = args.labels.clone();
        for (number, label) in labels.iter().enumerate() {
            if labels
                .iter()
                .skip(number + 1)
                .any(|other| other.key == label.key)
            {
                return Err(Failure::usage(format!(
                    "label `{}` is given twice",
                    label.key
                )));
            }
        }
        if !labels.iter().any(|label| label.key == "app") {
            labels.insert(
                0,
                Label {
                    key: "app".to_owned(),
                    value: args.name.clone(),
                },
            );
        }
        Ok(Self {
            name: args.name.clone(),
            namespace: args.namespace.clone(),
            service_account: service_account.clone(),
            labels,
            port: args.port,
            dapr: args.dapr,
        })
    }

    /// Writes the entry by which the CA knows the identity.
    pub(crate) fn register(&self, dir: &MeshDir, id: &str) -> Result<(), Failure> {
        let entry = entries::entry(&self.name, &self.namespace, id);
        let path = leftovers::entry_file(dir, &self.name);
        let origin = format!("Written by `portcullis run` (pid {})", std::process::id());
        write_whole(&path, &entries::file(&origin, &entry))
            .map(drop)
            .context(|| format!("cannot write `{}`", path.display()))
    }

    /// Waits until something listens on the program's port, which is when its sidecar lets it join its service; says so if
    /// that takes long.
    pub(crate) async fn until_listening(&self, quiet: bool) {
        let Some(port) = self.port else {
            return;
        };
        let mut waited = Duration::ZERO;
        while TcpStream::connect(loopback(port)).await.is_err() {
            sleep(POLL).await;
            waited += POLL;
            if waited == SILENT && !quiet {
                let name = &self.name;
                terminal::note(format_args!(
                    "portcullis: nothing listens on 127.0.0.1:{port} yet; {name} joins its service \
                     when something does"
                ));
            }
        }
    }
}
