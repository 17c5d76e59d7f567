//! One verified connection to the registry.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use identity::SpiffeId;
use identity::dial::{ExpectedServer, client_config, server_name};
use identity::material::MaterialReader;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::wire::registry_client::RegistryClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Ten thousand instances with all of their labels.
const LARGEST_MESSAGE: usize = 64 << 20;
/// The first pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A registry that was away is noticed again within this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Who is dialled, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    /// Where the registry listens.
    pub(super) address: SocketAddr,
    /// Who it has to be.
    pub(super) expected: SpiffeId,
    /// Our own certificate and the roots.
    pub(super) material: MaterialReader,
}

impl Dial {
    /// Connects, once we have a certificate; the error is in words.
    pub(super) async fn connect(&self) -> Result<RegistryClient<Channel>, String> {
        let mut material = self.material.clone();
        while material.current().is_none() {
            material.changed().await;
        }
        let stream = match timeout(CONNECT_TIMEOUT, self.handshake()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("cannot reach {}: {error}", self.address)),
            Err(_elapsed) => return Err(format!("{} does not answer", self.address)),
        };
        let channel = endpoint()
            .connect_with_connector(OneConnection(Some(TokioIo::new(stream))))
            .await
            .map_err(|error| format!("cannot talk to {}: {error}", self.address))?;
        Ok(RegistryClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
    }

    async fn handshake(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let expected = ExpectedServer::AnyOf([self.expected.clone()].into());
        let config = client_config(&self.material, expected, &[b"h2"]);
        TlsConnector::from(config)
            .connect(server_name(), stream)
            .await
    }
}

/// How long to wait before the next attempt.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u32,
}

impl Pause {
    /// Waits, each time longer.
    pub(super) async fn wait(&mut self) {
        let longest = FIRST_PAUSE
            .saturating_mul(2_u32.saturating_pow(self.failures.min(16)))
            .min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        // Everybody who lost the registry at one moment must not come back at one moment.
        let share = u32::try_from(crate::random::number() % 512).unwrap_or(0);
        tokio::time::sleep(longest / 2 + longest.saturating_mul(share) / 1024).await;
    }

    /// It went well.
    pub(super) fn forget(&mut self) {
        self.failures = 0;
    }
}

fn endpoint() -> Endpoint {
    // The connection is made already; the names only fill `:authority` and `:scheme`.
    Endpoint::from_static("http://portcullis.invalid")
        .origin(Uri::from_static("https://portcullis.invalid"))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// Hands over the one connection; one that is lost is made anew, with the certificate of that time.
struct OneConnection(Option<TokioIo<TlsStream<TcpStream>>>);

impl Service<Uri> for OneConnection {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let stream = self.0.take();
        ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}
