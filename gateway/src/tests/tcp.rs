//! Servers whose bytes are passed on: TCP, TLS that ends here, TLS that goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use policies::source::SourceFile;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::tls::connect;
use super::{Running, TO_ECHO, start};

/// A server that greets with its name and then gives every byte back.
async fn greeter(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                tcp.write_all(name.as_bytes()).await.ok();
                let (mut from, mut to) = tcp.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
                to.shutdown().await.ok();
            });
        }
    });
    address
}

/// A TLS server for `backend.example.com`, which greets, and its certificate.
async fn tls_server() -> (SocketAddr, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["backend.example.com".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                tls.write_all(b"backend").await.ok();
                tls.shutdown().await.ok();
            }
        }
    });
    (address, certificate)
}

fn service(name: &str, protocol: &str, address: SocketAddr) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}}}\nspec:\n  hosts: [{name}.example.org]\n  \
         ports: [{{number: 9000, name: p, protocol: {protocol}, targetPort: {}}}]\n  resolution: STATIC\n  \
         endpoints: [{{address: {}}}]\n---\n",
        address.port(),
        address.ip()
    )
}

const SERVERS: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: opaque}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}
  - port: {number: 443, name: passed, protocol: TLS}
    hosts: ['*.example.com']
    tls: {mode: PASSTHROUGH}
  - port: {number: 443, name: ended, protocol: TLS}
    hosts: [bank.example.org, shop.example.org]
    tls: {mode: SIMPLE, credentialName: shop}
---
";

fn routes(rules: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: opaque}}\nspec:\n  \
         hosts: [backend.example.com, shop.example.org, ledger.example.net]\n  gateways: [opaque]\n{rules}---\n"
    )
}

/// The first `count` bytes, or what came before the end.
async fn read(mut stream: impl AsyncRead + Unpin, count: usize) -> String {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        let read = stream.read(&mut bytes[filled..]);
        match tokio::time::timeout(Duration::from_secs(10), read)
            .await
            .unwrap()
        {
            Ok(0) | Err(_) => break,
            Ok(read) => filled += read,
        }
    }
    String::from_utf8_lossy(&bytes[..filled]).into_owned()
}

async fn echoes(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(read(&mut stream, 4).await, "ping");
}

async fn opaque(rules: &str) -> Running {
    let (one, two) = (greeter("one").await, greeter("two").await);
    let services = service("one", "TCP", one) + &service("two", "TCP", two);
    start(&format!(
        "{TO_ECHO}---\n{SERVERS}{services}{}",
        routes(rules)
    ))
    .await
}

#[tokio::test]
async fn tcp_is_shared_out_and_counted() {
    let running = opaque(
        "  tcp:\n  - match: [{port: 9000}]\n    route:\n    - {destination: {host: one.example.org}, weight: 50}\n    \
         - {destination: {host: two.example.org}, weight: 50}\n",
    )
    .await;
    let (mut one, mut two) = (0, 0);
    for _ in 0..60 {
        // The server speaks first: nothing is waited for.
        let mut tcp = TcpStream::connect(running.tcp).await.unwrap();
        match read(&mut tcp, 3).await.as_str() {
            "one" => one += 1,
            "two" => two += 1,
            other => panic!("{other:?}"),
        }
        echoes(&mut tcp).await;
    }
    assert!(one > 5 && two > 5, "{one} {two}");
    let metrics = prometheus::TextEncoder::new()
        .encode_to_string(&running.registry.gather())
        .unwrap();
    let opened = metrics
        .lines()
        .filter(|line| line.starts_with("istio_tcp_connections_opened_total"))
        .filter(|line| line.contains("reporter=\"source\""))
        .count();
    assert_eq!(opened, 2, "one series for each service: {metrics}");
}

#[tokio::test]
async fn tls_ends_here_for_one_server_and_goes_on_for_another() {
    let (backend, certificate) = tls_server().await;
    let one = greeter("one").await;
    let services = service("one", "TCP", one) + &service("backend", "TLS", backend);
    let rules = "  tls:\n  - match: [{sniHosts: [backend.example.com]}]\n    route: [{destination: {host: backend.example.org}}]\n  \
                 tcp:\n  - route: [{destination: {host: one.example.org}}]\n";
    let documents = format!("{TO_ECHO}---\n{SERVERS}{services}{}", routes(rules));
    let running = start(&documents).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(running.https).await.unwrap();
    let name = ServerName::try_from("backend.example.com").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    // The handshake is with the backend: the gateway has no key of this name.
    let tls = connector.connect(name, tcp).await.unwrap();
    assert_eq!(read(tls, 7).await, "backend");

    // The other servers of the port are as they were.
    let alpn: &[&[u8]] = &[b"http/1.1"];
    let mut https = connect(&running, "shop.example.com", alpn, rustls::ALL_VERSIONS)
        .await
        .unwrap();
    https
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(super::read_answer(&mut https).await.status, 200);

    // No rule for this name: closed without a byte.
    let unknown = connect(&running, "other.example.com", &[], rustls::ALL_VERSIONS).await;
    assert!(unknown.is_err());
}

#[tokio::test]
async fn policies_refuse_connections_and_cut_open_ones() {
    let route = "  tcp:\n  - route: [{destination: {host: one.example.org}}]\n";
    let running = opaque(route).await;
    let mut open = TcpStream::connect(running.tcp).await.unwrap();
    assert_eq!(read(&mut open, 3).await, "one");
    echoes(&mut open).await;

    let denial = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: closed, namespace: istio-system}\n\
                  spec:\n  selector: {matchLabels: {istio: ingressgateway}}\n  action: DENY\n  \
                  rules: [{to: [{operation: {ports: ['9000']}}]}]\n";
    let snapshot = running.policies.snapshot().unwrap();
    let before = snapshot.generation;
    drop(snapshot);
    let one = greeter("one").await;
    let two = greeter("two").await;
    let services = service("one", "TCP", one) + &service("two", "TCP", two);
    let usual = super::GATEWAY.replace("UPSTREAM", "1");
    let documents = format!("{TO_ECHO}---\n{SERVERS}{services}{}{denial}", routes(route));
    let file = |name: &str, text: String| SourceFile {
        name: name.into(),
        text: text.into(),
    };
    let files = vec![file("usual.yaml", usual), file("test.yaml", documents)];
    assert!(
        running.policies.apply(Ok(files.into())),
        "{:?}",
        running.policies.state().rejected
    );
    assert!(running.policies.snapshot().unwrap().generation > before);
    assert_eq!(read(&mut open, 1).await, "", "cut at once");
    let late = TcpStream::connect(running.tcp).await.unwrap();
    assert_eq!(read(late, 1).await, "", "refused without a byte");
}
