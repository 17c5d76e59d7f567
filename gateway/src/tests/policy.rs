//! AuthorizationPolicy at the edge, and policies that change under way.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{TO_ECHO, read_answer, start};

const POLICY: &str = "
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin, /admin/*], ports: ['80']}}]
";

#[tokio::test]
async fn a_denied_request_is_403_with_the_number_of_its_decision() {
    let running = start(&format!("{TO_ECHO}{POLICY}")).await;
    for path in ["/admin/x", "/a/../admin", "/%61dmin", "/a/%2e%2e/admin"] {
        let denied = running.get(path, "").await;
        assert_eq!(
            (denied.status, &*denied.body),
            (403, "RBAC: access denied"),
            "{path}"
        );
        assert_eq!(
            denied.header("x-portcullis-decision").map(str::len),
            Some(16)
        );
    }
    assert_eq!(running.get("/api", "").await.status, 200);
    let grpc = running
        .get("/admin/x", "content-type: application/grpc\r\n")
        .await;
    assert_eq!((grpc.status, grpc.header("grpc-status")), (200, Some("7")));
}

#[tokio::test]
async fn the_meshs_own_normalization_and_root_namespace_are_in_force() {
    const MESH: &str = "
---
apiVersion: portcullis.dev/v1
kind: MeshConfig
metadata: {name: mesh}
spec:
  rootNamespace: policies
  pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}
";
    let everywhere = POLICY
        .replace("namespace: istio-system", "namespace: policies")
        .replace("  selector: {matchLabels: {istio: ingressgateway}}\n", "");
    for (mesh, slashes, root) in [("", 200, 200), (MESH, 403, 403)] {
        let running = start(&format!("{TO_ECHO}{mesh}{POLICY}")).await;
        for path in ["/%2Fadmin/x", "//admin/x", "/admin%2fx"] {
            assert_eq!(running.get(path, "").await.status, slashes, "{path}");
        }
        let running = start(&format!("{TO_ECHO}{mesh}{everywhere}")).await;
        assert_eq!(running.get("/admin/x", "").await.status, root);
    }
}

#[tokio::test]
async fn a_new_generation_drops_no_connection() {
    let running = start(TO_ECHO).await;
    let mut websocket = TcpStream::connect(running.http).await.unwrap();
    websocket
        .write_all(
            b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await
        .unwrap();
    assert_eq!(read_answer(&mut websocket).await.status, 101);
    let mut idle = TcpStream::connect(running.http).await.unwrap();
    idle.write_all(b"GET /api HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut idle).await.status, 200);

    let before = running.policies.snapshot().unwrap().generation;
    super::apply(
        &running.policies,
        "127.0.0.1:1".parse().unwrap(),
        &format!("{TO_ECHO}{POLICY}"),
    );
    assert!(running.policies.snapshot().unwrap().generation > before);
    tokio::time::sleep(Duration::from_millis(20)).await;

    websocket.write_all(b"still here").await.unwrap();
    let mut echoed = [0; 10];
    websocket.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"still here");
    idle.write_all(b"GET /admin HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        read_answer(&mut idle).await.status,
        403,
        "the same connection, the new policy"
    );
}
