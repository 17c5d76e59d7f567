//! Real servers that are asked, and what the generation in force makes of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use hyper::body::Incoming;
use policies::source::SourceFile;

use super::*;
use crate::clock;
use crate::snapshot::Role;
use crate::testing::{
    CLIENT_ID, Ca, Documents, H1, H2, SERVER_ID, Server, Speaks, context, empty, eventually, fed,
    serve,
};

/// Asked often, believed at once.
const FAST: &str = "interval: 100ms, timeout: 5s, healthyThreshold: 1, unhealthyThreshold: 1";

/// A proxy that checks what documents say.
struct Proxy {
    registry: Registry,
    store: PolicyStore,
    endpoints: String,
}

impl Proxy {
    /// Endpoints with or without a service account, asked with the identity of `reader`.
    fn new(endpoints: &[(SocketAddr, Option<&str>)], reader: MaterialReader) -> Self {
        let mut documents = Documents::new();
        for (address, account) in endpoints {
            documents.endpoint(*address, *account);
        }
        let registry = Registry::new();
        let store = PolicyStore::fixed(context(Role::Sidecar), &registry).unwrap();
        let checks = HealthChecks::new(reader, &registry).unwrap();
        checks.follow(&store);
        Self {
            registry,
            store,
            endpoints: documents.yaml(),
        }
    }

    fn plain(endpoints: &[SocketAddr]) -> Self {
        let endpoints: Vec<_> = endpoints.iter().map(|address| (*address, None)).collect();
        Self::new(&endpoints, identity::material::channel().1)
    }

    /// Puts a HealthCheck in force, the fields of its spec; none without.
    fn apply(&self, check: Option<&str>) {
        let mut files = vec![SourceFile::new("mesh.yaml", self.endpoints.clone())];
        files.extend(check.map(|spec| {
            let text = format!(
                "apiVersion: portcullis.dev/v1\nkind: HealthCheck\nmetadata: {{name: x, namespace: my-app}}\n\
                 spec: {{host: product-service, {spec}}}\n"
            );
            SourceFile::new("check.yaml", text)
        }));
        let applied = self.store.apply(Ok(files.into()));
        assert!(applied, "{:?}", self.store.state().rejected);
    }

    fn healthy(&self) -> Vec<bool> {
        let snapshot = self.store.snapshot().unwrap();
        let live = snapshot.live.first().unwrap();
        live.endpoint_states(clock::now())
            .map(|state| state.healthy)
            .collect()
    }

    async fn until(&self, expected: &[bool]) {
        eventually("the health that is expected", || self.healthy() == expected).await;
    }

    fn counted(&self, result: &str) -> f64 {
        let families = self.registry.gather();
        let name = "portcullis_health_checks_total";
        let Some(family) = families.iter().find(|family| family.name() == name) else {
            return 0.0;
        };
        let mut metrics = family.get_metric().iter();
        let found = metrics.find(|metric| metric.get_label()[0].value() == result);
        found.map_or(0.0, |metric| metric.get_counter().get_value())
    }
}

/// A server that answers `GET /healthz` with a status that changes, and anything else with 404.
async fn ailing(status: &Arc<AtomicU16>) -> Server {
    let status = Arc::clone(status);
    serve(H1, None, move |request: Request<Incoming>| {
        let own = request.uri().path() == "/healthz" && request.headers()["x-probe"] == "yes";
        let status = if own {
            status.load(Ordering::SeqCst)
        } else {
            404
        };
        async move {
            let mut response = Response::new(empty());
            *response.status_mut() = status.try_into().unwrap();
            response
        }
    })
    .await
}

#[tokio::test]
async fn an_endpoint_goes_and_comes_back_with_its_answers() {
    let (first, second) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU16::new(204)));
    let (a, b) = (ailing(&first).await, ailing(&second).await);
    let proxy = Proxy::plain(&[a.address, b.address]);
    let probe = "http: {path: /healthz, expectedStatuses: [200-299], headers: {x-probe: 'yes'}}";
    proxy.apply(Some(&format!("{FAST}, {probe}")));
    eventually("both were asked", || proxy.counted("success") >= 4.0).await;
    assert_eq!(proxy.healthy(), [true, true]);
    second.store(503, Ordering::SeqCst);
    proxy.until(&[true, false]).await;
    assert!(proxy.counted("failure") >= 1.0);
    second.store(200, Ordering::SeqCst);
    proxy.until(&[true, true]).await;
    // One connection each is enough for all of it.
    assert_eq!((a.accepted(), b.accepted()), (1, 1));
}

