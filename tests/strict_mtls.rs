//! What a STRICT sidecar refuses before a byte of HTTP is read, and what PERMISSIVE and DISABLE take.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod harness;

use harness::{
    Credentials, Forge, Forged, Mesh, MeshSpec, Transport, Version, WorkloadSpec, curl, get,
    openssl, request, send,
};
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const WEB: &str = "spiffe://cluster.local/ns/my-app/sa/web";
const CALLER: &str = "spiffe://cluster.local/ns/my-app/sa/caller";

fn mesh_in(mode: &str) -> MeshSpec {
    let policy = format!(
        "apiVersion: security.istio.io/v1\n\
         kind: PeerAuthentication\n\
         metadata: {{name: default, namespace: my-app}}\n\
         spec: {{mtls: {{mode: {mode}}}}}\n"
    );
    MeshSpec::new()
        .policy("mode.yaml", policy)
        .workload(WorkloadSpec::new("web"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_sidecar_takes_workloads_of_the_mesh_only() {
    let mesh = Mesh::start(mesh_in("STRICT")).await;
    let web = mesh.sidecar("web");

    // The control: the same forge, a certificate without fault.
    let good = mesh.forge(&Forged::new(&[CALLER])).tls();
    for version in [Version::Http1, Version::Http2] {
        let reply = send(web.inbound(), &good, version, request("GET", "web", "/"))
            .await
            .unwrap();
        assert_eq!(
            reply.status,
            StatusCode::OK,
            "{version:?}: {}",
            reply.text()
        );
    }
    let served = web.requests();
    assert_eq!(served, 2);

    let foreign = Forge::foreign("cluster.local").sign(&Forged::new(&[CALLER]));
    let refused = [
        ("plaintext", Transport::Plain),
        ("no certificate", Credentials::none()),
        ("a foreign CA", foreign.tls()),
        (
            "an expired certificate",
            mesh.forge(&Forged::new(&[CALLER]).expired()).tls(),
        ),
        (
            "a certificate of tomorrow",
            mesh.forge(&Forged::new(&[CALLER]).not_yet_valid()).tls(),
        ),
        (
            "a wrong trust domain",
            mesh.forge(&Forged::new(&[
                "spiffe://elsewhere.example/ns/my-app/sa/caller",
            ]))
            .tls(),
        ),
        (
            "two URI SANs",
            mesh.forge(&Forged::new(&[
                CALLER,
                "spiffe://cluster.local/ns/my-app/sa/admin",
            ]))
            .tls(),
        ),
        (
            "two equal URI SANs",
            mesh.forge(&Forged::new(&[CALLER, CALLER])).tls(),
        ),
        (
            "a second URI that is no SPIFFE ID",
            mesh.forge(&Forged::new(&[CALLER, "https://example.com/"]))
                .tls(),
        ),
        ("no URI SAN", mesh.forge(&Forged::new(&[])).tls()),
        (
            "a URI that is no SPIFFE ID",
            mesh.forge(&Forged::new(&["https://cluster.local/ns/my-app/sa/caller"]))
                .tls(),
        ),
        (
            "the trust domain itself",
            mesh.forge(&Forged::new(&["spiffe://cluster.local"])).tls(),
        ),
        (
            "an upper-case trust domain",
            mesh.forge(&Forged::new(&[
                "spiffe://Cluster.local/ns/my-app/sa/caller",
            ]))
            .tls(),
        ),
        (
            "dot segments",
            mesh.forge(&Forged::new(&[
                "spiffe://cluster.local/ns/x/../my-app/sa/caller",
            ]))
            .tls(),
        ),
    ];
    for (what, transport) in &refused {
        for version in [Version::Http1, Version::Http2] {
            let outcome = send(
                web.inbound(),
                transport,
                version,
                request("GET", "web", "/"),
            )
            .await;
            assert!(outcome.is_err(), "{what} over {version:?} got {outcome:?}");
        }
    }
    assert_eq!(
        web.requests(),
        served,
        "nothing of it may reach the application"
    );

    // It still serves who it should.
    assert_eq!(
        get(web.inbound(), &good, "/").await.unwrap().status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_sidecar_answers_plaintext_with_silence() {
    let mesh = Mesh::start(mesh_in("STRICT")).await;
    let mut stream = TcpStream::connect(mesh.sidecar("web").inbound())
        .await
        .unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an orderly end.
    let _ended = stream.read_to_end(&mut answer).await;
    // At most a TLS alert (content type 21), never a byte of HTTP.
    assert!(
        answer.is_empty() || answer[0] == 21,
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn common_tools_see_a_strict_sidecar_as_it_is() {
    let mesh = Mesh::start(mesh_in("STRICT")).await;
    let web = mesh.sidecar("web");
    let address = web.inbound().to_string();
    let url = format!("https://{address}/from-curl");
    let write = |name: &str, credentials: &Credentials| {
        let (certificate, key) = credentials.write_pem(mesh.path(), name);
        (certificate.display().to_string(), key.display().to_string())
    };
    let (good, good_key) = write("good", &mesh.forge(&Forged::new(&[CALLER])));
    let (bad, bad_key) = write("bad", &mesh.forge(&Forged::new(&[CALLER, WEB])));

    let output = curl(&["-k", "--cert", &good, "--key", &good_key, &url]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("/from-curl"),
        "{output:?}"
    );
    for arguments in [
        vec!["-k", url.as_str()],
        vec!["-k", "--tls-max", "1.2", url.as_str()],
        vec!["-k", "--cert", &bad, "--key", &bad_key, &url],
        vec![
            "-k",
            "--tls-max",
            "1.2",
            "--cert",
            &bad,
            "--key",
            &bad_key,
            &url,
        ],
    ] {
        let output = curl(&arguments).await;
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{arguments:?}: {output:?}"
        );
    }
    let plain = curl(&[&format!("http://{address}/")]).await;
    assert!(!plain.status.success(), "{plain:?}");

    // The server shows exactly one URI name: its SPIFFE ID.
    let shown = openssl(
        &[
            "s_client",
            "-connect",
            &address,
            "-cert",
            &good,
            "-key",
            &good_key,
            "-showcerts",
        ],
        b"",
    )
    .await;
    let text = openssl(&["x509", "-noout", "-ext", "subjectAltName"], &shown.stdout).await;
    let names = String::from_utf8_lossy(&text.stdout).into_owned();
    assert_eq!(names.matches("URI:").count(), 1, "{names}");
    assert!(names.contains(WEB), "{names}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permissive_takes_plaintext_and_mutual_tls() {
    let mesh = Mesh::start(mesh_in("PERMISSIVE")).await;
    let web = mesh.sidecar("web");
    let good = mesh.forge(&Forged::new(&[CALLER])).tls();
    for transport in [&good, &Transport::Plain] {
        for version in [Version::Http1, Version::Http2] {
            let reply = send(
                web.inbound(),
                transport,
                version,
                request("GET", "web", "/"),
            )
            .await
            .unwrap();
            assert_eq!(reply.status, StatusCode::OK, "{version:?}");
        }
    }
    // A certificate that is shown must be good.
    let bad = mesh.forge(&Forged::new(&[CALLER]).expired()).tls();
    assert!(get(web.inbound(), &bad, "/").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disable_takes_plaintext_only() {
    let mesh = Mesh::start(mesh_in("DISABLE")).await;
    let web = mesh.sidecar("web");
    assert_eq!(
        get(web.inbound(), &Transport::Plain, "/")
            .await
            .unwrap()
            .status,
        StatusCode::OK
    );
    let good = mesh.forge(&Forged::new(&[CALLER])).tls();
    assert!(get(web.inbound(), &good, "/").await.is_err());
}
