//! Who a peer is: SPIFFE identities, their verification, TLS material, renewal and the CA client.

pub mod id;
pub mod peer;
#[cfg(feature = "wire")]
pub mod wire;

pub use id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use peer::PeerIdentity;
