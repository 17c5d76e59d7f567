//! The CA's admin service, over its Unix socket: join tokens and what the CA knows.

use std::time::Duration;

use identity::wire::admin_client::AdminClient;
use identity::wire::{
    CreateJoinTokenRequest, GetStatusRequest, GetStatusResponse, ListEntriesRequest,
    ListEntriesResponse,
};
use tonic::transport::{Channel, Endpoint};

use crate::directory::MeshDir;
use crate::exit::{Context as _, Failure};

/// The socket is on this machine; an answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the admin socket of the CA of one mesh.
#[derive(Debug, Clone)]
pub(crate) struct CaAdmin {
    client: AdminClient<Channel>,
}

impl CaAdmin {
    /// Connects.
    pub(crate) async fn connect(dir: &MeshDir) -> Result<Self, Failure> {
        let socket = dir.admin_socket();
        let doing = || format!("cannot reach the CA at `{}`", socket.display());
        let endpoint =
            Endpoint::from_shared(format!("unix:{}", socket.display())).context(doing)?;
        let channel = endpoint
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .connect()
            .await
            .map_err(|error| Failure::unreachable(format!("{}: {}", doing(), chain(&error))))?;
        Ok(Self {
            client: AdminClient::new(channel),
        })
    }

    /// A new one-use join token whose holder is `join_token:<name>` to the registration entries.
    pub(crate) async fn join_token(
        &mut self,
        name: &str,
        ttl: Duration,
    ) -> Result<String, Failure> {
        let request = CreateJoinTokenRequest {
            name: name.to_owned(),
            ttl_seconds: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
        };
        let answer = self.client.create_join_token(request).await;
        answer
            .map(|answer| answer.into_inner().token)
            .context(|| format!("the CA gives no join token for `{name}`"))
    }

    /// The registration entries in force, and what is wrong with the documents.
    pub(crate) async fn entries(&mut self) -> Result<ListEntriesResponse, Failure> {
        let answer = self.client.list_entries(ListEntriesRequest {}).await;
        answer
            .map(tonic::Response::into_inner)
            .context(|| "the CA does not list its entries".to_owned())
    }

    /// The CA's own account of itself.
    pub(crate) async fn status(&mut self) -> Result<GetStatusResponse, Failure> {
        let answer = self.client.get_status(GetStatusRequest {}).await;
        answer
            .map(tonic::Response::into_inner)
            .context(|| "the CA does not tell its status".to_owned())
    }
}

/// An error with its causes on one line; tonic's own text is only `transport error`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
