//! What runs where: the addresses of all parts, and the files that follow from them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use super::documents::Demo;
use super::part::Part;
use crate::cli::Up;
use crate::directory::{MeshDir, private_dir, write_whole};
use crate::names::{DEFAULT_NAMESPACE, Label};
use crate::ports::{self, FreePorts, Ports, loopback};
use crate::process_files::{self, Centre, Inbound, SidecarFile};
use crate::record::Kind;

/// The port that every demo service is known by in its workload, whatever it really listens on.
const WORKLOAD_PORT: u16 = 8080;

/// A demo service, its instance and its sidecar.
#[derive(Debug)]
struct Workload {
    name: &'static str,
    app: &'static str,
    version: &'static str,
    labels: Vec<Label>,
    socket: Arc<TcpListener>,
    app_at: SocketAddr,
    inbound: SocketAddr,
    outbound: SocketAddr,
}

/// Name, service and version of each instance of the demo.
const DEMO: [(&str, &str, &str); 10] = [
    ("product-service-v1", "product-service", "v1"),
    ("product-service-v2", "product-service", "v2"),
    ("order-service", "order-service", "v1"),
    ("order-service-2", "order-service", "v1"),
    ("catalog-service", "catalog-service", "v1"),
    ("catalog-service-2", "catalog-service", "v1"),
    ("payment-service", "payment-service", "v1"),
    ("payment-service-2", "payment-service", "v1"),
    ("inventory-service", "inventory-service", "v1"),
    ("inventory-service-2", "inventory-service", "v1"),
];

/// The name of a workload's sidecar among the parts.
fn sidecar_of(workload: &str) -> String {
    format!("{workload}-sidecar")
}

/// The addresses of a mesh.
#[derive(Debug)]
pub(crate) struct Plan {
    dir: MeshDir,
    centre: Centre,
    /// What was asked for, and what the gateway got: it keeps that when it is started again.
    wishes: [(u16, SocketAddr); 2],
    http: SocketAddr,
    https: SocketAddr,
    workloads: Vec<Workload>,
}

impl Plan {
    /// Chooses free ports, those of the last time if they still are.
    pub(crate) fn make(dir: &MeshDir, args: &Up, demo: Demo) -> io::Result<Self> {
        let mut free = FreePorts::default();
        let last = |home: PathBuf, name: &str| {
            ports::published(&home.join("state")).and_then(|ports| ports.get(name).copied())
        };
        let centre = Centre {
            ca: free.pick(last(dir.ca(), "grpc"))?,
            registry: free.pick(last(dir.registry(), "grpc"))?,
        };
        let mut workloads = Vec::new();
        for (name, app, version) in DEMO.into_iter().filter(|_| demo == Demo::With) {
            let home = dir.workload(name);
            let socket = TcpListener::bind(loopback(0))?;
            let label = |key: &str, value: &str| Label {
                key: key.to_owned(),
                value: value.to_owned(),
            };
            workloads.push(Workload {
                name,
                app,
                version,
                labels: vec![label("app", app), label("version", version)],
                app_at: socket.local_addr()?,
                socket: Arc::new(socket),
                inbound: free.pick(last(home.clone(), &format!("inbound:{WORKLOAD_PORT}")))?,
                outbound: free.pick(last(home, "outbound"))?,
            });
        }
        let (http, https) = (loopback(args.http), loopback(args.https));
        Ok(Self {
            dir: dir.clone(),
            centre,
            wishes: [(80, http), (443, https)],
            http,
            https,
            workloads,
        })
    }

    /// The CA, which starts before all others.
    pub(crate) fn ca(&self) -> Part {
        Part::program(
            "ca",
            "ca".to_owned(),
            Kind::Ca,
            &self.dir.ca(),
            &self.dir.logs(),
        )
    }

    /// Everything that needs the CA.
    pub(crate) fn others(&self) -> Vec<Part> {
        let (dir, logs) = (&self.dir, self.dir.logs());
        let program = |verb: &str, kind, home: PathBuf| {
            Part::program(verb, verb.to_owned(), kind, &home, &logs)
        };
        let mut parts = vec![
            program("registry", Kind::Registry, dir.registry()),
            program("gateway", Kind::Gateway, dir.gateway()),
        ];
        for workload in &self.workloads {
            let name = sidecar_of(workload.name);
            let home = dir.workload(workload.name);
            parts.push(Part::program("sidecar", name, Kind::Sidecar, &home, &logs));
            let socket = Arc::clone(&workload.socket);
            let name = workload.name.to_owned();
            parts.push(Part::app(
                name,
                workload.args(),
                socket,
                workload.app_at,
                &logs,
            ));
        }
        parts
    }

