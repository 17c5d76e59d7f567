//! `portcullis run`: programs that know nothing of the mesh, in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use laptop::{Laptop, runs, signal, stdout, wait, wait_until_none_runs};
use rustix::process::Signal;

const PYTHON: &str = r#"
import urllib.request
print(urllib.request.urlopen("http://product-service/api/products").read().decode())
"#;

const NODE: &str = r#"
const http = require("http");
http.get("http://product-service/api/products", (answer) => {
  answer.setEncoding("utf8");
  answer.on("data", (text) => process.stdout.write(text));
  answer.on("end", async () => {
    if (answer.statusCode !== 200) process.exit(1);
    if (typeof fetch === "function") {
      const again = await fetch("http://product-service/api/products");
      if (again.status !== 200) process.exit(1);
    }
  });
});
"#;

const GO: &str = r#"
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get("http://product-service/api/products")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
}
"#;

fn installed(tool: &str, version: &str) -> bool {
    let found = Command::new(tool)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: `{tool}` is not installed (make test installs it)");
    }
    found
}

fn run(mesh: &Laptop, name: &str, flags: &[&str], program: &[&str]) -> Command {
    let mut command = mesh.verb("run");
    command
        .args(["--name", name])
        .args(flags)
        .arg("--")
        .args(program);
    command
}

fn shows_products(output: std::process::Output) {
    let text = stdout(output);
    let products: serde_json::Value = serde_json::from_str(&text).expect(&text);
    assert_eq!(products["service"], "product-service");
}

/// Builds without a module, without the network, and for whatever version of Go there is.
fn build_go(dir: &Path) -> String {
    let source = dir.join("main.go");
    let binary = dir.join("client").display().to_string();
    fs::write(&source, GO).unwrap();
    let built = Command::new("go")
        .args(["build", "-o", &binary])
        .arg(&source)
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        // The standard library takes a while; the second time it is there.
        .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go-cache"))
        .env("GOPATH", dir.join("path"))
        .output()
        .unwrap();
    stdout(built);
    binary
}

#[test]
fn unmodified_programs_in_three_languages_call_a_service_by_its_name() {
    let mesh = Laptop::start();
    let temp = tempfile::tempdir().unwrap();
    if installed("python3", "--version") {
        shows_products(
            run(&mesh, "python", &[], &["python3", "-c", PYTHON])
                .output()
                .unwrap(),
        );
    }
    if installed("node", "--version") {
        shows_products(
            run(&mesh, "node", &[], &["node", "-e", NODE])
                .output()
                .unwrap(),
        );
    }
    if installed("go", "version") {
        let binary = build_go(temp.path());
        shows_products(run(&mesh, "go", &[], &[&binary]).output().unwrap());
    }
}

#[test]
fn a_program_has_the_identity_that_policies_speak_of() {
    let mesh = Laptop::start();
    let curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
    let ask = |name: &str, flags: &[&str], method: &str| {
        let more = ["-X", method, "http://product-service.my-app/api/products/1"];
        let program: Vec<&str> = curl.into_iter().chain(more).collect();
        stdout(run(&mesh, name, flags, &program).output().unwrap())
    };
    assert_eq!(ask("reader", &[], "GET"), "200");
    assert_eq!(ask("reader", &[], "POST"), "403");
    assert_eq!(
        ask("writer", &["--service-account", "order-service"], "POST"),
        "200"
    );
    assert_eq!(
        ask("writer", &["--service-account", "order-service"], "DELETE"),
        "403"
    );
    assert_eq!(ask("stranger", &["--namespace", "elsewhere"], "GET"), "403");
}

#[test]
fn a_server_joins_its_service_and_leaves_it() {
    if !installed("python3", "--version") {
        return;
    }
    let mesh = Laptop::start();
    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("hello.txt"), "hello from billing").unwrap();
    let port = free_port().to_string();
    let server = ["python3", "-m", "http.server", "--bind", "127.0.0.1", &port];
    let mut billing = run(&mesh, "billing", &["--port", &port], &server)
        .current_dir(site.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();

    let ask = ["curl", "-s", "-m", "5", "http://billing/hello.txt"];
    wait("billing to answer", || {
        let output = run(&mesh, "asker", &["-q"], &ask).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text == "hello from billing" {
            Ok(())
        } else {
            Err(text + &String::from_utf8_lossy(&output.stderr))
        }
    });
    let twice = run(&mesh, "billing", &[], &["true"]).output().unwrap();
    assert_eq!(twice.status.code(), Some(1));
    let (_, status) = mesh.status();
    assert!(
        status.to_string().contains("ns/my-app/sa/billing"),
        "{status:#}"
    );

    let pid = i32::try_from(billing.id()).unwrap();
    signal(pid, Signal::TERM);
    assert_eq!(
        billing.wait().unwrap().code(),
        Some(128 + 15),
        "the program's own end"
    );
    assert!(!mesh.dir().join("runs/billing").exists());
    wait("billing to be gone from its service", || {
        let services = mesh.services();
        let billing = services
            .iter()
            .find(|service| service["service"] == "billing");
        let ready = billing.map(|service| service["ready"].clone());
        if ready == Some(0.into()) {
            Ok(())
        } else {
            Err(format!("{billing:?}"))
        }
    });
    assert!(
        !mesh
            .dir()
            .join("generated/entries/run-billing.yaml")
            .exists()
    );
}

#[test]
fn a_killed_run_leaves_nothing_behind() {
    let mesh = Laptop::start();
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 1000", file.display());
    let mut sleeper = run(&mesh, "sleeper", &[], &["sh", "-c", &script])
        .spawn()
        .unwrap();
    let program: i32 = wait("the program", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.trim().parse().map_err(|_| text)
    });
    let entry = mesh.dir().join("generated/entries/run-sleeper.yaml");
    assert!(entry.exists() && runs(program));
    signal(i32::try_from(sleeper.id()).unwrap(), Signal::KILL);
    sleeper.wait().unwrap();
    mesh.wait_for("its `portcullis run` is gone");
    let pids = BTreeMap::from([("the program".to_owned(), program)]);
    wait_until_none_runs(&pids, &mesh.dir().join("runs"));
    assert!(!entry.exists() && !mesh.dir().join("runs/sleeper").exists());
}

#[test]
fn the_programs_exit_code_and_environment_are_its_own() {
    let mesh = Laptop::start();
    let code = |program: &[&str]| {
        run(&mesh, "coder", &["-q"], program)
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(code(&["true"]), Some(0));
    assert_eq!(code(&["sh", "-c", "exit 42"]), Some(42));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["/no/such/program"]), Some(127));
    let show = "echo $http_proxy $PORTCULLIS_OUTBOUND $no_proxy";
    let shown = stdout(
        run(&mesh, "shower", &["-q"], &["sh", "-c", show])
            .output()
            .unwrap(),
    );
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(
        words[0].starts_with("http://127.0.0.1:") && words[0] == words[1],
        "{shown}"
    );
    assert_eq!(words[2], "localhost,127.0.0.1,::1");
}

#[test]
fn a_run_ends_with_its_mesh() {
    let mut mesh = Laptop::start();
    let sleeper = run(&mesh, "sleeper", &[], &["sleep", "1000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let state = mesh.dir().join("runs/sleeper/node_proxy.cjs");
    wait("the program", || {
        if state.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    signal(mesh.pid(), Signal::INT);
    mesh.wait_for_end();
    let output = sleeper.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
