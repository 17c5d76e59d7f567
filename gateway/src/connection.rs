//! What is known of a client connection before its first request.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::raw_connect::ProxyDigest;

use crate::pace::Pace;

/// The HTTP version that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0 and HTTP/1.1.
    One,
    /// HTTP/2, by ALPN or by its preface.
    Two,
}

/// The facts of one client connection; they hold for each of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The port that `Gateway` documents name.
    pub(crate) port: u16,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Our address.
    pub(crate) local: SocketAddr,
    /// The HTTP version spoken.
    pub(crate) version: HttpVersion,
    /// Set when TLS ended here.
    pub(crate) tls: Option<TlsFacts>,
    /// What the connection may take its time over.
    pub(crate) pace: Arc<Pace>,
    /// The socket's descriptor, for telling connections apart.
    pub(crate) descriptor: RawFd,
}

/// What a TLS handshake settled.
#[derive(Debug, Clone)]
pub(crate) struct TlsFacts {
    /// The server name the client asked for, in lower case.
    pub(crate) sni: Option<Arc<str>>,
}

impl Connection {
    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The name asked for in the TLS handshake.
    pub(crate) fn sni(&self) -> Option<&str> {
        self.tls.as_ref()?.sni.as_deref()
    }

    /// The facts that [`into_digest`](Self::into_digest) put into the session's stream.
    pub(crate) fn of(session: &ServerSession) -> Option<Arc<Self>> {
        let digest = session.digest()?.proxy_digest.as_ref()?;
        digest
            .user_data
            .as_ref()?
            .downcast_ref::<Arc<Self>>()
            .cloned()
    }

    /// Packs the facts into the one thing that Pingora hands from a stream to its sessions.
    pub(crate) fn into_digest(self: Arc<Self>) -> Result<Arc<ProxyDigest>, Box<pingora::Error>> {
        let unused = ResponseHeader::build(200, Some(0))?;
        Ok(Arc::new(ProxyDigest::new(
            Box::new(unused),
            Some(Box::new(self)),
        )))
    }
}
