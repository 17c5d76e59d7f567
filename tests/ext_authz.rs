//! External authorization with a real Envoy: it asks `portcullis authz serve`, and our sidecars ask through and of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod harness;
#[path = "ext_authz/processes.rs"]
mod processes;

use std::fs;
use std::process::Command;

use harness::{
    Echo, Forge, Forged, Mesh, MeshSpec, Reply, Transport, Version, WorkloadSpec, eventually,
    request, send,
};
use http::HeaderValue;
use processes::{Authorizer, Envoy, envoy};

const CALLER: &str = "spiffe://cluster.local/ns/my-app/sa/caller";
const OTHER: &str = "spiffe://cluster.local/ns/my-app/sa/other";
const TOKEN: &str = include_str!("ext_authz/token.jwt");

fn allow(name: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\n\
         kind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: my-app}}\n\
         spec:\n  \
           selector: {{matchLabels: {{app: web}}}}\n  \
           action: ALLOW\n  \
           rules: [{rule}]\n"
    )
}

const READ: &str = "{from: [{source: {principals: [cluster.local/ns/my-app/sa/caller]}}], \
                    to: [{operation: {methods: [GET], paths: [/api/*]}}]}";
const ADMIN: &str = "{to: [{operation: {paths: [/admin]}}], \
                     when: [{key: 'request.auth.claims[groups]', values: [admin]}]}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_asks_our_policies() {
    let Some(program) = envoy() else { return };
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let policies = root.join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("read.yaml"), allow("read", READ)).unwrap();
    fs::write(policies.join("admin.yaml"), allow("admin", ADMIN)).unwrap();

    let forge = Forge::foreign("cluster.local");
    let own = forge.sign(&Forged::new(&["spiffe://cluster.local/ns/my-app/sa/web"]));
    own.write_pem(root, "envoy");
    let chain = fs::read_to_string(root.join("envoy.crt")).unwrap();
    let ca = chain
        .rfind("-----BEGIN")
        .and_then(|at| chain.get(at..))
        .unwrap();
    fs::write(root.join("ca.pem"), ca).unwrap();
    fs::write(root.join("jwks.json"), include_str!("ext_authz/jwks.json")).unwrap();

    let app = Echo::start("app").await;
    let mut authorizer = Authorizer::start(&policies, &[]);
    let names = [
        ("APP", app.address.port().to_string()),
        ("AUTHORIZER", authorizer.address.port().to_string()),
    ];
    let template = include_str!("ext_authz/asking.yaml");
    let envoy = Envoy::start(&program, root, template, &names).await;
    let door = envoy.listener("door").await;

    let ask = |id: &'static str,
               method: &'static str,
               path: &'static str,
               more: &[(&'static str, &str)]| {
        let tls = forge.sign(&Forged::new(&[id])).tls();
        let mut request = request(method, "web", path);
        for (name, value) in more {
            request
                .headers_mut()
                .insert(*name, HeaderValue::from_str(value).unwrap());
        }
        async move { send(door, &tls, Version::Http1, request).await.unwrap() }
    };
    let denied = |reply: &Reply| {
        assert_eq!(
            (reply.status.as_u16(), reply.text().as_str()),
            (403, "RBAC: access denied")
        );
        assert_eq!(reply.header("x-portcullis-decision").len(), 16, "{reply:?}");
        assert_eq!(reply.header("content-type"), "text/plain");
    };

    Box::pin(eventually("the policies are in force", || {
        let answer = ask(CALLER, "GET", "/api/products?x=y", &[]);
        async move { (answer.await.status == 200).then_some(()) }
    }))
    .await;
    let before = app.requests();
    denied(&ask(CALLER, "POST", "/api/products", &[]).await);
    denied(&ask(OTHER, "GET", "/api/products", &[]).await);
    denied(&ask(CALLER, "GET", "/api/../admin", &[]).await);
    denied(&ask(CALLER, "GET", "/admin", &[]).await);
    assert_eq!(app.requests(), before, "what is denied does not arrive");
    let bearer = format!("Bearer {}", TOKEN.trim());
    let reply = ask(OTHER, "GET", "/admin", &[("authorization", &bearer)]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // A caller of gRPC sees a gRPC status.
    let grpc = [("content-type", "application/grpc")];
    let reply = ask(CALLER, "POST", "/pkg.Service/Method", &grpc).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("grpc-status")),
        (200, "7")
    );
    assert_eq!(reply.header("x-portcullis-decision").len(), 16);

    // An edit holds for the next question.
    fs::write(
        policies.join("read.yaml"),
        allow("read", &READ.replace("GET", "PUT")),
    )
    .unwrap();
    Box::pin(eventually("the edit is in force", || {
        let answer = ask(CALLER, "GET", "/api/products", &[]);
        async move { (answer.await.status == 403).then_some(()) }
    }))
    .await;
    assert_eq!(ask(CALLER, "PUT", "/api/products", &[]).await.status, 200);

    // It ends when asked to, and without it Envoy denies.
    let pid = authorizer.process.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    let ended = eventually("the authorizer ends", || {
        let ended = authorizer.process.0.try_wait().unwrap();
        async move { ended }
    })
    .await;
    assert!(ended.success(), "{ended}");
    let reply = ask(CALLER, "PUT", "/api/products", &[]).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.header("x-portcullis-decision"), "");
}

