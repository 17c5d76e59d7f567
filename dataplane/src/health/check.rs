//! One check of one endpoint.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use identity::material::MaterialReader;
use policies::cluster::{self, Cluster};
use policies::document::health_check::{HealthCheckSettings, HealthProbe, HttpProbe};
use prometheus::Registry;

use super::metrics::CheckMetrics;
use super::wire::{CHECK, HealthCheckRequest, HealthCheckResponse, ServingStatus};
use crate::grpc;
use crate::resolve::Resolver;
use crate::snapshot::{Asked, Destination};
use crate::upstream::{
    ClusterConnections, DialError, Limits, Target, UpstreamBody, UpstreamErrorKind,
    UpstreamProtocol, Upstreams,
};

/// Who asks, as servers see it.
const AGENT: &str = "portcullis-health-check";
/// The longest answer that is read, in bytes; the connection of a longer one is not used again.
const LONGEST_ANSWER: usize = 64 * 1024;
/// What peers of the mesh offer on a port that speaks HTTP.
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// What all checks of a proxy share. Their connections are their own: checks neither wait for the requests' connections nor
/// take their places.
#[derive(Debug)]
pub(super) struct Checker {
    upstreams: Upstreams<Full<Bytes>>,
    pub(super) metrics: CheckMetrics,
}

/// Why an endpoint did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// This process cannot ask: it has no certificate yet. That says nothing about the endpoint.
    NotMade,
    /// There was no answer in time.
    TimedOut,
    /// What was wrong; for logs.
    Failed(String),
}

/// Who is asked.
pub(super) struct Asking<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) destination: &'a Destination,
    /// Of the endpoint in its cluster.
    pub(super) position: usize,
    pub(super) resolver: &'a Resolver,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade => f.write_str("not asked: no workload certificate yet"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl Failure {
    fn new(why: impl fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }

    fn of(kind: UpstreamErrorKind, cause: &str) -> Self {
        match kind {
            UpstreamErrorKind::NoIdentity => Self::NotMade,
            UpstreamErrorKind::ConnectTimeout => Self::TimedOut,
            _ => Self::Failed(format!("{kind}: {cause}")),
        }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self::of(error.kind, &error.cause)
    }
}

impl Asking<'_> {
    /// Where what is `asked` for goes.
    async fn target(&self, asked: &Asked, timeout: Duration) -> Result<Target, Failure> {
        let target = self
            .destination
            .target(self.cluster, self.position, 0, self.resolver, asked);
        let target = target.await?;
        Ok(Target {
            connect_timeout: target.connect_timeout.min(timeout),
            connections: ClusterConnections::unlimited(),
            ..target
        })
    }
}

impl Checker {
    pub(super) fn new(
        reader: MaterialReader,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            upstreams: Upstreams::new(reader, Limits::default()),
            metrics: CheckMetrics::register(registry)?,
        })
    }

    pub(super) fn close_idle(&self) {
        self.upstreams.close_idle();
    }

    /// Asks an endpoint once.
    pub(super) async fn check(
        &self,
        asking: &Asking<'_>,
        settings: &HealthCheckSettings,
    ) -> Result<(), Failure> {
        let timeout = settings.timeout;
        let asked = async {
            match &settings.probe {
                HealthProbe::Http(probe) => self.http(asking, probe, timeout).await,
                HealthProbe::Grpc { service } => self.grpc(asking, service, timeout).await,
                HealthProbe::Tcp => self.tcp(asking, timeout).await,
            }
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(result) => result,
            Err(_) => Err(Failure::TimedOut),
        }
    }

    async fn http(
        &self,
        asking: &Asking<'_>,
        probe: &HttpProbe,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let host = probe.host.as_deref().unwrap_or(&asking.cluster.key.host);
        let request = Request::get(probe.path.as_str()).header(HOST, host);
        let mut request = request.body(Full::default()).map_err(Failure::new)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        for (name, value) in &probe.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(Failure::new)?;
            let value = HeaderValue::try_from(value.as_str()).map_err(Failure::new)?;
            headers.insert(name, value);
        }
        let response = self.send(asking, request, None, timeout).await?;
        let status = response.status().as_u16();
        // Read to its end, so that the connection is used again; what it says does not matter.
        let rest = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
        drop(rest.await);
        if probe.expects(status) {
            Ok(())
        } else {
            Err(Failure::new(format_args!("it answered {status}")))
        }
    }

    async fn grpc(
        &self,
        asking: &Asking<'_>,
        service: &str,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let authority = HeaderValue::try_from(&*asking.cluster.key.host).map_err(Failure::new)?;
        let question = HealthCheckRequest {
            service: service.to_owned(),
        };
        let request = grpc::call(CHECK, &authority, &question, timeout);
        let mut request = request.map_err(Failure::new)?;
        let agent = HeaderValue::from_static(AGENT);
        request.headers_mut().insert(USER_AGENT, agent);
        let protocol = Some(UpstreamProtocol::Http2);
        let response = self.send(asking, request, protocol, timeout).await?;
        let answer: HealthCheckResponse = grpc::answer(response, LONGEST_ANSWER)
            .await
            .map_err(Failure::new)?;
        match answer.status() {
            ServingStatus::Serving => Ok(()),
            other => Err(Failure::new(format_args!("it says {}", other.name()))),
        }
    }

    async fn tcp(&self, asking: &Asking<'_>, timeout: Duration) -> Result<(), Failure> {
        let target = asking.target(&Asked::opaque(), timeout).await?;
        let cluster = asking.cluster;
        let http = cluster.transport == cluster::Transport::Mesh && cluster.protocol.is_http();
        let connected = if http {
            self.upstreams.connect_offering(&target, HTTP).await
        } else {
            self.upstreams.connect(&target).await
        };
        connected?;
        Ok(())
    }

    async fn send(
        &self,
        asking: &Asking<'_>,
        request: Request<Full<Bytes>>,
        protocol: Option<UpstreamProtocol>,
        timeout: Duration,
    ) -> Result<Response<UpstreamBody<Full<Bytes>>>, Failure> {
        let mut asked = Asked::by(asking.cluster, &request);
        asked.protocol = protocol.unwrap_or(asked.protocol);
        let target = asking.target(&asked, timeout).await?;
        let sent = self.upstreams.send(&target, request).await;
        sent.map_err(|error| Failure::of(error.kind, &error.cause))
    }
}
