//! What the mesh is told about a program: its identity, its service and where it is.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::leftovers;
use crate::cli::Run;
use crate::directory::{MeshDir, remove_file, write_whole};
use crate::endpoints::{self, Instance};
use crate::exit::{Context as _, Failure};
use crate::names::{DEFAULT_NAMESPACE, Label, check_label};
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
        })
    }

    /// Writes the registration entry, and declares the service if the program has a port.
    pub(crate) fn register(&self, dir: &MeshDir, id: &str) -> Result<(), Failure> {
        let entry = endpoints::registration(&self.name, &self.namespace, id);
        let path = leftovers::entry_file(dir, &self.name);
        write_whole(&path, &endpoints::file(&origin(), &[entry]))
            .context(|| format!("cannot write `{}`", path.display()))?;
        if self.port.is_some() {
            self.write_endpoints(dir, None)
        } else {
            Ok(())
        }
    }

    /// Puts the program among the endpoints as soon as something listens on its port.
    pub(crate) async fn publish_when_listening(
        &self,
        dir: &MeshDir,
        inbound: Option<SocketAddr>,
        quiet: bool,
    ) -> Result<(), Failure> {
        let (Some(port), Some(inbound)) = (self.port, inbound) else {
            return Ok(());
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
        self.write_endpoints(dir, Some(inbound))
    }

    /// Takes the program out of the endpoints, so that nobody is sent to it any more.
    pub(crate) fn withdraw(&self, dir: &MeshDir) {
        if let Err(error) = remove_file(&leftovers::endpoints_file(dir, &self.name)) {
            terminal::note(format_args!(
                "portcullis: cannot withdraw {}: {error}",
                self.name
            ));
        }
    }

    fn write_endpoints(&self, dir: &MeshDir, inbound: Option<SocketAddr>) -> Result<(), Failure> {
        let mut documents = Vec::new();
        let app = self.labels.iter().find(|label| label.key == "app");
        if let Some(app) = app.filter(|app| check_label("app", &app.value).is_ok())
            && !declared_elsewhere(dir, &self.name, &app.value, &self.namespace)
        {
            documents.push(endpoints::service(&app.value, &self.namespace));
        }
        if let Some(address) = inbound {
            let instance = Instance {
                name: &self.name,
                namespace: &self.namespace,
                service_account: &self.service_account,
                labels: &self.labels,
                address,
            };
            documents.push(instance.document());
        }
        let path = leftovers::endpoints_file(dir, &self.name);
        let written = if documents.is_empty() {
            remove_file(&path)
        } else {
            write_whole(&path, &endpoints::file(&origin(), &documents)).map(drop)
        };
        written.context(|| format!("cannot write `{}`", path.display()))
    }
}

fn origin() -> String {
    format!("Written by `portcullis run` (pid {})", std::process::id())
}

/// Whether a document other than this run's own makes `app` a service already.
fn declared_elsewhere(dir: &MeshDir, run: &str, app: &str, namespace: &str) -> bool {
    use policies::mesh::Mesh;
    let own = leftovers::endpoints_file(dir, run);
    let source = runtime::documents::DocumentSource::new(vec![dir.policies(), dir.endpoints()]);
    let Ok(files) = source.read_all() else {
        return false;
    };
    let own = own.to_string_lossy();
    let others: Vec<_> = files
        .into_iter()
        .filter(|file| *file.name != *own)
        .collect();
    let mesh = Mesh {
        default_namespace: DEFAULT_NAMESPACE.to_owned(),
        ..Mesh::default()
    };
    let loaded = policies::load::load(&others, &mesh);
    let host = format!("{app}.{namespace}.svc.cluster.local");
    loaded.documents.service_entries.iter().any(|entry| {
        entry.meta.namespace == namespace
            && entry
                .hosts
                .iter()
                .any(|found| found.value == host || found.value == app)
    })
}
