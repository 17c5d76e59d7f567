//! The mesh's registry as a proxy sees it: what is registered becomes endpoints, and a sidecar registers its workload.
//!
//! An [`Instance`] is one running workload. [`Watching`] follows the registry and is the [`EndpointSource`] of the proxy's
//! policies; [`Registering`] keeps the own workload registered for as long as its application answers. Both dial the registry
//! with the proxy's SVID and talk to nobody but the registry's identity. The last known state stays in force while the
//! registry is away, and a registry that has just started again takes nobody out before they had time to come back.
//!
//! [`EndpointSource`]: crate::endpoint_source::EndpointSource

mod channel;
pub mod config;
mod documents;
pub mod instance;
mod known;
pub mod page;
mod register;
mod watch;
pub mod wire;

pub use config::RegistryConfig;
pub use documents::documents;
pub use instance::{BadInstance, Instance, InstanceName, InstancePort, InstanceState};
pub use register::{ApplicationHealth, Registering, RegisteringStatus};
pub use watch::{WatchStatus, Watching};
