//! Who a peer is: SPIFFE identities, their verification, TLS material, renewal and the CA client.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | none | names and peers: [`id`], [`peer`] |
//! | `tls` | keys, SVIDs, bundles, the SPIFFE verifier, TLS configurations, the renewal timetable, join tokens |
//! | `wire` | the messages of the CA's gRPC services |
//! | `client` | enrolment and renewal against the CA, and the keeper that does both in the background |
//!
//! The life of a certificate: the keeper makes a key and a CSR, the CA answers with a chain, `svid` checks the
//! leaf, `material` publishes one generation of it, and every new handshake reads that generation.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod id;
pub mod peer;

#[cfg(feature = "tls")]
pub mod bundle;
#[cfg(feature = "tls")]
pub mod dial;
#[cfg(feature = "tls")]
pub mod join_token;
#[cfg(feature = "tls")]
pub mod key;
#[cfg(feature = "tls")]
pub mod material;
#[cfg(feature = "tls")]
pub mod origination;
#[cfg(feature = "tls")]
pub mod peer_of;
#[cfg(feature = "tls")]
mod profile;
#[cfg(feature = "tls")]
pub mod proof;
#[cfg(feature = "tls")]
mod provider;
#[cfg(feature = "tls")]
pub mod reason;
#[cfg(feature = "tls")]
pub mod renewal;
#[cfg(feature = "tls")]
pub mod server;
#[cfg(feature = "tls")]
pub mod svid;
#[cfg(all(test, feature = "tls"))]
mod test_pki;
#[cfg(feature = "tls")]
pub mod verify;

#[cfg(feature = "wire")]
pub mod wire;

#[cfg(feature = "client")]
mod ca_address;
#[cfg(feature = "client")]
mod ca_server;
#[cfg(feature = "client")]
pub mod enrol;
#[cfg(feature = "client")]
pub mod keeper;
#[cfg(feature = "client")]
mod state;

pub use id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use peer::PeerIdentity;
