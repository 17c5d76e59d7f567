//! The verbs that show and change the documents of a running mesh: `get`, `route`, `apply`, `delete`, and the admin pages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, Weak};

use laptop::{Laptop, curl, shared, signal, stdout, wait};
use rustix::process::Signal;
use serde_json::Value;

static MESH: Mutex<Weak<Laptop>> = Mutex::new(Weak::new());

fn mesh() -> Arc<Laptop> {
    shared(&MESH, Laptop::start)
}

/// A verb with arguments and standard input.
fn run(mesh: &Laptop, args: &[&str], input: &str) -> Output {
    let mut child = mesh
        .verb(args[0])
        .args(&args[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    let both =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    both.concat()
}

fn well(mesh: &Laptop, args: &[&str], input: &str) -> String {
    stdout(run(mesh, args, input))
}

fn policy_of(mesh: &Laptop, part: &str) -> Value {
    let admin = mesh.ports(part)["admin"];
    curl(&format!("http://{admin}/status"), &[]).json()["policy"].clone()
}

const DENY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody-deletes-NAME, namespace: my-app}
spec:
  action: DENY
  rules: [{to: [{operation: {methods: [GET], paths: [/api/products/NAME]}}]}]
";

#[test]
fn what_is_shown_can_be_applied_again() {
    let mesh = mesh();
    let table = well(&mesh, &["get", "vs"], "");
    assert!(table.starts_with("NAME"), "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with("storefront"))
        .unwrap();
    assert!(line.contains("virtual-services.yaml:"), "{line}");
    for spelling in [
        "virtualservices",
        "VirtualService",
        "vs.networking.istio.io",
    ] {
        assert_eq!(well(&mesh, &["get", spelling], ""), table);
    }
    assert!(text(&run(&mesh, &["get", "pa"], "")).contains("-A shows all"));
    assert!(well(&mesh, &["get", "pa", "-A"], "").contains("STRICT"));
    assert!(
        well(&mesh, &["get", "re"], "")
            .contains("spiffe://cluster.local/ns/my-app/sa/order-service")
    );
    let missing = run(&mesh, &["get", "vs", "storefornt"], "");
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert_eq!(run(&mesh, &["get", "pods"], "").status.code(), Some(2));
    let json: Value =
        serde_json::from_str(&well(&mesh, &["get", "vs", "storefront", "-o", "json"], "")).unwrap();
    assert_eq!(json["spec"]["hosts"][0], "*");
    assert!(
        json["status"]["at"]
            .as_str()
            .unwrap()
            .contains("virtual-services.yaml:")
    );

    for format in ["yaml", "json"] {
        let all = well(&mesh, &["get", "all", "-A", "-o", format], "");
        let told = well(&mesh, &["apply", "--dry-run", "-f", "-"], &all);
        assert!(told.lines().count() > 8, "{told}");
        assert!(
            told.lines().all(|line| line.ends_with(" unchanged")),
            "{told}"
        );
    }
}

#[test]
fn a_change_is_in_force_everywhere_when_apply_returns() {
    let mesh = mesh();
    let path = mesh.dir().join("policies/demo/authorization.yaml");
    let before = fs::read_to_string(&path).unwrap();
    let policy = well(
        &mesh,
        &["get", "ap", "order-service-policy", "-o", "yaml"],
        "",
    );
    // Orders for nobody: health only.
    let changed = policy.replace("- GET\n        - POST", "- POST");
    assert_ne!(policy, changed, "{policy}");
    let dry = well(&mesh, &["apply", "--dry-run", "-f", "-"], &changed);
    assert!(
        dry.contains(
            "--- a/policies/demo/authorization.yaml\n+++ b/policies/demo/authorization.yaml\n@@ "
        ),
        "{dry}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(mesh.curl("/api/orders", &[]).status, 200);

    let told = well(&mesh, &["apply", "-f", "-"], &changed);
    assert!(
        told.contains("authorizationpolicy.security.istio.io/order-service-policy configured"),
        "{told}"
    );
    assert!(told.contains("in force in 11 processes after"), "{told}");
    assert_eq!(mesh.curl("/api/orders", &[]).status, 403);
    let (first, _) = before.split_once("---\n").unwrap();
    let after = fs::read_to_string(&path).unwrap();
    assert!(
        after.starts_with(first),
        "the other document stays as it is: {after}"
    );

    let again = well(&mesh, &["apply", "-f", "-", "-o", "json"], &changed);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["changes"][0]["change"], "unchanged", "{again:#}");
    assert_eq!(again["parts"][0]["state"], "inForce", "{again:#}");
    well(&mesh, &["apply", "-f", "-"], &policy);
    assert_eq!(mesh.curl("/api/orders", &[]).status, 200);
}

#[test]
fn new_documents_come_and_go_also_for_the_ca() {
    let mesh = mesh();
    let deny = DENY.replace("NAME", "2");
    let told = well(&mesh, &["apply", "-f", "-"], &deny);
    assert!(told.contains("nobody-deletes-2 created"), "{told}");
    let file = mesh
        .dir()
        .join("policies/applied/authorizationpolicy-my-app-nobody-deletes-2.yaml");
    assert_eq!(fs::read_to_string(&file).unwrap(), deny);
    assert_eq!(mesh.curl("/api/products/2", &[]).status, 403);
    let gone = well(&mesh, &["delete", "ap", "nobody-deletes-2"], "");
    assert!(gone.contains("nobody-deletes-2 deleted"), "{gone}");
    assert!(!file.exists());
    assert_eq!(mesh.curl("/api/products/2", &[]).status, 200);
    let missing = run(&mesh, &["delete", "ap", "nobody-deletes-2"], "");
    assert_eq!(missing.status.code(), Some(1));
    well(
        &mesh,
        &["delete", "ap", "nobody-deletes-2", "--ignore-not-found"],
        "",
    );

    let entry = "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {name: batch, namespace: my-app}\n\
                 spec: {spiffeID: \"spiffe://cluster.local/ns/my-app/sa/batch\", selectors: [\"join_token:batch\"]}\n";
    let told = well(&mesh, &["apply", "-f", "-"], entry);
    assert!(told.contains("in force in 1 process after"), "{told}");
    assert!(well(&mesh, &["get", "registrationentries"], "").contains("sa/batch"));
    well(&mesh, &["delete", "-f", "-"], entry);
    assert!(!well(&mesh, &["get", "registrationentries"], "").contains("sa/batch"));
}

#[test]
fn a_bad_change_is_refused_before_anything_is_written() {
    // Its own: in the shared one other tests make good changes meanwhile.
    let mesh = Laptop::start();
    let before = policy_of(&mesh, "gateway");
    let deny = DENY.replace("NAME", "bad");
    let unknown = deny.replace("action:", "acton:");
    let output = run(&mesh, &["apply", "-f", "-"], &unknown);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output).contains("unknown field `acton`"),
        "{output:?}"
    );
    // Good alone, and wrong beside the others.
    let routes = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: lost, namespace: my-app}\n\
                  spec: {hosts: [lost.test], gateways: [storefront], http: [{route: [{destination: {host: nowhere}}]}]}\n";
    let output = run(&mesh, &["apply", "-f", "-"], routes);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("nowhere"), "{output:?}");
    let needed = run(&mesh, &["delete", "destinationrule/product-service"], "");
    assert_eq!(needed.status.code(), Some(1), "{needed:?}");
    assert!(
        !mesh
            .dir()
            .join("policies/applied/virtualservice-my-app-lost.yaml")
            .exists()
    );
    let after = policy_of(&mesh, "gateway");
    assert_eq!(
        (&after["edition"], &after["rejected"]),
        (&before["edition"], &Value::Null)
    );
    let (well, _) = mesh.status();
    assert!(well);
}