    /// The name of each process that enrols, and the file in which it looks for its join token.
    pub(crate) fn enrolments(&self) -> Vec<(&'static str, PathBuf)> {
        let mut all = vec![
            ("registry", self.dir.registry()),
            ("gateway", self.dir.gateway()),
        ];
        all.extend(
            self.workloads
                .iter()
                .map(|w| (w.name, self.dir.workload(w.name))),
        );
        all.into_iter()
            .map(|(name, home)| (name, home.join("join.token")))
            .collect()
    }

    /// Where the gateway was asked to listen, by logical port.
    pub(crate) fn gateway_wishes(&self) -> [(u16, SocketAddr); 2] {
        self.wishes
    }

    /// The names of the workloads that have to be registered before the mesh is complete.
    pub(crate) fn workloads(&self) -> Vec<&'static str> {
        self.workloads
            .iter()
            .map(|workload| workload.name)
            .collect()
    }

    /// Writes the configuration of every process; unchanged files stay as they are.
    pub(crate) fn write(&self) -> io::Result<()> {
        let dir = &self.dir;
        private_dir(&dir.gateway().join("credentials"))?;
        write_whole(
            &dir.ca().join("ca.yaml"),
            &process_files::ca(self.centre.ca),
        )?;
        let registry = process_files::registry(self.centre.ca, self.centre.registry);
        write_whole(&dir.registry().join("registry.yaml"), &registry)?;
        let gateway = process_files::gateway(self.centre, self.http, self.https);
        write_whole(&dir.gateway().join("gateway.yaml"), &gateway)?;
        for workload in &self.workloads {
            let home = dir.workload(workload.name);
            private_dir(&home)?;
            write_whole(&home.join("sidecar.yaml"), &workload.file(self.centre))?;
        }
        Ok(())
    }

    /// Takes note of where a part really listens; returns the names of the parts that must start again for it.
    pub(crate) fn learn(&mut self, part: &Part, ports: &Ports) -> Vec<String> {
        let proxies = |plan: &Self| -> Vec<String> {
            let sidecars = plan.workloads.iter().map(|w| sidecar_of(w.name));
            sidecars.chain(["gateway".to_owned()]).collect()
        };
        match part.kind {
            Kind::Ca => match ports.get("grpc") {
                Some(grpc) if *grpc != self.centre.ca => {
                    self.centre.ca = *grpc;
                    let mut all = proxies(self);
                    all.push("registry".to_owned());
                    all
                }
                _ => Vec::new(),
            },
            Kind::Registry => match ports.get("grpc") {
                Some(grpc) if *grpc != self.centre.registry => {
                    self.centre.registry = *grpc;
                    proxies(self)
                }
                _ => Vec::new(),
            },
            Kind::Sidecar => {
                let of_part = |w: &&mut Workload| sidecar_of(w.name) == part.name;
                let Some(workload) = self.workloads.iter_mut().find(of_part) else {
                    return Vec::new();
                };
                if let Some(inbound) = ports.get(&format!("inbound:{WORKLOAD_PORT}")) {
                    workload.inbound = *inbound;
                }
                match ports.get("outbound") {
                    Some(outbound) if *outbound != workload.outbound => {
                        workload.outbound = *outbound;
                        vec![workload.name.to_owned()]
                    }
                    _ => Vec::new(),
                }
            }
            Kind::Gateway => {
                self.http = ports.get("listener:80").copied().unwrap_or(self.http);
                self.https = ports.get("listener:443").copied().unwrap_or(self.https);
                Vec::new()
            }
            Kind::App => Vec::new(),
        }
    }

    /// The arguments of a demo service, as they are now.
    pub(crate) fn app_args(&self, name: &str) -> Option<Vec<String>> {
        self.workloads
            .iter()
            .find(|workload| workload.name == name)
            .map(Workload::args)
    }
}

impl Workload {
    fn args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["demo", self.app, "--version", self.version]
            .map(str::to_owned)
            .into();
        if self.app == "order-service" {
            args.extend(["--outbound".to_owned(), self.outbound.to_string()]);
        }
        args
    }

    fn file(&self, centre: Centre) -> String {
        process_files::sidecar(&SidecarFile {
            name: self.name,
            namespace: DEFAULT_NAMESPACE,
            service_account: self.app,
            labels: &self.labels,
            centre,
            inbound: Some(Inbound {
                port: WORKLOAD_PORT,
                listen: self.inbound,
                app: self.app_at,
            }),
            outbound: self.outbound,
            dapr: None,
        })
    }
}
