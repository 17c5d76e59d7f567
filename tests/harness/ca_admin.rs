//! The CA's admin service over its Unix socket, as an operator reaches it.

use std::path::Path;

use identity::wire::{
    CreateJoinTokenRequest, GetStatusRequest, GetStatusResponse, ListEntriesRequest, ListIdentitiesRequest,
    ListIdentitiesResponse, admin_client::AdminClient,
};
use tonic::transport::{Channel, Endpoint};

/// A connection to the admin socket.
pub struct CaAdmin(AdminClient<Channel>);

impl CaAdmin {
    pub async fn connect(socket: &Path) -> Self {
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
        let channel = endpoint.connect().await;
        Self(AdminClient::new(channel.unwrap_or_else(|error| panic!("{}: {error:?}", socket.display()))))
    }

    /// A one-use join token for whoever the selector `join_token:<name>` means.
    pub async fn join_token(&mut self, name: &str) -> String {
        let request = CreateJoinTokenRequest { name: name.to_owned(), ttl_seconds: 600 };
        self.0.create_join_token(request).await.unwrap().into_inner().token
    }

    /// The SPIFFE IDs of the registration entries in force.
    pub async fn entries(&mut self) -> Vec<String> {
        let entries = self.0.list_entries(ListEntriesRequest {}).await.unwrap().into_inner().entries;
        entries.into_iter().map(|entry| entry.spiffe_id).collect()
    }

    pub async fn identities(&mut self) -> ListIdentitiesResponse {
        self.0.list_identities(ListIdentitiesRequest {}).await.unwrap().into_inner()
    }

    pub async fn status(&mut self) -> GetStatusResponse {
        self.0.get_status(GetStatusRequest {}).await.unwrap().into_inner()
    }
}
