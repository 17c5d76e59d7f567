//! What is known about a request, or a connection, when it is judged.

use std::net::IpAddr;

use identity::id::SpiffeId;

use crate::claims::Claims;

/// The facts of one request or, without [`Facts::http`], of one TCP connection.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The verified identity of the peer; `None` without mutual TLS. Then every identity matcher is false.
    pub peer: Option<&'a SpiffeId>,
    /// The direct TCP peer: never taken from a header or from the PROXY protocol (Istio `source.ip`).
    pub source_ip: IpAddr,
    /// The client as far as proxies in front are trusted (Istio `remote.ip`).
    pub remote_ip: IpAddr,
    /// The local address of the connection (Istio `destination.ip`).
    pub destination_ip: IpAddr,
    /// The port the documents speak of: the workload's port on a sidecar, the logical listener port on a gateway.
    pub destination_port: u16,
    /// The server name of the TLS handshake, in lower case.
    pub sni: Option<&'a str>,
    /// The request; `None` for opaque TCP.
    pub http: Option<HttpFacts<'a>>,
}

/// The facts of one HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct HttpFacts<'a> {
    /// The method as sent; `POST` for gRPC.
    pub method: &'a str,
    /// The authority as sent, with the port if one was sent.
    pub host: &'a str,
    /// The canonical path ([`crate::path::normalize`]) without query.
    pub path: &'a str,
    /// The headers after forged identity headers were stripped.
    pub headers: &'a http::HeaderMap,
    /// The claims of the token that RequestAuthentication verified; `None` without one.
    pub claims: Option<&'a Claims>,
}
