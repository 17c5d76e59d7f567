//! A workload of the tests' own in a running mesh: its identity, its sidecar, its service, its route.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use identity::wire::admin_client::AdminClient;
use identity::wire::{CreateJoinTokenRequest, ListEntriesRequest};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::{Laptop, curl, portcullis, wait};

/// A workload whose sidecar runs until this is dropped.
pub(crate) struct Workload {
    name: String,
    home: PathBuf,
    /// The sidecar.
    pub(crate) child: Child,
    /// Where its sidecar accepts mutual TLS.
    pub(crate) inbound: SocketAddr,
    /// Where its program sends its own requests.
    pub(crate) outbound: SocketAddr,
    /// The sidecar's operators' port.
    pub(crate) admin: SocketAddr,
    documents: PathBuf,
}

impl Workload {
    /// Joins the mesh as `my-app/name`, for a program at `app` that speaks `protocol` (`http`, `http2`, `grpc`).
    ///
    /// The service is reached by its name in the mesh, and at the gateway with `Host: <name>.test`.
    pub(crate) fn join(mesh: &Laptop, name: &str, protocol: &str, app: SocketAddr) -> Self {
        let id = format!("spiffe://cluster.local/ns/my-app/sa/{name}");
        fs::write(
            mesh.dir().join(format!("entries/demo/{name}.yaml")),
            format!(
                "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {{name: {name}, namespace: my-app}}\n\
                 spec: {{spiffeID: \"{id}\", selectors: [\"join_token:{name}\"], x509SVIDTTL: 1h}}\n"
            ),
        )
        .unwrap();
        let token = join_token(&mesh.dir().join("ca/admin.sock"), name, &id);
        let ca = mesh.ports("ca")["grpc"];
        let home = mesh.dir().parent().unwrap().join(name);
        let file = SidecarFile {
            name,
            protocol,
            app,
            ca,
            registry: Some(mesh.ports("registry")["grpc"]),
        };
        file.write(&home, &mesh.dir(), &token);
        let child = start_sidecar(&home);
        wait_until_ready(&home);
        let ports = ports_in(&home);
        let workload = Self {
            name: name.to_owned(),
            inbound: ports["inbound:8080"].as_str().unwrap().parse().unwrap(),
            outbound: ports["outbound"].as_str().unwrap().parse().unwrap(),
            admin: ports["admin"].as_str().unwrap().parse().unwrap(),
            documents: mesh.dir().join(format!("policies/demo/{name}.yaml")),
            home,
            child,
        };
        workload.declare(name, if protocol == "grpc" { "GRPC" } else { "HTTP" });
        workload.wait_until_routed(mesh);
        workload
    }

    /// Writes its service, its endpoint with the service account that callers expect, and its route.
    pub(crate) fn declare(&self, service_account: &str, protocol: &str) {
        let name = &self.name;
        let lower = protocol.to_ascii_lowercase();
        let port = self.inbound.port();
        let text = format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: my-app}}
spec:
  hosts: [{name}.my-app.svc.cluster.local]
  ports: [{{number: 80, name: {lower}, protocol: {protocol}}}]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {{labels: {{app: {name}}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: my-app}}
spec:
  address: 127.0.0.1
  ports: {{{lower}: {port}}}
  labels: {{app: {name}}}
  serviceAccount: {service_account}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: my-app}}
spec:
  hosts: [{name}.test]
  gateways: [storefront]
  http:
    - name: {name}
      route: [{{destination: {{host: {name}}}}}]
"
        );
        // As editors save: complete, or not there.
        let new = self.documents.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.documents).unwrap();
    }

    /// Its host name at the gateway.
    pub(crate) fn host(&self) -> String {
        format!("{}.test", self.name)
    }

    /// Waits until the gateway knows its route, and its own sidecar its service.
    fn wait_until_routed(&self, mesh: &Laptop) {
        let host = format!("host: {}", self.name);
        wait(&format!("the sidecar's route to {}", self.name), || {
            let answer = curl(&format!("http://{}/204", self.outbound), &["-H", &host]);
            if answer.body.starts_with("no service") {
                Err(format!("{answer:?}"))
            } else {
                Ok(())
            }
        });
        let host = format!("host: {}", self.host());
        wait(&format!("the gateway's route to {}", self.name), || {
            let answer = mesh.curl("/204", &["-H", &host]);
            if answer.status == 404 {
                Err(format!("{answer:?}"))
            } else {
                Ok(())
            }
        });
    }

    /// The lines of the sidecar's access log.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        lines_of(&self.home.join("access.log"))
    }

    /// The sidecar's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.join("sidecar.log")).unwrap()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(15);
            for line in log.lines().skip(from) {
                eprintln!("{}: {line}", self.name);
            }
        }
        fs::remove_file(&self.documents).ok();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The objects of a log that has one on each line; a line that is still being written is left out.
