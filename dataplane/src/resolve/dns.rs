//! One question to the name servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::OnceCell;

use super::answer::Answer;

/// An answer holds for at least so long, whatever its TTL says, so that a TTL of 0 is no flood of questions…
const SHORTEST: Duration = Duration::from_secs(1);
/// … and for at most so long, so that a mistake in a zone does not stay for a day.
const LONGEST: Duration = Duration::from_mins(5);
/// The longest look-up.
const LOOKUP: Duration = Duration::from_secs(5);

/// The name servers of one process, made when somebody asks first.
pub(super) struct Dns {
    servers: Option<Box<[SocketAddr]>>,
    resolver: OnceCell<TokioResolver>,
}

impl Dns {
    /// Those of `/etc/resolv.conf`, after `/etc/hosts`.
    pub(super) const fn system() -> Self {
        Self {
            servers: None,
            resolver: OnceCell::const_new(),
        }
    }

    /// Given ones, after `/etc/hosts`.
    pub(super) fn servers(servers: &[SocketAddr]) -> Self {
        Self {
            servers: Some(servers.into()),
            resolver: OnceCell::new(),
        }
    }

    /// The addresses of a name, IPv6 ones only if there are no others, and how long they hold.
    pub(super) async fn ask(&self, name: &str) -> Result<Answer, Arc<str>> {
        let resolver = self
            .resolver
            .get_or_try_init(async || self.connect())
            .await?;
        let found = match tokio::time::timeout(LOOKUP, resolver.lookup_ip(name)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(error.to_string().into()),
            Err(_elapsed) => return Err("no answer in time".into()),
        };
        let addresses: Arc<[IpAddr]> = found.iter().collect();
        if addresses.is_empty() {
            return Err("the name has no address".into());
        }
        let holds = found
            .valid_until()
            .saturating_duration_since(Instant::now());
        Ok(Answer::new(addresses, holds.clamp(SHORTEST, LONGEST)))
    }

    fn connect(&self) -> Result<TokioResolver, Arc<str>> {
        let provider = TokioRuntimeProvider::default();
        let cause = |error: &dyn std::fmt::Display| -> Arc<str> {
            format!("the resolver cannot be set up: {error}").into()
        };
        let mut builder = match &self.servers {
            None => Resolver::builder(provider).map_err(|error| cause(&error))?,
            Some(servers) => {
                let servers = servers.iter().map(|server| name_server(*server));
                let config = ResolverConfig::from_name_servers(servers.collect());
                Resolver::builder_with_config(config, provider)
            }
        };
        let options = builder.options_mut();
        // Endpoints get requests in turn: one of a family that this machine cannot reach would fail its share of them.
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        // Answers are remembered here, for as long as they hold.
        options.cache_size = 0;
        builder.build().map_err(|error| cause(&error))
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.into())
}
