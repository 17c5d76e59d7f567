//! Istio's `ConnectionPoolSettings`: limits and times of connections, per proxy and destination.

use std::time::Duration;

use crate::decode::{Count, Cursor, Decode, DurationOrZero, Fields};
use crate::diagnostic::codes;

/// Istio's `ConnectionPoolSettings`. A limit of 0 is as if not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionPool {
    /// `tcp.connectTimeout`; 10 s if not given.
    pub connect_timeout: Option<Duration>,
    /// `tcp.maxConnections`; no limit if not given.
    pub max_connections: Option<u32>,
    /// `tcp.maxConnectionDuration`; no limit if not given.
    pub max_connection_duration: Option<Duration>,
    /// `tcp.idleTimeout` of plain connections; 1 h if not given, 0 is off.
    pub tcp_idle_timeout: Option<Duration>,
    /// `tcp.tcpKeepalive`.
    pub tcp_keepalive: Option<Box<TcpKeepalive>>,
    /// `http.http1MaxPendingRequests`: requests waiting for a connection, also of HTTP/2; no limit if not given.
    pub max_pending_requests: Option<u32>,
    /// `http.http2MaxRequests`: requests under way, also of HTTP/1.1; no limit if not given or 0.
    pub max_requests: Option<u32>,
    /// `http.maxRequestsPerConnection`; no limit if not given, 1 is no keep-alive.
    pub max_requests_per_connection: Option<u32>,
    /// `http.maxRetries`: retries under way; no limit if not given.
    pub max_retries: Option<u32>,
    /// `http.idleTimeout` of connections without requests; 1 h if not given.
    pub idle_timeout: Option<Duration>,
    /// `http.h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
    /// `http.useClientProtocol`; `false` if not given.
    pub use_client_protocol: bool,
    /// `http.maxConcurrentStreams` on one HTTP/2 connection; the server's limit if not given.
    pub max_concurrent_streams: Option<u32>,
    /// `http.http2KeepAlive`.
    pub http2_keep_alive: Option<Box<Http2KeepAlive>>,
}

/// `http.h2UpgradePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum H2Upgrade {
    /// `DEFAULT`: as the port's protocol says.
    #[default]
    Default,
    /// `DO_NOT_UPGRADE`: HTTP/1.1 stays HTTP/1.1.
    DoNotUpgrade,
    /// `UPGRADE`: HTTP/2 to the endpoints.
    Upgrade,
}

/// `tcp.tcpKeepalive`; the system's settings where not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// `probes` without answer that end the connection.
    pub probes: Option<u32>,
    /// `time` without traffic before the first probe.
    pub time: Option<Duration>,
    /// `interval` between probes.
    pub interval: Option<Duration>,
}

/// `http.http2KeepAlive`: PING frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Http2KeepAlive {
    /// `interval` between pings.
    pub interval: Option<Duration>,
    /// `timeout` for the answer.
    pub timeout: Option<Duration>,
}

impl Decode for ConnectionPool {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let tcp = f.optional::<Tcp>("tcp");
            let http = f.optional::<Http>("http");
            f.any_of(&["tcp", "http"]);
            let Tcp(tcp) = tcp.unwrap_or_default();
            let Http(http) = http.unwrap_or_default();
            Some(Self {
                connect_timeout: tcp.connect_timeout,
                max_connections: tcp.max_connections,
                max_connection_duration: tcp.max_connection_duration,
                tcp_idle_timeout: tcp.tcp_idle_timeout,
                tcp_keepalive: tcp.tcp_keepalive,
                ..http
            })
        })
    }
}

fn limit(f: &mut Fields<'_>, name: &'static str) -> Option<u32> {
    let Count(limit) = f.optional(name)?;
    (limit > 0).then_some(limit)
}

/// `connectionPool.tcp`.
#[derive(Default)]
struct Tcp(ConnectionPool);

impl Decode for Tcp {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self(ConnectionPool {
                connect_timeout: f.optional("connectTimeout"),
                max_connections: limit(f, "maxConnections"),
                max_connection_duration: f.optional("maxConnectionDuration"),
                tcp_idle_timeout: f.optional("idleTimeout").map(|DurationOrZero(time)| time),
                tcp_keepalive: f.optional("tcpKeepalive"),
                ..ConnectionPool::default()
            }))
        })
    }
}

/// `connectionPool.http`.
#[derive(Default)]
struct Http(ConnectionPool);

impl Decode for Http {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let pool = ConnectionPool {
                max_pending_requests: limit(f, "http1MaxPendingRequests"),
                max_requests: limit(f, "http2MaxRequests"),
                max_requests_per_connection: limit(f, "maxRequestsPerConnection"),
                max_retries: limit(f, "maxRetries"),
                idle_timeout: f.optional("idleTimeout"),
                h2_upgrade: f.or_default("h2UpgradePolicy"),
                use_client_protocol: f.or_default("useClientProtocol"),
                max_concurrent_streams: limit(f, "maxConcurrentStreams"),
                http2_keep_alive: f.optional("http2KeepAlive"),
                ..ConnectionPool::default()
            };
            if pool.use_client_protocol && pool.h2_upgrade == H2Upgrade::Upgrade {
                let message =
                    "`useClientProtocol` and `h2UpgradePolicy: UPGRADE` contradict each other";
                f.error_at("useClientProtocol", codes::EXCLUSIVE_FIELDS, message, None);
            }
            Some(Self(pool))
        })
    }
}

impl Decode for H2Upgrade {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("DEFAULT", Self::Default),
            ("DO_NOT_UPGRADE", Self::DoNotUpgrade),
            ("UPGRADE", Self::Upgrade),
        ])
    }
}

impl Decode for TcpKeepalive {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                probes: f.optional("probes"),
                time: f.optional("time"),
                interval: f.optional("interval"),
            })
        })
    }
}

impl Decode for Http2KeepAlive {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                interval: f.optional("interval"),
                timeout: f.optional("timeout"),
            })
        })
    }
}
