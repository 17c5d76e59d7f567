//! The upstream client against real servers on the loopback interface.

mod lifetime;
mod limits;
mod origination;
mod pooling;
mod streaming;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use super::{Expected, Target, UpstreamProtocol};
use crate::testing::{H1, H2, SERVER_ID, Speaks, id};

const SOON: Duration = Duration::from_secs(5);

fn plain(address: SocketAddr, protocol: UpstreamProtocol) -> Target {
    Target::plaintext(address, protocol, SOON)
}

fn mesh(address: SocketAddr, protocol: UpstreamProtocol) -> Target {
    Target::mesh(address, Expected::one(id(SERVER_ID)), protocol, SOON)
}

const BOTH: [(Speaks, UpstreamProtocol); 2] =
    [(H1, UpstreamProtocol::Http1), (H2, UpstreamProtocol::Http2)];
