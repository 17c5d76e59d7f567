//! Calls to hosts that no document declares, where `outboundTrafficPolicy` is `ALLOW_ANY`: found by DNS, and sent on as they
//! are.
//!
//! Nothing is remembered of such hosts: an application may name as many as it likes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use policies::resilience::RetryPolicy;
use tokio::time::{Instant, timeout};

use crate::body::RequestBody;
use crate::forward::{Forwarded, Forwarder, Opened, Outcome};
use crate::local_reply::LocalReply;
use crate::upstream::{DialError, Target, UpstreamErrorKind, UpstreamProtocol};

/// What Istio calls the way to hosts that no document declares.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// What Istio calls the way of calls that may not leave.
pub const BLACK_HOLE: &str = "BlackHoleCluster";

/// The longest look-up.
const LOOKUP: Duration = Duration::from_secs(5);
/// The longest connect (Istio's default of `connectTimeout`).
const CONNECT: Duration = Duration::from_secs(10);

/// A host that no document declares.
#[derive(Debug, Clone, Copy)]
pub struct Stranger<'a> {
    /// Its name or address, without port; an IPv6 address with or without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The listener that the call came by: nothing is passed on to itself.
    pub own: SocketAddr,
}

impl Stranger<'_> {
    async fn address(&self) -> Result<SocketAddr, DialError> {
        let error = |cause: String| DialError::new(UpstreamErrorKind::Resolve, cause);
        let host = self.host.strip_prefix('[').unwrap_or(self.host);
        let host = host.strip_suffix(']').unwrap_or(host);
        let address = if let Ok(ip) = host.parse::<IpAddr>() {
            SocketAddr::new(ip, self.port)
        } else {
            let found = timeout(LOOKUP, tokio::net::lookup_host((host, self.port)))
                .await
                .map_err(|_elapsed| error("the look-up took too long".to_owned()))?
                .map_err(|cause| error(cause.to_string()))?;
            // Where there is a choice, IPv4: what listens on loopback mostly listens there.
            let found: Vec<SocketAddr> = found.collect();
            let address = found.iter().find(|address| address.is_ipv4());
            address
                .or_else(|| found.first())
                .copied()
                .ok_or_else(|| error("the name has no address".to_owned()))?
        };
        let ip = address.ip().to_canonical();
        let own = self.own.ip().to_canonical();
        if address.port() == self.own.port()
            && (ip == own || ip.is_loopback() || ip.is_unspecified())
        {
            return Err(error("the host is this proxy itself".to_owned()));
        }
        Ok(address)
    }
}

impl<B: RequestBody> Forwarder<B> {
    /// Sends `request` to a host that no document declares, in plaintext. See [`Self::forward`] for the rest.
    pub async fn pass(
        &self,
        to: Stranger<'_>,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> Forwarded<B> {
        match to.address().await {
            Ok(address) => {
                let target = Target::plaintext(address, UpstreamProtocol::Auto, CONNECT);
                // What it would take is not known, so nothing is sent twice.
                let retry = RetryPolicy::off();
                self.to_target(&target, &retry, request, deadline).await
            }
            Err(error) => {
                let reply = LocalReply::upstream(error.kind);
                let outcome = Outcome {
                    flags: reply.flags,
                    failure: Some(Arc::clone(&error.cause)),
                    ..Outcome::default()
                };
                Forwarded {
                    result: Err(reply),
                    outcome,
                }
            }
        }
    }

    /// Opens a connection to a host that no document declares, for bytes as they are.
    pub async fn pass_bytes(&self, to: Stranger<'_>) -> Opened {
        let begun = Instant::now();
        let mut outcome = Outcome {
            attempts: 1,
            ..Outcome::default()
        };
        let dialled = async {
            let address = to.address().await?;
            outcome.address = Some(address);
            let target = Target::plaintext(address, UpstreamProtocol::Auto, CONNECT);
            self.upstreams.connect(&target).await
        };
        let result = dialled.await;
        match &result {
            Ok(_) => outcome.service_time = Some(begun.elapsed()),
            Err(error) => {
                outcome.flags |= error.kind.flags();
                outcome.failure = Some(Arc::clone(&error.cause));
            }
        }
        Opened {
            result: result.map_err(Into::into),
            outcome,
        }
    }
}
