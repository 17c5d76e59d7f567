//! The gRPC server: one unary call, health and reflection.

use std::time::Duration;

use dataplane::ext_authz::wire::FILE_DESCRIPTOR_SET;
use dataplane::ext_authz::wire::auth::authorization_server::{Authorization, AuthorizationServer};
use dataplane::ext_authz::wire::auth::{CheckRequest, CheckResponse};
use dataplane::{Access, PolicyStore};
use http::HeaderName;
use runtime::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::answer;
use super::question::Question;

/// The service as health checks and reflection name it.
const SERVICE: &str = "envoy.service.auth.v3.Authorization";
/// A body of 16 MiB, the largest that our own documents let a proxy send along, and headers.
const MAX_MESSAGE_BYTES: usize = 17 << 20;

/// Answers by the policies in force.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) store: PolicyStore,
    pub(super) access: Access,
    /// Where the asking proxy says the client's address.
    pub(super) remote_ip: Option<HeaderName>,
}

#[async_trait]
impl Authorization for Judge {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let Some(snapshot) = self.store.snapshot() else {
            return Err(Status::unavailable("no policies are in force yet"));
        };
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let mut question = match Question::read(attributes, &snapshot, self.remote_ip.as_ref()) {
            Ok(question) => question,
            Err(malformed) => return Ok(Response::new(answer::malformed(&malformed))),
        };
        let answer = match question.parts() {
            (caller, None) => match self.access.admit_connection(&snapshot, &caller).await {
                Ok(_) => answer::allowed(),
                Err(_) => answer::connection_denied(),
            },
            (caller, Some(request)) => {
                let before = request.clone();
                match self.access.admit(&snapshot, &caller, request).await {
                    Ok(admitted) => answer::changed(&before, request, &admitted.response),
                    Err(refused) => answer::denied(refused.refusal.into_response(false)),
                }
            }
        };
        Ok(Response::new(answer))
    }
}

/// Serves until the drain is over.
pub(super) async fn serve(
    listener: TcpListener,
    judge: Judge,
    life: Lifecycle,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    report(&health, ServingStatus::NotServing).await;
    tokio::spawn(follow_policies(health.clone(), judge.store.clone()));
    let service = AuthorizationServer::new(judge).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let told = life.clone();
    let server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(service)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            told.drain_begun().await;
            report(&health, ServingStatus::NotServing).await;
        });
    tokio::select! {
        served = server => served?,
        () = deadline(&life) => tracing::warn!("the drain took too long; open calls are cut"),
    }
    Ok(())
}

/// Serving once there are policies; a later set with errors leaves the good one in force.
async fn follow_policies(health: HealthReporter, store: PolicyStore) {
    store.ready().await;
    report(&health, ServingStatus::Serving).await;
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    health.set_service_status(SERVICE, status).await;
}

async fn deadline(life: &Lifecycle) {
    life.drain_begun().await;
    tokio::time::sleep(life.drain_timeout()).await;
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE)
        .with_service_name("grpc.health.v1.Health")
}
