//! What requests to one cluster need beside its endpoints, made once per generation.

use std::path::Path;
use std::sync::Arc;

use http::{Request, header};
use identity::SpiffeId;
use policies::cluster::{self, Cluster, H2Upgrade, Protocol, Resolution, TlsSettings};
use policies::diagnostic::{Diagnostic, codes};
use policies::document::Spanned;
use rustls_pki_types::ServerName;

use crate::headers::wants_upgrade;
use crate::local_reply::is_grpc;
use crate::resolve::Resolver;
use crate::upstream::{
    ClusterConnections, DialError, Expected, Origination, Target, Transport, UpstreamErrorKind,
    UpstreamProtocol,
};

/// What requests to one cluster need, made once per generation.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Istio's cluster name, for logs.
    pub(crate) name: Arc<str>,
    /// The cluster's connections, carried from generation to generation.
    pub(crate) connections: Arc<ClusterConnections>,
    /// By endpoint position.
    transports: Box<[Transport]>,
    /// The name that TLS asks for; none if the request says it.
    server_name: Option<ServerName<'static>>,
}

impl Destination {
    /// What requests to `cluster` need; `previous` is the same cluster's one generation earlier, `credentials` the proxy's
    /// directory of credentials.
    ///
    /// # Errors
    /// When TLS is asked for whose files cannot be used.
    pub(super) fn of(
        cluster: &Cluster,
        previous: Option<&Self>,
        credentials: Option<&Arc<Path>>,
    ) -> Result<Self, Box<Diagnostic>> {
        let transports = match cluster.transport {
            cluster::Transport::Plaintext => vec![Transport::Plaintext; cluster.endpoints.len()],
            cluster::Transport::Mesh => mesh(cluster),
            cluster::Transport::Tls => {
                let Some(tls) = &cluster.tls else {
                    let (code, at) = (codes::INVALID_VALUE, cluster.at.clone());
                    return Err(Diagnostic::error(code, at, "", "TLS without settings").into());
                };
                let origination = originate(tls, previous, credentials)?;
                let transport = Transport::Tls(origination);
                // One more than there are endpoints: the next generation looks for it here even without any.
                vec![transport; cluster.endpoints.len().max(1)]
            }
        };
        let connections = match previous {
            Some(previous) => {
                previous.connections.adopt(&cluster.pool);
                Arc::clone(&previous.connections)
            }
            None => ClusterConnections::new(cluster.pool.clone()),
        };
        Ok(Self {
            name: cluster.key.to_string().into(),
            connections,
            transports: transports.into(),
            server_name: server_name(cluster)?,
        })
    }

    /// Where what is `asked` for goes at the endpoint at `position`; `turn` spreads tries over the addresses of a name.
    pub(crate) async fn target(
        &self,
        of: &Cluster,
        position: usize,
        turn: usize,
        resolver: &Resolver,
        asked: &Asked,
    ) -> Result<Target, DialError> {
        let (Some(endpoint), Some(transport)) =
            (of.endpoints.get(position), self.transports.get(position))
        else {
            let kind = UpstreamErrorKind::Resolve;
            return Err(DialError::new(kind, "no such endpoint"));
        };
        let server_name = self.server_name.as_ref().or(asked.host.as_ref());
        if of.transport == cluster::Transport::Tls && server_name.is_none() {
            let kind = UpstreamErrorKind::Tls;
            return Err(DialError::new(
                kind,
                "there is no name that TLS could ask for",
            ));
        }
        // Logical DNS: everybody follows the first answer, until another one comes first.
        let turn = match of.resolution {
            Resolution::DnsRoundRobin => 0,
            _ => turn,
        };
        let address = resolver
            .address(&endpoint.address, turn)
            .await
            .map_err(|error| DialError::new(UpstreamErrorKind::Resolve, error))?;
        Ok(Target {
            address,
            transport: transport.clone(),
            server_name: server_name.cloned(),
            protocol: asked.protocol,
            connect_timeout: of.connect_timeout,
            connections: Arc::clone(&self.connections),
        })
    }
}

/// What a connection has to be like, by the request that wants it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What is to be spoken.
    pub(crate) protocol: UpstreamProtocol,
    /// The Host, where TLS could ask for it.
    host: Option<ServerName<'static>>,
}

impl Asked {
    /// By an HTTP request to an endpoint of `cluster`.
    pub(crate) fn by<B>(cluster: &Cluster, request: &Request<B>) -> Self {
        Self {
            protocol: protocol_for(cluster, request),
            host: match cluster.transport {
                cluster::Transport::Tls => host(request),
                cluster::Transport::Plaintext | cluster::Transport::Mesh => None,
            },
        }
    }

