//! Copies: whole, unseen by the client, harmless.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::testing::{Feeder, data, eventually, fed};

/// A second service, `copies`, at an address.
fn copies(address: SocketAddr) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: copies, namespace: my-app}}
spec:
  hosts: [copies.my-app.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 8080, name: http, protocol: HTTP}}]
  endpoints: [{{address: {}, ports: {{http: {}}}}}]
",
        address.ip(),
        address.port()
    )
}

fn rules(percentage: u32) -> String {
    format!(
        "  - {{headers: {{request: {{set: {{x-t: changed}}}}}}, route: [{{destination: {{host: product-service}}}}], \
         mirrors: [{{destination: {{host: copies}}, percentage: {{value: {percentage}}}}}]}}\n"
    )
}

type Log = Arc<Mutex<Vec<String>>>;

/// A service that writes down what reached it.
async fn recorder() -> (Server, Log) {
    let log = Log::default();
    let server = serve(H1, None, {
        let log = Arc::clone(&log);
        move |request: Request<hyper::body::Incoming>| {
            let log = Arc::clone(&log);
            async move {
                let host = request.headers()["host"].to_str().unwrap().to_owned();
                let changed = request.headers().contains_key("x-t");
                let line = format!("{} {} {host} {changed}", request.method(), request.uri());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let text = String::from_utf8_lossy(&body).into_owned();
                log.lock().unwrap().push(format!("{line} {text}"));
                Response::new(full("never seen"))
            }
        }
    })
    .await;
    (server, log)
}

fn post(feeder: impl FnOnce(Feeder)) -> Request<TestBody> {
    let (sender, body) = fed();
    feeder(sender);
    let mut request = request("POST /orders?a=b");
    *request.body_mut() = body;
    request
}

#[tokio::test]
async fn a_copy_is_whole_and_has_the_changed_head() {
    let application = echo().await;
    let (mirror, log) = recorder().await;
    let rules = rules(100) + &copies(mirror.address);
    for role in [Role::Gateway, Role::Sidecar] {
        let fixture = Fixture::new(role, &[&application], &rules);
        let request = post(|feeder| {
            tokio::spawn(async move {
                feeder.send(data("one ")).await.unwrap();
                feeder.send(data("two")).await.unwrap();
            });
        });
        let answered = fixture.answer(request).await;
        let (status, _, body) = seen(answered.answer, &HeaderMap::new()).await;
        assert_eq!(status, 200);
        assert!(body.starts_with("POST /orders?a=b"), "{body}");
        eventually("the copy", || !log.lock().unwrap().is_empty()).await;
        let copied = log.lock().unwrap().pop().unwrap();
        assert_eq!(copied, format!("POST /orders?a=b {HOST} true one two"));
    }
}

#[tokio::test]
async fn a_mirror_that_hangs_or_is_gone_harms_nobody() {
    let application = echo().await;
    let hanging = serve(H1, None, |_| async {
        tokio::time::sleep(Duration::from_hours(1)).await;
        Response::new(full(""))
    })
    .await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for address in [hanging.address, gone] {
        let rules = rules(100) + &copies(address);
        let fixture = Fixture::new(Role::Sidecar, &[&application], &rules);
        // More than may be under way at once: the rest is skipped.
        for _ in 0..300 {
            let answered = fixture.answer(request("GET /")).await;
            let (status, _, _) = seen(answered.answer, &HeaderMap::new()).await;
            assert_eq!(status, 200);
        }
    }
}

#[tokio::test]
async fn a_share_of_nothing_copies_nothing() {
    let application = echo().await;
    let (mirror, log) = recorder().await;
    let rules = rules(0) + &copies(mirror.address);
    let fixture = Fixture::new(Role::Sidecar, &[&application], &rules);
    for _ in 0..20 {
        let answered = fixture.answer(request("GET /")).await;
        seen(answered.answer, &HeaderMap::new()).await;
    }
    assert!(log.lock().unwrap().is_empty());
    assert_eq!(mirror.accepted(), 0);
}
