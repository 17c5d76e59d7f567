//! TLS: names, versions, protocols, and requests for somebody else's server.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Running, TO_ECHO, read_answer, start};

/// Connects with this name, these protocols and these versions.
pub(super) async fn connect(
    running: &Running,
    name: &str,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from(running.certificate.clone()))
        .unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let tcp = TcpStream::connect(running.https).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

#[tokio::test]
async fn requests_over_tls_are_served_and_say_so() {
    let running = start(TO_ECHO).await;
    let mut tls = connect(
        &running,
        "shop.example.com",
        &[b"http/1.1"],
        rustls::ALL_VERSIONS,
    )
    .await
    .unwrap();
    let group = tls
        .get_ref()
        .1
        .negotiated_key_exchange_group()
        .unwrap()
        .name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    tls.write_all(b"GET /api HTTP/1.1\r\nhost: shop.example.com\r\n\r\n")
        .await
        .unwrap();
    let answer = read_answer(&mut tls).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.received("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn a_request_for_another_server_is_misdirected() {
    let running = start(TO_ECHO).await;
    let mut tls = connect(
        &running,
        "shop.example.com",
        &[b"http/1.1"],
        rustls::ALL_VERSIONS,
    )
    .await
    .unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nhost: bank.example.com\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut tls).await.status, 421);
}

#[tokio::test]
async fn unknown_names_missing_certificates_and_old_versions_get_no_handshake() {
    let running = start(TO_ECHO).await;
    let tls12 = &[&rustls::version::TLS12][..];
    for (name, versions) in [
        ("nobody.example.com", rustls::ALL_VERSIONS),
        ("bare.example.com", rustls::ALL_VERSIONS),
        ("bank.example.com", tls12),
    ] {
        assert!(
            connect(&running, name, &[b"h2"], versions).await.is_err(),
            "{name}"
        );
    }
    assert!(
        connect(&running, "shop.example.com", &[b"h2"], tls12)
            .await
            .is_ok()
    );
    let http = TcpStream::connect(running.https).await.unwrap();
    let mut http = http;
    http.write_all(b"GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut http, &mut answer).await);
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "plain text on a TLS port is not served"
    );
}
