//! The limits of one cluster's connections, compiled from `connectionPool`.

use std::time::Duration;

use crate::document::{ConnectionPool, H2Upgrade, Http2KeepAlive, TcpKeepalive};

/// Istio's default of `connectTimeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Istio's default of `tcp.idleTimeout`.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// The limits of one cluster's connections at one proxy, over all endpoints. No limit is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// `tcp.connectTimeout`: TCP and TLS together; 10 s if no document says otherwise.
    pub connect_timeout: Duration,
    /// `tcp.maxConnections`, of HTTP/1.1, HTTP/2 and TCP alike.
    pub max_connections: Option<u32>,
    /// `tcp.maxConnectionDuration`: older connections take no new request, and TCP connections are ended.
    pub max_connection_duration: Option<Duration>,
    /// `tcp.idleTimeout` of TCP connections without bytes; 1 h if no document says otherwise, none if it is off.
    pub tcp_idle_timeout: Option<Duration>,
    /// `tcp.tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `http.http1MaxPendingRequests`: requests that wait for a connection, of HTTP/2 too.
    pub max_pending: Option<u32>,
    /// `http.maxRequestsPerConnection`; 1 is no keep-alive.
    pub max_requests_per_connection: Option<u32>,
    /// `http.idleTimeout` of connections without requests; the proxy's own if no document says otherwise.
    pub idle_timeout: Option<Duration>,
    /// `http.maxConcurrentStreams` on one HTTP/2 connection, when the server allows more.
    pub max_concurrent_streams: Option<u32>,
    /// `http.http2KeepAlive`.
    pub http2_keep_alive: Option<Http2KeepAlive>,
    /// `http.h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
    /// `http.useClientProtocol`: an endpoint is spoken to as the client spoke.
    pub use_client_protocol: bool,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self::new(None)
    }
}

impl PoolSettings {
    /// The settings of a document, or the defaults. A limit of 0 is none (Istio).
    pub(crate) fn new(document: Option<&ConnectionPool>) -> Self {
        let default = ConnectionPool::default();
        let pool = document.unwrap_or(&default);
        let limit = |limit: Option<u32>| limit.filter(|limit| *limit > 0);
        Self {
            connect_timeout: pool.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            max_connections: limit(pool.max_connections),
            max_connection_duration: pool.max_connection_duration,
            tcp_idle_timeout: match pool.tcp_idle_timeout {
                None => Some(TCP_IDLE_TIMEOUT),
                Some(Duration::ZERO) => None,
                given => given,
            },
            tcp_keepalive: pool.tcp_keepalive.as_deref().copied(),
            max_pending: limit(pool.max_pending_requests),
            max_requests_per_connection: limit(pool.max_requests_per_connection),
            idle_timeout: pool.idle_timeout,
            max_concurrent_streams: limit(pool.max_concurrent_streams),
            http2_keep_alive: pool.http2_keep_alive.as_deref().copied(),
            h2_upgrade: pool.h2_upgrade,
            use_client_protocol: pool.use_client_protocol,
        }
    }
}