pub(crate) fn lines_of(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// What a sidecar's configuration is made from.
pub(crate) struct SidecarFile<'a> {
    /// The workload's name, its service account and its label `app`.
    pub(crate) name: &'a str,
    /// What the application speaks.
    pub(crate) protocol: &'a str,
    /// Where the application listens.
    pub(crate) app: SocketAddr,
    /// Where the CA listens.
    pub(crate) ca: SocketAddr,
    /// Where the mesh's registry listens, if the sidecar is to know what is registered.
    pub(crate) registry: Option<SocketAddr>,
}

impl SidecarFile<'_> {
    /// Writes it and the join token into the private directory `home`; `mesh` has the documents.
    pub(crate) fn write(&self, home: &Path, mesh: &Path, token: &str) {
        let Self {
            name,
            protocol,
            app,
            ca,
            registry,
        } = self;
        let registry = registry.map_or_else(String::new, |registry| {
            format!("registry: {{address: \"{registry}\"}}\n")
        });
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(home)
            .unwrap();
        fs::write(home.join("join.token"), token).unwrap();
        let mesh = mesh.display();
        let text = format!(
        "apiVersion: portcullis.dev/v1
kind: SidecarConfig
workload: {{name: {name}, namespace: my-app, serviceAccount: {name}, labels: {{app: {name}, version: v1}}}}
identity: {{trustDomain: cluster.local, ca: \"https://{ca}\", joinToken: ./join.token}}
stateDir: ./state
policies: [\"{mesh}/policies\"]
{registry}defaultNamespace: my-app
inbound: [{{port: 8080, protocol: {protocol}, listen: \"127.0.0.1:0\", app: \"{app}\"}}]
outbound: {{listen: \"127.0.0.1:0\"}}
probe: {{listen: \"127.0.0.1:0\"}}
admin: \"127.0.0.1:0\"
drain: {{timeout: 10s}}
log: {{format: text, level: info}}
accessLog: {{path: \"-\"}}
"
    );
        fs::write(home.join("sidecar.yaml"), text).unwrap();
    }
}

/// Starts the sidecar whose configuration stands in `home`.
pub(crate) fn start_sidecar(home: &Path) -> Child {
    portcullis()
        .args(["sidecar", "--config"])
        .arg(home.join("sidecar.yaml"))
        .stdout(Stdio::from(
            fs::File::create(home.join("access.log")).unwrap(),
        ))
        .stderr(Stdio::from(
            fs::File::create(home.join("sidecar.log")).unwrap(),
        ))
        .spawn()
        .unwrap()
}

/// The ports that a process published in `home`; null until it has.
pub(crate) fn ports_in(home: &Path) -> Value {
    fs::read(home.join("state/ports.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or(Value::Null)
}

/// Waits until the process in `home` says that it is ready.
pub(crate) fn wait_until_ready(home: &Path) {
    wait(&format!("{} to be ready", home.display()), || {
        let ports = ports_in(home);
        let admin = ports["admin"]
            .as_str()
            .ok_or_else(|| fs::read_to_string(home.join("sidecar.log")).unwrap_or_default())?;
        let answer = curl(&format!("http://{admin}/healthz/ready"), &[]);
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.body)
        }
    });
}

/// A join token of this name, once the CA has read the entry that gives it `id`.
pub(crate) fn join_token(socket: &Path, name: &str, id: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    wait(&format!("the CA to know {id}"), || {
        runtime.block_on(async {
            let mut admin = admin(socket).await?;
            let listed = admin.list_entries(ListEntriesRequest {}).await;
            let listed = listed.map_err(|error| error.to_string())?.into_inner();
            if !listed.entries.iter().any(|entry| entry.spiffe_id == id) {
                return Err(format!("{:?}", listed.problems));
            }
            let request = CreateJoinTokenRequest {
                name: name.to_owned(),
                ttl_seconds: Duration::from_mins(5).as_secs().try_into().unwrap(),
            };
            let made = admin.create_join_token(request).await;
            Ok(made.map_err(|error| error.to_string())?.into_inner().token)
        })
    })
}

async fn admin(socket: &Path) -> Result<AdminClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| error.to_string())?;
    Ok(AdminClient::new(channel))
}
