//! Instances as documents: a WorkloadEntry for each that is ready, a ServiceEntry for each service.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::source::SourceFile;
use serde_json::{Value, json};

use super::instance::{Instance, InstancePort, InstanceState};

/// What their file names begin with. It sorts behind every absolute path, so that of two documents that declare the same
/// thing the file's is the first, and this the one that is wrong.
const ORIGIN: &str = "registry:";

/// The documents of a set of instances, one a file, sorted by name.
///
/// A service is declared by each of its instances, ready or not: it has the ports that any of them has, and selects by the
/// label `app`. Documents are JSON, which is YAML, so that no value can be anything but a value.
pub fn documents<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Arc<[SourceFile]> {
    let mut services: BTreeMap<(&str, &str), BTreeMap<u16, &InstancePort>> = BTreeMap::new();
    let mut files = Vec::new();
    for instance in instances {
        let namespace = instance.name.namespace.as_str();
        if let Some(service) = instance.service() {
            let ports = services.entry((namespace, service)).or_default();
            for port in &instance.ports {
                let known = ports.values().any(|known| known.name == port.name);
                if !known {
                    ports.entry(port.number).or_insert(port);
                }
            }
        }
        if instance.state == InstanceState::Ready {
            files.push(file(
                "workload",
                namespace,
                &instance.name.name,
                &workload(instance),
            ));
        }
    }
    for ((namespace, name), ports) in services {
        files.push(file(
            "service",
            namespace,
            name,
            &service(namespace, name, ports),
        ));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files.into()
}

fn file(kind: &str, namespace: &str, name: &str, document: &Value) -> SourceFile {
    SourceFile {
        name: format!("{ORIGIN}{kind}/{namespace}/{name}").into(),
        text: document.to_string().into(),
    }
}

fn workload(instance: &Instance) -> Value {
    let ports: BTreeMap<&str, u16> = instance
        .ports
        .iter()
        .map(|port| (port.name.as_str(), port.listens_at))
        .collect();
    let mut spec = json!({
        "address": instance.address.to_string(),
        "ports": ports,
        "labels": instance.labels,
        "serviceAccount": instance.service_account,
    });
    if let (Some(locality), Value::Object(fields)) = (&instance.locality, &mut spec) {
        fields.insert("locality".to_owned(), json!(locality));
    }
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": instance.name.name, "namespace": instance.name.namespace},
        "spec": spec,
    })
}

fn service(namespace: &str, name: &str, ports: BTreeMap<u16, &InstancePort>) -> Value {
    let ports = ports.into_iter().map(
        |(number, port)| json!({"number": number, "name": port.name, "protocol": port.protocol}),
    );
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "hosts": [format!("{name}.{namespace}.svc.cluster.local")],
            "ports": ports.collect::<Vec<_>>(),
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "workloadSelector": {"labels": {"app": name}},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use policies::load::load;
    use policies::mesh::Mesh;

    use super::*;
    use crate::registry::InstanceName;

    fn instance(name: &str, app: &str, state: InstanceState) -> Instance {
        Instance {
            name: InstanceName {
                namespace: "my-app".to_owned(),
                name: name.to_owned(),
            },
            service_account: app.to_owned(),
            labels: [("app", app), ("version", "true")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            address: Ipv4Addr::LOCALHOST.into(),
            ports: vec![InstancePort {
                name: "http".to_owned(),
                number: 80,
                protocol: "HTTP".to_owned(),
                listens_at: 15_006,
            }],
            locality: None,
            state,
            reason: String::new(),
            since: 0,
        }
    }

    #[test]
    fn the_documents_load_without_a_word() {
        let instances = [
            instance("billing", "billing", InstanceState::Ready),
            instance("billing-2", "billing", InstanceState::Unready),
            instance("prices", "prices", InstanceState::Gone),
        ];
        let files = documents(&instances);
        let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
        assert_eq!(
            names,
            [
                "registry:service/my-app/billing",
                "registry:service/my-app/prices",
                "registry:workload/my-app/billing"
            ]
        );
        let loaded = load(&files, &Mesh::default());
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let (registry, findings) =
            policies::registry::Registry::build(&loaded.documents, &loaded.mesh);
        assert!(findings.is_empty(), "{findings:?}");
        let billing = registry.lookup("billing", "my-app").unwrap();
        assert_eq!(billing.endpoints.len(), 1);
        let endpoint = &billing.endpoints[0].endpoint;
        assert_eq!(
            endpoint.expected.as_deref(),
            Some("spiffe://cluster.local/ns/my-app/sa/billing")
        );
        assert_eq!(endpoint.labels["version"], "true");
        assert!(
            registry
                .lookup("prices", "my-app")
                .unwrap()
                .endpoints
                .is_empty()
        );
    }
}
