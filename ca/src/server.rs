//! The gRPC server of workloads: our own accept loop, TLS with an optional client certificate, and the services behind it.

use std::sync::Arc;
use std::time::Duration;

use identity::material::MaterialReader;
use identity::server::{ClientCertificates, server_config};
use identity::wire::FILE_DESCRIPTOR_SET;
use identity::wire::workload_ca_server::WorkloadCaServer;
use runtime::lifecycle::Lifecycle;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::config::ConnectionLimits;
use crate::issuance::Issuance;

pub mod accept;
pub mod admin_socket;
pub mod calls;

/// The service as health checks and reflection name it.
pub const SERVICE: &str = "portcullis.ca.v1.WorkloadCA";
/// The largest message that is decoded, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Calls of one connection at once.
const MAX_STREAMS: u32 = 64;

/// Serves workloads until the drain is over.
pub async fn serve(
    listener: std::net::TcpListener,
    reader: MaterialReader,
    issuance: Arc<Issuance>,
    life: Lifecycle,
    limits: ConnectionLimits,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tls = server_config(&reader, ClientCertificates::Request, &[b"h2"]);
    let metrics = issuance.metrics().clone();
    let acceptor = accept::Acceptor::new(tls, reader.clone(), limits, life.clone(), metrics);
    let incoming = acceptor.listen(listener);

    let (health, health_service) = tonic_health::server::health_reporter();
    report(&health, ServingStatus::Serving).await;
    let calls = calls::Calls::new(issuance, reader, life.clone());
    let workloads = WorkloadCaServer::new(calls)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(1024 * 1024);
    let server = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(16 * 1024)
        .timeout(Duration::from_secs(30))
        .add_service(workloads)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, {
            let life = life.clone();
            async move {
                life.drain_begun().await;
                report(&health, ServingStatus::NotServing).await;
            }
        });
    tokio::select! {
        served = server => served?,
        () = deadline(&life) => tracing::warn!("the drain took too long; open calls are cut"),
    }
    Ok(())
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    health.set_service_status("", status).await;
    health.set_service_status(SERVICE, status).await;
}

async fn deadline(life: &Lifecycle) {
    life.drain_begun().await;
    tokio::time::sleep(life.drain_timeout()).await;
}

/// What a stranger may see of our interfaces: those that this port serves, not the Admin service.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE)
        .with_service_name("grpc.health.v1.Health")
}
