//! Providers that allow, deny, change, fail and lie, over HTTP and gRPC.

mod grpc;
mod http;

use std::net::SocketAddr;

use ::http::{HeaderMap, Method, Version};
use bytes::Bytes;
use policies::load::Loader;
use policies::source::SourceFile;

use super::{CheckAnswer, CheckHttp, CheckRequest, ExtAuthz, HeaderChange};
use crate::local_reply::LocalReply;
use crate::snapshot::{Role, Snapshot};
use crate::testing::context;

/// A generation whose mesh has the provider `asked` at `address`; `settings` are its fields behind the port.
fn snapshot(kind: &str, address: SocketAddr, settings: &str, account: &str) -> Snapshot {
    let (ip, port) = (address.ip(), address.port());
    let text = format!(
        "apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: authorizer, namespace: my-app}}\n\
         spec:\n  \
           hosts: [authorizer.my-app.svc.cluster.local]\n  \
           location: MESH_INTERNAL\n  \
           resolution: STATIC\n  \
           ports: [{{number: 9000, name: http, protocol: HTTP}}]\n  \
           endpoints: [{{address: {ip}, ports: {{http: {port}}}{account}}}]\n\
         ---\n\
         apiVersion: portcullis.dev/v1\n\
         kind: MeshConfig\n\
         metadata: {{name: mesh}}\n\
         spec:\n  \
           extensionProviders:\n  \
           - name: asked\n    \
             {kind}: {{service: my-app/authorizer.my-app.svc.cluster.local, port: 9000{settings}}}\n"
    );
    let files = [SourceFile::new("mesh.yaml", text)];
    Snapshot::build(
        &mut Loader::default(),
        &files,
        &context(Role::Sidecar),
        None,
    )
    .unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (
            ::http::HeaderName::from_static(name),
            value.parse().unwrap(),
        )
    };
    pairs.iter().map(pair).collect()
}

/// Asks about `POST /orders/1?x=y` with these headers and this body.
async fn ask(
    client: &ExtAuthz,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    body: Option<(&'static str, bool)>,
) -> CheckAnswer {
    let http = CheckHttp {
        version: Version::HTTP_11,
        scheme: "https",
        method: &Method::POST,
        host: "shop.example:8443",
        target: "/orders/1?x=y",
        headers,
        body: body.map(|(text, complete)| (Bytes::from_static(text.as_bytes()), complete)),
    };
    check(client, snapshot, Some(http)).await
}

async fn check(client: &ExtAuthz, snapshot: &Snapshot, http: Option<CheckHttp<'_>>) -> CheckAnswer {
    let source = identity::SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/web").unwrap();
    let request = CheckRequest {
        source_principal: Some(&source),
        destination_principal: None,
        source: "10.0.0.1:4711".parse().unwrap(),
        destination: "10.0.0.2:8080".parse().unwrap(),
        sni: Some("shop.example"),
        http,
    };
    client.check(snapshot, "asked", request).await
}

fn failed(answer: CheckAnswer) -> LocalReply {
    match answer {
        CheckAnswer::Failed(reply) => *reply,
        other => panic!("answered: {other:?}"),
    }
}

fn set(name: &'static str, value: &'static str) -> HeaderChange {
    HeaderChange::Set(
        ::http::HeaderName::from_static(name),
        ::http::HeaderValue::from_static(value),
    )
}

fn append(name: &'static str, value: &'static str) -> HeaderChange {
    HeaderChange::Append(
        ::http::HeaderName::from_static(name),
        ::http::HeaderValue::from_static(value),
    )
}
