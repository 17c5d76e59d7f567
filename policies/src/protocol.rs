//! Port protocols as Istio names them.

use std::fmt;

use crate::decode::{Cursor, Decode};

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `HTTP`: HTTP/1.1.
    Http,
    /// `HTTP2`.
    Http2,
    /// `GRPC`: HTTP/2 with trailers.
    Grpc,
    /// `GRPC-WEB`: HTTP/1.1 or HTTP/2.
    GrpcWeb,
    /// `HTTPS`: HTTP inside TLS.
    Https,
    /// `TLS`: anything inside TLS.
    Tls,
    /// `TCP`, and protocols that are not looked into: `MONGO`, `MYSQL`, `REDIS`.
    Tcp,
}

impl Protocol {
    /// The names that documents may use.
    pub(crate) const NAMES: &'static [(&'static str, Self)] = &[
        ("HTTP", Self::Http),
        ("HTTP2", Self::Http2),
        ("GRPC", Self::Grpc),
        ("GRPC-WEB", Self::GrpcWeb),
        ("HTTPS", Self::Https),
        ("TLS", Self::Tls),
        ("TCP", Self::Tcp),
        ("MONGO", Self::Tcp),
        ("MYSQL", Self::Tcp),
        ("REDIS", Self::Tcp),
    ];

    /// As Istio writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-WEB",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
        }
    }

    /// Whether requests can be seen: plaintext HTTP of any version.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether endpoints are spoken to in HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Decode for Protocol {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| {
            shape.names(Self::NAMES.iter().map(|(name, _)| *name));
            shape.any_case();
        });
        // Istio reads protocols without regard to case.
        let upper = cursor.text()?.to_ascii_uppercase();
        match Self::NAMES.iter().find(|(name, _)| *name == upper) {
            Some((_, protocol)) => Some(*protocol),
            None => cursor.one_of(Self::NAMES),
        }
    }
}
