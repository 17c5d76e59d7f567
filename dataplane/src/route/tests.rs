//! One suite of scenarios for both kinds of proxy: the same documents and the same request have the same answer.

mod fallbacks;
mod mirrors;
mod scenarios;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::BodyExt as _;
use policies::source::SourceFile;
use tokio::time::Instant;

use super::{Answer, Answered, Origin, Routed, Router};
use crate::body::Begun;
use crate::forward::Forwarder;
use crate::headers::Upgrades;
use crate::rate_limit::RateLimiter;
use crate::snapshot::{Role, Snapshot};
use crate::testing::{Documents, H1, Server, TestBody, context, full, plain_client, serve};
use crate::upstream::Limits;

/// What the rules are bound to, for both kinds of proxy.
const BOUND: &str = "
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: my-app}
spec:
  selector: {app: order-service}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: routes, namespace: my-app}
spec:
  hosts: [product-service.my-app.svc.cluster.local]
  gateways: [edge, mesh]
  http:
";

const HOST: &str = "product-service.my-app.svc.cluster.local";

/// A proxy of one kind with its rules.
struct Fixture {
    snapshot: Arc<Snapshot>,
    router: Router<TestBody>,
}

impl Fixture {
    /// `rules` is the list below `http:`; further documents may follow it.
    fn new(role: Role, upstreams: &[&Server], rules: &str) -> Self {
        let mut documents = Documents::new();
        for upstream in upstreams {
            documents.endpoint(upstream.address, None);
        }
        let yaml = format!("{}{BOUND}{rules}", documents.yaml());
        let files = [SourceFile::new("mesh.yaml", yaml)];
        let mut loader = policies::load::Loader::default();
        let snapshot = Snapshot::build(&mut loader, &files, &context(role), None);
        let forwarder = Forwarder::new(plain_client::<TestBody>(Limits::default()).beside());
        Self {
            snapshot: Arc::new(snapshot.unwrap()),
            router: Router::new(forwarder, RateLimiter::default()).unwrap(),
        }
    }

    /// Routes and answers a request as the proxies do.
    async fn answer(&self, request: Request<TestBody>) -> Answered<TestBody> {
        let request = request.map(Begun::new);
        let origin = Origin {
            began: Instant::now(),
            host: HOST,
            port: 8080,
            scheme: "http",
            version: Version::HTTP_11,
            sent_path: None,
            remote: SocketAddr::from(([192, 0, 2, 7], 50_000)),
            client: [192, 0, 2, 7].into(),
            principal: None,
            claims: None,
            upgrades: Upgrades::Strip,
        };
        let route = self.snapshot.routes.find(&origin.view(&request)).unwrap();
        let routed = Routed {
            snapshot: &self.snapshot,
            route,
            request,
            origin,
        };
        self.router.answer(routed, |_| {}).await
    }
}

/// `GET /path` and headers, one in each line.
fn request(text: &str) -> Request<TestBody> {
    let mut lines = text.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::new(full(""));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = target.parse().unwrap();
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static(HOST));
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

/// An answer as a client sees it.
async fn seen(answer: Answer<TestBody>, request: &HeaderMap) -> (u16, HeaderMap, String) {
    async fn whole<B>(response: Response<B>) -> (u16, HeaderMap, String)
    where
        B: http_body::Body<Data = bytes::Bytes, Error: std::fmt::Debug>,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status.as_u16(), parts.headers, text)
    }
    match answer {
        Answer::Upstream(response) => whole(response).await,
        Answer::Route(response, _) => whole(response.map(full)).await,
        Answer::Reply(reply) => whole(reply.response(request).map(full)).await,
    }
}

/// An application that says what reached it: the first line, the Host, and the headers that begin with `x-t`.
async fn echo() -> Server {
    serve(H1, None, |request| async move {
        let headers = request.headers();
        let host = headers["host"].to_str().unwrap();
        let mut told = format!("{} {} {host}", request.method(), request.uri());
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        for name in names.into_iter().filter(|name| name.starts_with("x-t")) {
            for value in headers.get_all(name) {
                for part in ["\n", name, ": ", value.to_str().unwrap()] {
                    told.push_str(part);
                }
            }
        }
        let mut response = Response::new(full(told));
        let headers = response.headers_mut();
        headers.insert("x-app", HeaderValue::from_static("echo"));
        headers.insert("x-powered-by", HeaderValue::from_static("tests"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        response
    })
    .await
}
