//! The CA's admin service over its Unix socket, as an operator reaches it.

use std::path::Path;

use identity::wire::{
    CreateJoinTokenRequest, GetStatusRequest, GetStatusResponse, ListEntriesRequest,
    ListIdentitiesRequest, ListIdentitiesResponse, admin_client::AdminClient,
};
use tonic::transport::{Channel, Endpoint};

/// A connection to the admin socket.
pub struct CaAdmin(AdminClient<Channel>);

impl CaAdmin {
    pub async fn connect(socket: &Path) -> Self {
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
        let channel = endpoint.connect().await;
        Self(AdminClient::new(channel.unwrap_or_else(|error| {
            panic!("{}: {error:?}", socket.display())
        })))
    }

    /// A one-use join token for whoever the selector `join_token:<name>` means.
    pub async fn join_token(&mut self, name: &str) -> String {
        let request = CreateJoinTokenRequest {
            name: name.to_owned(),
            ttl_seconds: 600,
        };
        self.0
            .create_join_token(request)
            .await
            .unwrap()
            .into_inner()
            .token
    }

    /// Whether a registration entry in force is for the holders of this join token.
    pub async fn knows(&mut self, name: &str) -> bool {
        let entries = self
            .0
            .list_entries(ListEntriesRequest {})
            .await
            .unwrap()
            .into_inner()
            .entries;
        let selector = format!("join_token:{name}");
        entries
            .iter()
            .any(|entry| entry.selectors.contains(&selector))
    }

    pub async fn identities(&mut self) -> ListIdentitiesResponse {
        self.0
            .list_identities(ListIdentitiesRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    pub async fn status(&mut self) -> GetStatusResponse {
        self.0
            .get_status(GetStatusRequest {})
            .await
            .unwrap()
            .into_inner()
    }
}
