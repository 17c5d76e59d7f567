//! A mesh of real processes for end-to-end tests: CA, sidecars, a gateway, applications in this process.
//!
//! `Mesh::start(MeshSpec)` lays out a temporary directory, starts `portcullis ca`, `sidecar` and `gateway` on free ports,
//! and returns when all of them are ready. Everything ends with the value; a failing test prints the logs.
//!
//! Which kind of test to write: decisions and paths belong to the tests of `authz`, document shapes to those of
//! `policies`; a test belongs here when it needs a handshake, a process or a signal to be true.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic, and not every test uses everything"
)]

mod ca_admin;
mod certificates;
mod client;
mod documents;
mod echo;
mod identity;
mod issuer;
mod mesh;
mod process;
mod tools;

pub use self::{
    ca_admin::CaAdmin,
    certificates::{Credentials, Forge, Forged},
    client::{Reply, RequestError, Transport, Version, get, get_as, request, send},
    echo::Echo,
    identity::Identity,
    issuer::Issuer,
    mesh::{Mesh, MeshSpec, Sidecar, WorkloadSpec},
    process::Process,
    tools::{curl, h2load, hey, openssl},
};

use std::time::Duration;

/// How long anything may take to happen; generous, because other builds may share the machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How often a condition that is waited for is looked at.
pub const GLANCE: Duration = Duration::from_millis(25);

/// Looks at a condition until it holds.
///
/// # Panics
/// With `what` if it does not hold in time.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(GLANCE).await;
    }
    panic!("waited {PATIENCE:?} in vain: {what}");
}