/// The mesh's providers: Envoy's two listeners.
fn providers(grpc: u16, http: u16) -> String {
    let service = |name: &str, protocol: &str, port: u16| {
        format!(
            "apiVersion: networking.istio.io/v1\n\
             kind: ServiceEntry\n\
             metadata: {{name: {name}-authorizer, namespace: my-app}}\n\
             spec:\n  \
               hosts: [{name}.authorizers.example]\n  \
               location: MESH_EXTERNAL\n  \
               resolution: STATIC\n  \
               ports: [{{number: 9000, name: it, protocol: {protocol}}}]\n  \
               endpoints: [{{address: 127.0.0.1, ports: {{it: {port}}}}}]\n\
             ---\n"
        )
    };
    let custom = |app: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\n\
             kind: AuthorizationPolicy\n\
             metadata: {{name: {app}-custom, namespace: my-app}}\n\
             spec:\n  \
               selector: {{matchLabels: {{app: {app}}}}}\n  \
               action: CUSTOM\n  \
               provider: {{name: over-{app}}}\n  \
               rules: [{{to: [{{operation: {{paths: [/custom/*]}}}}]}}]\n"
        )
    };
    format!(
        "{}{}\
         apiVersion: portcullis.dev/v1\n\
         kind: MeshConfig\n\
         metadata: {{name: mesh}}\n\
         spec:\n  \
           extensionProviders:\n  \
           - name: over-grpc\n    \
             envoyExtAuthzGrpc: {{service: grpc.authorizers.example, port: 9000, timeout: 10s}}\n  \
           - name: over-http\n    \
             envoyExtAuthzHttp: {{service: http.authorizers.example, port: 9000, timeout: 10s, pathPrefix: /check, \
             includeRequestHeadersInCheck: [x-key], headersToUpstreamOnAllow: [x-user], statusOnError: '503'}}\n{}{}",
        service("grpc", "GRPC", grpc),
        service("http", "HTTP", http),
        custom("grpc"),
        custom("http"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_sidecars_ask_through_an_envoy_and_of_one() {
    let Some(program) = envoy() else { return };
    let directory = tempfile::tempdir().unwrap();
    let policies = directory.path().join("policies");
    fs::create_dir(&policies).unwrap();
    let rule = "{to: [{operation: {methods: [GET], paths: [/custom/yes]}}]}";
    fs::write(policies.join("may.yaml"), allow("may", rule)).unwrap();
    let authorizer = Authorizer::start(&policies, &[]);
    let names = [("AUTHORIZER", authorizer.address.port().to_string())];
    let template = include_str!("ext_authz/asked.yaml");
    let envoy = Envoy::start(&program, directory.path(), template, &names).await;
    let (grpc, http) = (envoy.listener("grpc").await, envoy.listener("http").await);

    let spec = MeshSpec::new()
        .policy("providers.yaml", providers(grpc.port(), http.port()))
        .workload(WorkloadSpec::new("grpc"))
        .workload(WorkloadSpec::new("http"));
    let mesh = Mesh::start(spec).await;
    let ask =
        |to: &'static str, method: &'static str, path: &'static str, key: Option<&'static str>| {
            let mut request = request(method, to, path);
            // What a client says about itself does not survive.
            request
                .headers_mut()
                .insert("x-user", HeaderValue::from_static("mallory"));
            if let Some(key) = key {
                request
                    .headers_mut()
                    .insert("x-key", HeaderValue::from_static(key));
            }
            let inbound = mesh.sidecar(to).inbound();
            async move {
                send(inbound, &Transport::Plain, Version::Http1, request)
                    .await
                    .unwrap()
            }
        };

    // Over gRPC: our sidecar, Envoy, our authorizer.
    Box::pin(eventually("the authorizer has its policies", || {
        let answer = ask("grpc", "GET", "/custom/yes", None);
        async move { (answer.await.status == 200).then_some(()) }
    }))
    .await;
    let reply = ask("grpc", "POST", "/custom/yes", None).await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (403, "RBAC: access denied")
    );
    assert_eq!(reply.header("x-portcullis-decision").len(), 16);
    assert_eq!(ask("grpc", "GET", "/custom/no", None).await.status, 403);
    assert_eq!(
        ask("grpc", "POST", "/free", None).await.status,
        200,
        "nobody is asked"
    );

    // Over HTTP: Envoy's own answers.
    let reply = ask("http", "GET", "/custom/yes", Some("good")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = reply.json()["headers"].clone();
    assert_eq!(seen["x-user"], serde_json::json!(["alice"]), "{seen}");
    assert!(seen.get("x-hidden").is_none(), "{seen}");
    let reply = ask("http", "GET", "/custom/yes", Some("bad")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (401, "who are you")
    );
    assert_eq!(reply.header("www-authenticate"), "Test");
    assert_eq!(reply.header("x-portcullis-decision").len(), 16);
    assert_eq!(ask("http", "GET", "/custom/broken", None).await.status, 503);
    let free = ask("http", "GET", "/free", None).await.json()["headers"]["x-user"].clone();
    assert_eq!(free, serde_json::json!(["mallory"]));
}
