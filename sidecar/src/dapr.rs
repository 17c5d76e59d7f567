//! Calling services the Dapr way: `/v1.0/invoke/{app-id}/method/{path}` over HTTP, and `InvokeService` over gRPC.
//!
//! Every call becomes an outbound request: the same routes, balancing, retries and mTLS as by Host. An app-id is the
//! name of a service, `name` or `name.namespace`. Nothing else of Dapr's API is here (state, publish and subscribe,
//! bindings), and it says so.

mod call;
mod grpc;
mod port;
mod refusal;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use dataplane::local_reply::is_grpc;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use runtime::admin::no_web_page;
use runtime::health::Readiness;
use tokio::net::TcpStream;

use self::call::Call;
use self::refusal::Refusal;
use crate::activity::InFlight;
use crate::answer::{self, AnswerBody};
use crate::http::{HttpServer, Speaks};
use crate::outbound::Outbound;
use crate::proxy::{Peer, Proxy, RequestBody};
use crate::tidy;

/// Names the service instead of the path.
const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");
/// A secret between application and sidecar; nobody else's business.
const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");

/// The API for the application beside us.
pub(crate) struct Dapr {
    proxy: Arc<Proxy>,
    outbound: Arc<Outbound>,
    http: HttpServer,
    readiness: Readiness,
}

impl Dapr {
    pub(crate) const fn new(
        proxy: Arc<Proxy>,
        outbound: Arc<Outbound>,
        http: HttpServer,
        readiness: Readiness,
    ) -> Self {
        Self {
            proxy,
            outbound,
            http,
            readiness,
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        let Ok(local) = tcp.local_addr() else { return };
        let peer = Arc::new(Peer {
            remote,
            local,
            proved: None,
            sni: None,
            party: self.proxy.party,
            is_gateway: false,
        });
        let door = Arc::clone(&self);
        let answer = move |request, in_flight| {
            Arc::clone(&door).answer(Arc::clone(&peer), request, in_flight)
        };
        self.http.serve(tcp, Speaks::Either, answer).await;
    }

    async fn answer(
        self: Arc<Self>,
        peer: Arc<Peer>,
        mut request: Request<RequestBody>,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let grpc = is_grpc(request.headers());
        if let Err(why) = from_here(&request) {
            return Refusal::forbidden(why.trim_end()).answer(grpc);
        }
        let call = match Call::of(&request) {
            Ok(call) => call,
            Err(refusal) => return refusal.answer(grpc),
        };
        request.headers_mut().remove(&API_TOKEN);
        match call {
            Call::InvokeService => self.invoke_service(peer, request, in_flight).await,
            Call::Invoke { app, target } => {
                let authority = self.authority(&app);
                if let Err(reply) = aim(&mut request, &authority, target) {
                    return Refusal::invalid(&reply.body).answer(grpc);
                }
                let answering = Arc::clone(&self.outbound).answer(peer, request, in_flight);
                let response = Box::pin(answering).await;
                // A gRPC caller has a gRPC status already.
                match answer::own(&response) {
                    Some(own) if !grpc => {
                        let refusal = Refusal::of_call(own);
                        let status = refusal.status;
                        answer::reworded(response, status, refusal.json(), JSON)
                    }
                    _ => response,
                }
            }
            Call::Health => self.health(),
            Call::Metadata => self.metadata(),
        }
    }

    /// 204 when calls can be made.
    fn health(&self) -> Response<AnswerBody> {
        if self.readiness.report().ready {
            answer::bare(StatusCode::NO_CONTENT, Bytes::new(), None)
        } else {
            Refusal::not_ready().answer(false)
        }
    }

    /// As much of the metadata as there is.
    fn metadata(&self) -> Response<AnswerBody> {
        let workload = &self.proxy.workload;
        let id = workload.labels.get("app").unwrap_or(&workload.name);
        let page = serde_json::json!({
            "id": id,
            "runtimeVersion": concat!("portcullis-", env!("CARGO_PKG_VERSION")),
            "enabledFeatures": ["ServiceInvocation"],
            "components": [],
            "subscriptions": [],
            "httpEndpoints": [],
            "extended": {},
        });
        answer::bare(StatusCode::OK, page.to_string().into(), Some(JSON))
    }

    /// The service that an app-id means, with its port where that is not 80.
    fn authority(&self, app: &str) -> String {
        let snapshot = self.proxy.store.snapshot();
        let namespace = &self.proxy.workload.namespace;
        let port = snapshot.and_then(|snapshot| port::of(&snapshot, namespace, app));
        match port {
            None | Some(80) => app.to_owned(),
            Some(port) => format!("{app}:{port}"),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The application beside us, and no web page in somebody's browser.
fn from_here(request: &Request<RequestBody>) -> Result<(), &'static str> {
    let headers = request.headers();
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok()),
    };
    no_web_page(host.unwrap_or_default(), headers)
}

/// Turns a request to this API into one to a service.
fn aim(
    request: &mut Request<RequestBody>,
    authority: &str,
    to: String,
) -> Result<(), Box<dataplane::LocalReply>> {
    tidy::set_target(request, to)?;
    let host = HeaderValue::try_from(authority).map_err(|_| {
        Box::new(dataplane::LocalReply::bad_request(
            "the app-id is malformed",
        ))
    })?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    headers.remove(&APP_ID);
    Ok(())
}
