//! A whole mesh in a temporary directory.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use identity::id::SpiffeId;
use policies::{load::load, source::SourceFile};
use tempfile::TempDir;

use super::{
    CaAdmin, Credentials, Echo, Forge, Forged, Identity, Process, Reply, RequestError, Transport,
    documents, eventually, get_as,
};

/// Where the workloads of tests live unless they say otherwise.
pub const NAMESPACE: &str = "my-app";
/// The gateway's identity, as the design fixes it.
pub const GATEWAY_ID: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway";

/// One workload: a sidecar and an echo application behind it.
#[derive(Clone)]
pub struct WorkloadSpec {
    name: String,
    namespace: String,
    service_account: String,
    labels: BTreeMap<String, String>,
    protocol: &'static str,
    settings: String,
    app: Option<SocketAddr>,
    upstreams: Vec<String>,
}

impl WorkloadSpec {
    /// A workload called `name`; service account and label `app` are the same, the namespace is `my-app`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: NAMESPACE.to_owned(),
            service_account: name.to_owned(),
            labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
            protocol: "http",
            settings: String::new(),
            app: None,
            upstreams: Vec::new(),
        }
    }

    /// Version `v1` of an app: called `<app>-v1`, with the label `version: v1`.
    pub fn version(app: &str, version: &str) -> Self {
        let mut spec = Self::new(app);
        spec.name = format!("{app}-{version}");
        spec.label("version", version)
    }

    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    #[must_use]
    pub fn service_account(mut self, service_account: &str) -> Self {
        service_account.clone_into(&mut self.service_account);
        self
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// `http` (the default), `http2`, `grpc` or `tcp`: what the application speaks.
    #[must_use]
    pub const fn protocol(mut self, protocol: &'static str) -> Self {
        self.protocol = protocol;
        self
    }

    /// An application of the test's own instead of the echo.
    #[must_use]
    pub const fn app(mut self, address: SocketAddr) -> Self {
        self.app = Some(address);
        self
    }

    /// Gives the workload a local port for port 80 of a TCP service.
    #[must_use]
    pub fn upstream(mut self, service: &str) -> Self {
        self.upstreams.push(service.to_owned());
        self
    }

    /// A line of its sidecar's process file.
    #[must_use]
    pub fn setting(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    fn spiffe_id(&self) -> SpiffeId {
        workload_id(&self.namespace, &self.service_account)
    }
}

/// `spiffe://cluster.local/ns/<namespace>/sa/<service account>`.
pub fn workload_id(namespace: &str, service_account: &str) -> SpiffeId {
    SpiffeId::parse(&format!(
        "spiffe://cluster.local/ns/{namespace}/sa/{service_account}"
    ))
    .unwrap()
}

/// What a mesh is made of.
#[derive(Clone, Default)]
pub struct MeshSpec {
    policies: Vec<(String, String)>,
    workloads: Vec<WorkloadSpec>,
    gateway: bool,
    gateway_settings: String,
    certificate_ttl: Option<&'static str>,
}

impl MeshSpec {
    /// A CA and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of policy documents that every process reads.
    #[must_use]
    pub fn policy(mut self, file: &str, text: impl Into<String>) -> Self {
        self.policies.push((file.to_owned(), text.into()));
        self
    }

    #[must_use]
    pub fn workload(mut self, workload: WorkloadSpec) -> Self {
        self.workloads.push(workload);
        self
    }

    /// Also a gateway, with the logical ports 80 and 443.
    #[must_use]
    pub const fn gateway(mut self) -> Self {
        self.gateway = true;
        self
    }

    /// A line of the gateway's process file.
    #[must_use]
    pub fn gateway_setting(mut self, line: &str) -> Self {
        self.gateway_settings.push_str(line);
        self.gateway_settings.push('\n');
        self
    }

    /// How long workload certificates live; an hour unless said.
    #[must_use]
    pub const fn certificate_ttl(mut self, ttl: &'static str) -> Self {
        self.certificate_ttl = Some(ttl);
        self
    }
}

/// A running workload.
pub struct Sidecar {
    pub spec: WorkloadSpec,
    pub id: SpiffeId,
    pub process: Process,
    /// The echo application, unless the test brought its own.
    pub echo: Option<Echo>,
}

impl Sidecar {
    /// Where other workloads reach it: mutual TLS for the application's port 8080.
    pub fn inbound(&self) -> SocketAddr {
        self.process
            .port(&format!("inbound:{}", Mesh::WORKLOAD_PORT))
    }

    /// Where its application calls others, in plain HTTP.
    pub fn outbound(&self) -> SocketAddr {
        self.process.port("outbound")
    }

    /// Where its application connects to the TCP service `service`.
    pub fn upstream(&self, service: &str) -> SocketAddr {
        self.process.port(&format!("upstream:{service}:80"))
    }

    /// How many requests reached the application.
    pub fn requests(&self) -> u64 {
        self.echo.as_ref().map_or(0, Echo::requests)
    }

    /// `GET` as this workload's application would: through its sidecar, for a service by name.
    pub async fn call(&self, service: &str, path: &str) -> Result<Reply, RequestError> {
        get_as(self.outbound(), &Transport::Plain, service, path).await
    }
}

/// A running mesh; dropping it ends every process of it, and no other.
pub struct Mesh {
    // Processes first: they end before their directory goes.
    sidecars: Vec<Sidecar>,
    gateway: Option<Process>,
    pub ca: Process,
    directory: TempDir,
}

impl Mesh {
    /// The port that the documents of tests know applications by.
    pub const WORKLOAD_PORT: u16 = 8080;

    /// Starts everything and waits until it is ready and every process has read the same documents.
    pub async fn start(spec: MeshSpec) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("portcullis-")
            .tempdir()
            .unwrap();
        let root = directory.path();
        for name in ["policies", "endpoints", "entries", "ca"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        for (file, text) in &spec.policies {
            fs::write(root.join("policies").join(file), text).unwrap();
        }
        for workload in &spec.workloads {
            write_entry(root, &workload.name, &workload.spiffe_id());
            let app = &workload.labels["app"];
            let text = documents::service_entry(
                app,
                &workload.namespace,
                service_protocol(workload.protocol),
            );
            fs::write(
                root.join("endpoints")
                    .join(format!("service-{app}-{}.yaml", workload.namespace)),
                text,
            )
            .unwrap();
        }
        if spec.gateway {
            write_entry(root, "gateway", &SpiffeId::parse(GATEWAY_ID).unwrap());
        }
        let ttl = spec.certificate_ttl.unwrap_or("1h");
        let mut ca = Process::start("ca", root.join("ca"), &ca_config(ttl));
        ca.wait_until_ready().await;

        let mut mesh = Self {
            sidecars: Vec::new(),
            gateway: None,
            ca,
            directory,
        };
        for workload in spec.workloads {
            mesh.start_sidecar(workload).await;
        }
        if spec.gateway {
            let home = mesh.new_home("gateway").await;
            let config = gateway_config(mesh.ca.port("grpc")) + &spec.gateway_settings;
            mesh.gateway = Some(Process::start("gateway", home, &config));
        }
        for sidecar in &mut mesh.sidecars {
            sidecar.process.wait_for_ports().await;
        }
        for sidecar in &mesh.sidecars {
            let WorkloadSpec {
                name,
                namespace,
                service_account,
                labels,
                ..
            } = &sidecar.spec;
            let text = documents::workload_entry(
                name,
                namespace,
                service_account,
                labels,
                sidecar.inbound(),
            );
            fs::write(
                mesh.path().join("endpoints").join(format!("{name}.yaml")),
                text,
            )
            .unwrap();
        }
        for process in mesh.proxies_mut() {
            process.wait_until_ready().await;
        }
        mesh.settle().await;
        mesh
    }

    async fn start_sidecar(&mut self, spec: WorkloadSpec) {
        let echo = match spec.app {
            Some(_) => None,
            None => Some(Echo::start(&spec.name).await),
        };
        let app = spec
            .app
            .or_else(|| echo.as_ref().map(|echo| echo.address))
            .unwrap();
        let home = self.new_home(&spec.name).await;
        let config = sidecar_config(&spec, self.ca.port("grpc"), app);
        let process = Process::start("sidecar", home, &config);
        self.sidecars.push(Sidecar {
            id: spec.spiffe_id(),
            spec,
            process,
            echo,
        });
    }

    /// A process directory with a fresh join token in it.
    async fn new_home(&self, name: &str) -> PathBuf {
        let home = self.path().join(name);
        fs::create_dir(&home).unwrap();
        let token = self.ca_admin().await.join_token(name).await;
        let mut file = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(home.join("join.token"))
            .unwrap();
        std::io::Write::write_all(&mut file, token.as_bytes()).unwrap();
        home
    }

    /// The directory of the mesh: `policies`, `endpoints`, `entries`, and one directory per process.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn sidecar(&self, name: &str) -> &Sidecar {
        let found = self
            .sidecars
            .iter()
            .find(|sidecar| sidecar.spec.name == name);
        found.unwrap_or_else(|| panic!("no workload is called `{name}`"))
    }

    pub fn sidecar_mut(&mut self, name: &str) -> &mut Sidecar {
        let found = self
            .sidecars
            .iter_mut()
            .find(|sidecar| sidecar.spec.name == name);
        found.unwrap_or_else(|| panic!("no workload is called `{name}`"))
    }

    pub fn gateway(&self) -> &Process {
        self.gateway.as_ref().expect("the mesh has a gateway")
    }

    pub fn gateway_mut(&mut self) -> &mut Process {
        self.gateway.as_mut().expect("the mesh has a gateway")
    }

    fn proxies_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.sidecars
            .iter_mut()
            .map(|sidecar| &mut sidecar.process)
            .chain(self.gateway.as_mut())
    }

    fn proxies(&self) -> impl Iterator<Item = &Process> {
        self.sidecars
            .iter()
            .map(|sidecar| &sidecar.process)
            .chain(self.gateway.as_ref())
    }

    /// An operator's connection to the CA.
    pub async fn ca_admin(&self) -> CaAdmin {
        CaAdmin::connect(&self.ca.directory().join("admin.sock")).await
    }

    /// Where workloads reach the CA.
    pub fn ca_address(&self) -> String {
        format!("https://{}", self.ca.port("grpc"))
    }

    /// Enrols this test as a meshed peer.
    pub async fn identity(&self, namespace: &str, service_account: &str) -> Identity {
        let id = workload_id(namespace, service_account);
        let name = format!("test-{namespace}-{service_account}");
        write_entry(self.path(), &name, &id);
        eventually("the CA reads the new entry", async || {
            self.ca_admin().await.knows(&name).await.then_some(())
        })
        .await;
        let token = self.ca_admin().await.join_token(&name).await;
        Identity::enrol(&self.ca_address(), "cluster.local", &token).await
    }

    /// A certificate signed by the mesh's own intermediate, saying whatever the test wants.
    pub fn forge(&self, forged: &Forged<'_>) -> Credentials {
        Forge::of_mesh(&self.ca.state()).sign(forged)
    }

    /// Writes a policy file and waits until every proxy has taken the new generation.
    pub async fn write_policy(&self, file: &str, text: &str) {
        let mut before = Vec::new();
        for process in self.proxies() {
            before.push(generation(process).await);
        }
        fs::write(self.path().join("policies").join(file), text).unwrap();
        for (process, before) in self.proxies().zip(before) {
            process.post("/reload").await;
            eventually(
                &format!("{} takes the new policies", process.name()),
                async || {
                    let status = process.status().await;
                    let rejected = &status["policy"]["rejected"];
                    assert!(
                        rejected.is_null(),
                        "{} rejects: {rejected:#}",
                        process.name()
                    );
                    (generation(process).await > before).then_some(())
                },
            )
            .await;
        }
    }

    /// Waits until every proxy has read all documents that are in the directories now.
    async fn settle(&self) {
        let mut sources = Vec::new();
        for directory in ["policies", "endpoints"] {
            for entry in fs::read_dir(self.path().join(directory)).unwrap() {
                let path = entry.unwrap().path();
                sources.push(SourceFile::new(
                    path.display().to_string(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
        let expected = load(&sources, &policies::mesh::Mesh::default())
            .documents
            .len();
        for process in self.proxies() {
            process.post("/reload").await;
            eventually(
                &format!("{} reads {expected} documents", process.name()),
                async || {
                    let status = process.status().await;
                    let rejected = &status["policy"]["rejected"];
                    assert!(
                        rejected.is_null(),
                        "{} rejects: {rejected:#}",
                        process.name()
                    );
                    (status["policy"]["documents"].as_u64() == u64::try_from(expected).ok())
                        .then_some(())
                },
            )
            .await;
        }
    }
}

async fn generation(process: &Process) -> u64 {
    process.status().await["policy"]["generation"]
        .as_u64()
        .unwrap_or(0)
}

fn write_entry(root: &Path, name: &str, id: &SpiffeId) {
    let text = documents::registration_entry(name, id.as_str());
    // Written aside first: the CA may look at any moment.
    let (aside, target) = (
        root.join(format!("{name}.new")),
        root.join("entries").join(format!("{name}.yaml")),
    );
    fs::write(&aside, text).unwrap();
    fs::rename(aside, target).unwrap();
}

const fn service_protocol(protocol: &str) -> &'static str {
    match protocol.as_bytes() {
        b"http2" => "HTTP2",
        b"grpc" => "GRPC",
        b"tcp" => "TCP",
        _ => "HTTP",
    }
}

fn ca_config(ttl: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\n\
         kind: CaConfig\n\
         trustDomain: cluster.local\n\
         listen: \"127.0.0.1:0\"\n\
         stateDir: ./state\n\
         adminSocket: ./admin.sock\n\
         profile: laptop\n\
         entries: [../entries]\n\
         x509: {{ttl: {ttl}, maxTTL: 24h}}\n\
         edge: {{callers: [\"{GATEWAY_ID}\"]}}\n\
         admin: \"127.0.0.1:0\"\n\
         takenPorts: free\n\
         log: {{format: text, level: info}}\n"
    )
}

/// What sidecar and gateway have in common.
fn proxy_config(ca: SocketAddr) -> String {
    format!(
        "identity: {{trustDomain: cluster.local, ca: \"https://{ca}\", joinToken: ./join.token}}\n\
         stateDir: ./state\n\
         policies: [../policies, ../endpoints]\n\
         defaultNamespace: {NAMESPACE}\n\
         rootNamespace: istio-system\n\
         admin: \"127.0.0.1:0\"\n\
         takenPorts: free\n\
         drain: {{timeout: 5s}}\n\
         log: {{format: text, level: info}}\n\
         accessLog: {{path: \"-\"}}\n"
    )
}

fn sidecar_config(spec: &WorkloadSpec, ca: SocketAddr, app: SocketAddr) -> String {
    let upstreams: Vec<_> = spec
        .upstreams
        .iter()
        .map(|service| {
            format!("{{service: {service}, port: 80, listen: \"127.0.0.1:0\", protocol: tcp}}")
        })
        .collect();
    format!(
        "apiVersion: portcullis.dev/v1\n\
         kind: SidecarConfig\n\
         workload: {{name: {name}, namespace: {namespace}, serviceAccount: {account}, labels: {labels}}}\n\
         inbound: [{{port: {port}, protocol: {protocol}, listen: \"127.0.0.1:0\", app: \"{app}\"}}]\n\
         outbound: {{listen: \"127.0.0.1:0\"}}\n\
         upstreams: [{upstreams}]\n\
         probe: {{listen: \"127.0.0.1:0\"}}\n\
         {settings}{common}",
        settings = spec.settings,
        name = spec.name,
        namespace = spec.namespace,
        account = spec.service_account,
        labels = documents::flow(&spec.labels),
        port = Mesh::WORKLOAD_PORT,
        protocol = spec.protocol,
        upstreams = upstreams.join(", "),
        common = proxy_config(ca),
    )
}

fn gateway_config(ca: SocketAddr) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\n\
         kind: GatewayConfig\n\
         listeners: {{80: \"127.0.0.1:0\", 443: \"127.0.0.1:0\"}}\n\
         credentials: ./credentials\n\
         edge: {{selfSigned: true}}\n\
         {common}",
        common = proxy_config(ca),
    )
}
