//! Plans over the demo's documents in a real directory.

use std::fs;

use super::*;
use crate::cli::Dir;
use crate::exit::Exit;

const ROUTES: &str = include_str!("../../../deploy/demo/policies/virtual-services.yaml");
const SUBSETS: &str = "# Versions.
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: product-service, namespace: my-app}
spec:
  host: product-service.my-app.svc.cluster.local
  subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
    - {name: v3, labels: {version: v3}}
";

fn mesh() -> (tempfile::TempDir, MeshDir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = MeshDir::resolve(&Dir {
        dir: Some(temp.path().to_owned()),
    })
    .unwrap();
    fs::create_dir_all(dir.policies()).unwrap();
    fs::write(dir.policies().join("routes.yaml"), ROUTES).unwrap();
    fs::write(dir.policies().join("subsets.yaml"), SUBSETS).unwrap();
    (temp, dir)
}

fn planned(dir: &MeshDir, asked: &[(&str, u32)]) -> Result<Plan, Failure> {
    let each = asked.iter();
    let wanted: Vec<(String, u32)> = each
        .map(|(subset, weight)| ((*subset).to_owned(), *weight))
        .collect();
    Release::read(dir, "product-service", "my-app")?.plan(dir, &wanted)
}

#[test]
fn only_weights_of_divided_routes_change() {
    let (_temp, dir) = mesh();
    let plan = planned(&dir, &[("v2", 25)]).unwrap();
    let path = dir.policies().join("routes.yaml");
    let expected = ROUTES
        .replace("weight: 90", "weight: 75")
        .replace("weight: 10\n", "weight: 25\n");
    assert_eq!(plan.sets.len(), 1);
    assert_eq!(plan.sets[0].files.len(), 1);
    assert_eq!(plan.sets[0].files[&path].as_deref(), Some(&*expected));
    let told: Vec<_> = plan
        .changes
        .iter()
        .map(|change| (change.identity.name.as_str(), change.what))
        .collect();
    assert_eq!(
        told,
        [
            ("product-service", What::Configured),
            ("storefront", What::Configured)
        ]
    );
    let text = &plan.effect.text;
    assert!(
        text.contains("my-app/product-service http[1] split"),
        "{text}"
    );
    assert!(text.contains("policies/routes.yaml:"), "{text}");
    assert!(text.contains("as it is"), "the routes by header: {text}");
    let routes = plan.effect.json["routes"].as_array().unwrap();
    assert_eq!(routes.len(), 4);
    let destinations = &routes[1]["destinations"];
    assert_eq!(destinations[1]["weight"], 10);
    assert_eq!(destinations[1]["weightAfter"], 25);
    assert!(routes[0]["destinations"][0].get("weightAfter").is_none());
    // What stands there already is no change.
    let plan = planned(&dir, &[("v2", 10), ("v1", 90)]).unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.changes[0].what, What::Unchanged);
}

#[test]
fn what_cannot_be_set_is_explained() {
    let (_temp, dir) = mesh();
    let unknown = planned(&dir, &[("v9", 25)]).unwrap_err();
    assert_eq!(unknown.exit, Exit::Usage);
    let hint = unknown.next_step().unwrap();
    assert!(
        hint.contains("v1 (policies/subsets.yaml:8), v2 (policies/subsets.yaml:9)"),
        "{hint}"
    );
    let nowhere = planned(&dir, &[("v3", 25)]).unwrap_err();
    assert_eq!(nowhere.exit, Exit::Finding);
    assert!(
        nowhere.to_string().contains("does not name `v3`"),
        "{nowhere}"
    );
    let short = planned(&dir, &[("v1", 50), ("v2", 25)]).unwrap_err();
    assert_eq!(short.exit, Exit::Usage);
    assert!(short.to_string().contains("come to 75"), "{short}");
    let host = Release::read(&dir, "product-servcie", "my-app").unwrap_err();
    assert_eq!(host.exit, Exit::Usage);
    assert!(
        host.next_step().unwrap().contains("product-service.my-app"),
        "{host}"
    );
}

#[test]
fn what_stands_is_shown() {
    let (_temp, dir) = mesh();
    for host in [
        "product-service",
        "Product-Service.my-app.svc",
        "product-service.my-app.svc.cluster.local",
    ] {
        let now = Release::read(&dir, host, "my-app").unwrap().now(&dir);
        assert_eq!(now.service, "product-service.my-app");
        let subsets: Vec<_> = now.subsets.iter().map(|subset| &*subset.name).collect();
        assert_eq!(subsets, ["v1", "v2", "v3"]);
        let text = effect::standing(&now);
        assert!(
            text.contains("subset v2 (version=v2) at policies/subsets.yaml:9"),
            "{text}"
        );
        assert!(text.contains("90 %"), "{text}");
        assert!(text.contains("100 %"), "{text}");
    }
}
