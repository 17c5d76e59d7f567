//! How a connection begins: with a ClientHello of the mesh, with somebody else's, or with anything else.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{Accepted, Acceptor};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The names by which Istio's proxies know each other in ALPN.
pub const ISTIO_ALPN: [&[u8]; 5] = [
    b"istio",
    b"istio-peer-exchange",
    b"istio-http/1.0",
    b"istio-http/1.1",
    b"istio-h2",
];

/// The first byte of every TLS record that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// The longest ClientHello that is read; today's have less than 3 KiB.
const LONGEST: usize = 32 * 1024;
/// What is read at once.
const CHUNK: usize = 4096;

/// The first bytes of a connection, taken from the socket.
pub struct Opening {
    /// The ClientHello, if it is one.
    pub hello: Option<Accepted>,
    /// Everything that was read.
    pub read: Vec<u8>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("hello", &self.hello.is_some())
            .field("read", &self.read.len())
            .finish()
    }
}

impl Opening {
    /// Reads until it is clear how the connection begins.
    ///
    /// # Errors
    /// The connection broke, or its ClientHello is too long.
    pub async fn read(tcp: &mut TcpStream) -> io::Result<Self> {
        let mut acceptor = Acceptor::default();
        let mut read = Vec::new();
        loop {
            let known = read.len();
            read.reserve(CHUNK);
            let count = tcp.read_buf(&mut read).await?;
            let ended = count == 0;
            if ended || read.first() != Some(&HANDSHAKE_RECORD) {
                return Ok(Self { hello: None, read });
            }
            let mut fresh = read.get(known..).unwrap_or_default();
            while !fresh.is_empty() {
                acceptor.read_tls(&mut fresh)?;
            }
            match acceptor.accept() {
                Ok(Some(hello)) => {
                    let hello = Some(hello);
                    return Ok(Self { hello, read });
                }
                Ok(None) if read.len() <= LONGEST => {}
                Ok(None) => return Err(io::Error::other("the ClientHello is too long")),
                // It only looked like one.
                Err(_) => return Ok(Self { hello: None, read }),
            }
        }
    }

    /// As [`Self::read`], where the client may also wait for the server to speak first: one that says nothing for
    /// `silence` is taken to do so.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_or_silence(tcp: &mut TcpStream, silence: Duration) -> io::Result<Self> {
        // A look at the first byte, since readiness alone may be a false alarm.
        match timeout(silence, tcp.peek(&mut [0])).await {
            Ok(looked) => {
                looked?;
                Self::read(tcp).await
            }
            Err(_elapsed) => Ok(Self {
                hello: None,
                read: Vec::new(),
            }),
        }
    }

    /// The server name of the ClientHello, in lower case.
    pub fn sni(&self) -> Option<Arc<str>> {
        let hello = self.hello.as_ref()?;
        let name = hello.client_hello().server_name()?.to_ascii_lowercase();
        Some(name.into())
    }

    /// Whether it is a ClientHello that offers one of [`ISTIO_ALPN`].
    pub fn is_of_mesh(&self) -> bool {
        let Some(hello) = &self.hello else {
            return false;
        };
        hello
            .client_hello()
            .alpn()
            .is_some_and(|mut offered| offered.any(|name| ISTIO_ALPN.contains(&name)))
    }
}
