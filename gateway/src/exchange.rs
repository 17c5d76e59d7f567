//! One request and its response while they are under way, and the ways in which they end early.

use std::error::Error as StdError;

use dataplane::LocalReply;
use dataplane::access::Refusal;
use dataplane::ext_authz::HeaderChange;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use crate::connection::Connection;
use crate::record::Record;
use crate::relay::RelayError;
use crate::request_head::BadRequest;
use crate::tunnel::TunnelError;

/// What every phase of a request works on.
pub(crate) struct Exchange<'a> {
    /// The client's side.
    pub(crate) session: &'a mut ServerSession,
    /// The connection it came over.
    pub(crate) connection: &'a Connection,
    /// Becomes true when the process begins to drain.
    pub(crate) draining: &'a ShutdownWatch,
    /// What will be logged.
    pub(crate) record: &'a mut Record,
    /// What an external provider changes in the response's headers.
    pub(crate) changes: Vec<HeaderChange>,
}

/// Why a request does not go its full way.
#[derive(Debug)]
pub(crate) enum Stop {
    /// We answer ourselves.
    Reply(Box<LocalReply>),
    /// It may not pass.
    Refused(Box<Refusal>),
    /// The client left or broke the protocol; there is nobody to answer.
    Client(Box<pingora::Error>),
    /// The upstream broke off in the middle of its response; the client must notice.
    Upstream(Box<dyn StdError + Send + Sync>),
    /// The route's deadline passed in the middle of the response.
    Deadline,
}

impl From<LocalReply> for Stop {
    fn from(reply: LocalReply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl From<Box<LocalReply>> for Stop {
    fn from(reply: Box<LocalReply>) -> Self {
        Self::Reply(reply)
    }
}

impl From<Box<pingora::Error>> for Stop {
    fn from(error: Box<pingora::Error>) -> Self {
        Self::Client(error)
    }
}

impl From<BadRequest> for Stop {
    fn from(refused: BadRequest) -> Self {
        let mut reply = LocalReply::bad_request(refused.reason());
        reply.status = refused.status();
        Self::from(reply)
    }
}

impl From<RelayError> for Stop {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Client(error) => Self::Client(error),
            RelayError::Upstream(error) => Self::Upstream(error),
        }
    }
}

impl From<TunnelError> for Stop {
    fn from(error: TunnelError) -> Self {
        match error {
            TunnelError::Client(error) => Self::Client(error),
            TunnelError::Upstream(error) => Self::Upstream(error.into()),
        }
    }
}