#[tokio::test]
async fn what_is_known_outlives_a_generation_and_not_its_document() {
    let status = Arc::new(AtomicU16::new(500));
    let server = ailing(&status).await;
    let proxy = Proxy::plain(&[server.address]);
    let probe = "http: {path: /healthz, headers: {x-probe: 'yes'}}";
    proxy.apply(Some(&format!("{FAST}, {probe}")));
    proxy.until(&[false]).await;
    // Other settings, same endpoint: it is not forgotten.
    proxy.apply(Some(&format!(
        "interval: 100ms, healthyThreshold: 2, {probe}"
    )));
    assert_eq!(proxy.healthy(), [false]);
    let before = proxy.counted("failure");
    eventually("it is asked still", || {
        proxy.counted("failure") > before + 2.0
    })
    .await;
    assert_eq!(proxy.healthy(), [false]);
    proxy.apply(None);
    proxy.until(&[true]).await;
    let ended = proxy.counted("failure");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(
        proxy.counted("failure") <= ended + 1.0,
        "nobody asks any more"
    );
}

#[tokio::test]
async fn no_answer_in_time_is_none() {
    let silent = serve(H1, None, |_| std::future::pending()).await;
    let proxy = Proxy::plain(&[silent.address]);
    proxy.apply(Some(
        "interval: 100ms, timeout: 50ms, unhealthyThreshold: 1, http: {path: /}",
    ));
    proxy.until(&[false]).await;
    eventually("it is counted", || proxy.counted("timeout") >= 1.0).await;
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let listening = serve(H1, None, |_| async { Response::new(empty()) }).await;
    let gone = serve(H1, None, |_| async { Response::new(empty()) }).await;
    let free = gone.address;
    drop(gone);
    let proxy = Proxy::plain(&[listening.address, free]);
    proxy.apply(Some(&format!("{FAST}, tcp: {{}}")));
    eventually("the open port was asked", || {
        proxy.counted("success") >= 1.0
    })
    .await;
    proxy.until(&[true, false]).await;
}

/// A server of the gRPC health protocol that knows one service.
async fn grpc_server(speaks: Speaks, serving: &Arc<AtomicBool>) -> Server {
    let serving = Arc::clone(serving);
    serve(speaks, None, move |request: Request<Incoming>| {
        assert_eq!(request.uri().path(), wire::CHECK);
        let status = if serving.load(Ordering::SeqCst) { 1 } else { 2 };
        async move {
            let (feeder, body) = fed();
            tokio::spawn(async move {
                let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
                feeder.send(Ok(Frame::data(message))).await.ok();
                let trailers = HeaderMap::from_iter([(
                    http::HeaderName::from_static("grpc-status"),
                    HeaderValue::from_static("0"),
                )]);
                feeder.send(Ok(Frame::trailers(trailers))).await.ok();
            });
            let mut response = Response::new(body);
            let grpc = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", grpc);
            response
        }
    })
    .await
}

#[tokio::test]
async fn grpc_servers_say_how_they_are() {
    let serving = Arc::new(AtomicBool::new(false));
    let server = grpc_server(H2, &serving).await;
    let proxy = Proxy::plain(&[server.address]);
    proxy.apply(Some(&format!("{FAST}, grpc: {{service: shop.Products}}")));
    proxy.until(&[false]).await;
    serving.store(true, Ordering::SeqCst);
    proxy.until(&[true]).await;
}

/// Checks prove who asks and who answers; without a certificate nobody is judged.
#[tokio::test]
async fn in_the_mesh_the_identity_is_checked_too() {
    let ca = Ca::new();
    let (_good_keys, good) = ca.material(SERVER_ID);
    let (_bad_keys, bad) = ca.material("spiffe://cluster.local/ns/my-app/sa/mallory");
    let answer = |_| async { Response::new(empty()) };
    let honest = serve(H2, Some(good), answer).await;
    let mallory = serve(H2, Some(bad), answer).await;
    let endpoints = [
        (honest.address, Some("server")),
        (mallory.address, Some("server")),
    ];
    for probe in ["http: {path: /}", "tcp: {}"] {
        let (_keys, reader) = ca.material(CLIENT_ID);
        let proxy = Proxy::new(&endpoints, reader);
        proxy.apply(Some(&format!("{FAST}, {probe}")));
        proxy.until(&[true, false]).await;
        eventually("the honest one passed", || proxy.counted("success") >= 1.0).await;
        assert_eq!(proxy.healthy(), [true, false], "{probe}");
    }
    let nobody = Proxy::new(&endpoints, identity::material::channel().1);
    nobody.apply(Some(&format!("{FAST}, http: {{path: /}}")));
    tokio::time::sleep(std::time::Duration::from_millis(1_300)).await;
    assert_eq!(nobody.healthy(), [true, true]);
    assert!(nobody.counted("failure") + nobody.counted("success") < 1.0);
}