    /// By what is no HTTP request.
    pub(crate) const fn opaque() -> Self {
        Self {
            protocol: UpstreamProtocol::Auto,
            host: None,
        }
    }
}

/// What to speak with an endpoint: mesh peers agree by ALPN, others get what the port is declared to speak.
fn protocol_for<B>(cluster: &Cluster, request: &Request<B>) -> UpstreamProtocol {
    if wants_upgrade(request.headers()).is_some() {
        return UpstreamProtocol::Http1;
    }
    let pool = &cluster.pool;
    if pool.use_client_protocol && cluster.protocol == Protocol::Http {
        return match request.version() {
            http::Version::HTTP_2 => UpstreamProtocol::Http2,
            _ => UpstreamProtocol::Http1,
        };
    }
    match (cluster.transport, cluster.protocol) {
        (cluster::Transport::Mesh, _) if is_grpc(request.headers()) => UpstreamProtocol::Http2,
        (cluster::Transport::Mesh, Protocol::Http)
            if pool.h2_upgrade == H2Upgrade::DoNotUpgrade =>
        {
            UpstreamProtocol::Http1
        }
        (cluster::Transport::Mesh, _) if pool.h2_upgrade == H2Upgrade::Upgrade => {
            UpstreamProtocol::Http2
        }
        (cluster::Transport::Mesh, _) => UpstreamProtocol::Auto,
        (
            cluster::Transport::Plaintext | cluster::Transport::Tls,
            Protocol::Http2 | Protocol::Grpc,
        ) => UpstreamProtocol::Http2,
        (cluster::Transport::Plaintext | cluster::Transport::Tls, _) => UpstreamProtocol::Http1,
    }
}

/// Who may answer at each endpoint of the mesh.
fn mesh(cluster: &Cluster) -> Vec<Transport> {
    let ids = |texts: &[Arc<str>]| -> Vec<SpiffeId> {
        // Checked at load; one that is none nevertheless accepts nobody.
        texts
            .iter()
            .filter_map(|text| SpiffeId::parse(text).ok())
            .collect()
    };
    if !cluster.identities.is_empty() {
        let expected = Expected::any_of(ids(&cluster.identities));
        return vec![Transport::Mesh(expected); cluster.endpoints.len()];
    }
    let expected = cluster.endpoints.iter().map(|endpoint| {
        let own = endpoint.expected.as_slice();
        Transport::Mesh(Expected::any_of(ids(own)))
    });
    expected.collect()
}

/// Carried from generation to generation while a document says the same, so that connections live on.
fn originate(
    tls: &Spanned<Arc<TlsSettings>>,
    previous: Option<&Destination>,
    credentials: Option<&Arc<Path>>,
) -> Result<Arc<Origination>, Box<Diagnostic>> {
    let known = previous.and_then(|previous| match previous.transports.first() {
        Some(Transport::Tls(known)) if *known.settings() == tls.value => Some(known),
        _ => None,
    });
    if let Some(known) = known {
        known.refresh();
        return Ok(Arc::clone(known));
    }
    match Origination::load(Arc::clone(&tls.value), credentials.cloned()) {
        Ok(origination) => Ok(Arc::new(origination)),
        Err(error) => {
            let (at, path) = (tls.at.clone(), &tls.path);
            let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, path, error.to_string());
            Err(diagnostic
                .with_help("TLS that is asked for is never left out")
                .into())
        }
    }
}

/// What TLS asks for, unless each request has to say it: a service of many names (`*.example.com`).
fn server_name(cluster: &Cluster) -> Result<Option<ServerName<'static>>, Box<Diagnostic>> {
    match cluster.transport {
        cluster::Transport::Plaintext => Ok(None),
        // Mesh peers are known by their identity; a name too long for TLS is left to the default.
        cluster::Transport::Mesh => Ok(ServerName::try_from(cluster.sni.to_string()).ok()),
        cluster::Transport::Tls => {
            let written = cluster.tls.as_ref().and_then(|tls| {
                let sni = tls.sni.as_ref()?;
                Some((sni, tls))
            });
            match written {
                Some((sni, tls)) => ServerName::try_from(sni.to_string())
                    .map(Some)
                    .map_err(|_| {
                        let message = format!("`sni`: `{sni}` is no name that TLS could ask for");
                        let (at, path) = (tls.at.clone(), &tls.path);
                        Diagnostic::error(codes::INVALID_VALUE, at, path, message).into()
                    }),
                None => Ok(ServerName::try_from(cluster.key.host.to_string()).ok()),
            }
        }
    }
}

/// The name in a request's Host, or in its URI if it has no Host.
fn host<B>(request: &Request<B>) -> Option<ServerName<'static>> {
    let authority = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?.parse().ok()?,
        None => request.uri().authority()?.clone(),
    };
    ServerName::try_from(authority.host().to_owned()).ok()
}