#[test]
fn changes_at_once_are_made_one_after_the_other() {
    let mesh = mesh();
    let applied: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let mesh = Arc::clone(&mesh);
            std::thread::spawn(move || {
                run(&mesh, &["apply", "-f", "-"], &DENY.replace("NAME", name))
            })
        })
        .into();
    for one in applied {
        let told = stdout(one.join().unwrap());
        assert!(
            told.contains("created") && told.contains("in force in"),
            "{told}"
        );
    }
    let names = well(&mesh, &["get", "ap", "-o", "name"], "");
    for name in ["a", "b", "c", "d"] {
        let full = format!("authorizationpolicy.security.istio.io/nobody-deletes-{name}");
        assert!(names.contains(&full), "{names}");
        well(&mesh, &["delete", &format!("ap/nobody-deletes-{name}")], "");
    }
}

#[test]
fn the_route_of_a_request_is_explained() {
    let mesh = mesh();
    let args = [
        "route",
        "--host",
        "shop.test",
        "--path",
        "/api/../api/products?x=1",
    ];
    let plain = well(&mesh, &args, "");
    assert!(
        plain.contains("✗ products-canary of my-app/storefront at"),
        "{plain}"
    );
    assert!(
        plain.contains("headers[x-canary] should be exact \"true\", but is not there"),
        "{plain}"
    );
    assert!(
        plain.contains("✓ products of my-app/storefront at"),
        "{plain}"
    );
    assert!(
        plain.contains("90 % to outbound|80|v1|product-service.my-app.svc.cluster.local by mTLS"),
        "{plain}"
    );
    let json = [&args[..], &["-H", "x-canary=true", "-o", "json"]].concat();
    let json: Value = serde_json::from_str(&well(&mesh, &json, "")).unwrap();
    assert_eq!(json["route"]["name"], "products-canary");
    assert_eq!(json["request"]["path"], "/api/products");
    let identity = &json["route"]["clusters"][0]["endpoints"][0]["identity"];
    assert_eq!(
        identity,
        "spiffe://cluster.local/ns/my-app/sa/product-service"
    );
    let nobody = run(
        &mesh,
        &["route", "--host", "shop.test", "--path", "/nope"],
        "",
    );
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody).contains("404"), "{nobody:?}");
    let inside = [
        "route",
        "--host",
        "product-service",
        "--path",
        "/",
        "--from",
        "mesh",
        "--source",
        "order-service",
    ];
    assert!(well(&mesh, &inside, "").contains("split of my-app/product-service"));
    assert_eq!(
        run(&mesh, &["route", "--host", "x", "--path", "nope"], "")
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn the_admin_port_shows_what_is_in_force_and_no_secret() {
    let mesh = mesh();
    for (name, admin) in mesh.proxies() {
        let answer = curl(&format!("http://{admin}/snapshot"), &[]);
        assert_eq!(answer.status, 200, "{name}");
        let page = answer.json();
        assert_eq!(
            page["edition"],
            policy_of(&mesh, &name)["edition"],
            "{name}"
        );
        assert!(
            page["routes"]
                .as_array()
                .is_some_and(|routes| !routes.is_empty()),
            "{name}"
        );
        let cluster = &page["clusters"][0];
        assert!(
            cluster["at"].as_str().unwrap().contains(".yaml:"),
            "{name}: {cluster:#}"
        );
        let values = page["values"].as_array().unwrap();
        let policy = values
            .iter()
            .find(|values| values["name"] == "product-service-policy")
            .unwrap();
        assert!(
            policy["at"]["spec.rules[0].to[0].operation.methods[0]"].is_string(),
            "{policy:#}"
        );
        let documents = curl(&format!("http://{admin}/documents"), &[]).body;
        for secret in ["PRIVATE KEY", "BEGIN", "joinToken"] {
            assert!(
                !answer.body.contains(secret) && !documents.contains(secret),
                "{name}: {secret}"
            );
        }
    }
    let ca = mesh.ports("ca")["admin"];
    let entries = curl(&format!("http://{ca}/documents"), &[]).json();
    assert!(
        entries["documents"].as_array().unwrap().len() >= 3,
        "{entries:#}"
    );
}

/// A mesh of its own: one of its sidecars is made to disagree.
#[test]
fn a_change_that_one_process_refuses_is_taken_back() {
    let mesh = Laptop::start();
    let part = "order-service-sidecar";
    let config = mesh.dir().join("workloads/order-service/sidecar.yaml");
    let written = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        written.replace("rootNamespace: istio-system", "rootNamespace: elsewhere"),
    )
    .unwrap();
    let pid = mesh.pids()[part];
    signal(pid, Signal::KILL);
    wait("the sidecar to be started again", || {
        let pids = mesh.pids();
        match pids.get(part) {
            Some(now) if *now != pid => match mesh.ports(part).get("admin") {
                Some(_) if mesh.status().0 => Ok(()),
                other => Err(format!("{other:?}")),
            },
            other => Err(format!("{other:?}")),
        }
    });
    let before = policy_of(&mesh, "gateway")["edition"].clone();
    // In the root namespace a selector has no effect, which is an error; only this sidecar takes it for the root.
    let change = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x, namespace: elsewhere}\n\
                  spec: {selector: {matchLabels: {app: x}}, mtls: {mode: STRICT}}\n";
    let output = run(&mesh, &["apply", "-f", "-", "-o", "json"], change);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["rolledBack"], true, "{told:#}");
    let refused = told["parts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["state"] == "refused")
        .unwrap();
    assert_eq!(refused["name"], part, "{told:#}");
    assert!(
        refused["reasons"][0].as_str().unwrap().contains("PC"),
        "{told:#}"
    );
    assert!(
        !mesh
            .dir()
            .join("policies/applied/peerauthentication-elsewhere-x.yaml")
            .exists()
    );
    wait("the gateway to be back", || {
        let now = policy_of(&mesh, "gateway");
        if now["edition"] == before {
            Ok(())
        } else {
            Err(now.to_string())
        }
    });

    // One that does not answer is waited for, and told; the change stands.
    let stopped = mesh.pids()["product-service-v1-sidecar"];
    signal(stopped, Signal::STOP);
    let output = run(
        &mesh,
        &["apply", "-f", "-", "--timeout", "4s"],
        &DENY.replace("NAME", "9"),
    );
    signal(stopped, Signal::CONT);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output).contains("product-service-v1-sidecar has not taken it"),
        "{output:?}"
    );
    let edition = policy_of(&mesh, "gateway")["edition"].clone();
    wait("the late one to take it", || {
        let now = policy_of(&mesh, "product-service-v1-sidecar");
        if now["edition"] == edition {
            Ok(())
        } else {
            Err(now.to_string())
        }
    });
}
