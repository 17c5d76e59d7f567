//! The front door: HTTP and HTTPS listeners on Pingora's server core.
//!
//! # The life of a request
//! `accept` takes a connection and has `tls` perform the handshake, or `detect` tell HTTP/1 from HTTP/2; `h1` and
//! `h2` drive Pingora's sessions over a `stream` that keeps the client's deadlines. `request` then takes each request
//! through its phases: accept (`session`), tidy (`request_head`, `tidy`), admit (`admission`), route, forward (`forward`,
//! `relay`, `tunnel`) or answer (`answer`), and log (`record`).
//!
//! # The life of the process
//! `command` installs the cryptography, reads `config` and starts Pingora's server with the one service of `server`,
//! which waits for an identity, policies and `certificates`, opens the listeners, and drains when it is told to.

pub mod command;
pub mod config;

mod accept;
mod admin;
mod admission;
mod answer;
mod certificates;
mod connection;
mod credentials;
mod detect;
mod drain;
mod edge;
mod exchange;
mod forward;
mod gateway;
mod h1;
mod h2;
mod labels;
mod pace;
mod record;
mod relay;
mod request;
mod request_head;
mod response;
mod server;
mod session;
mod session_body;
mod status;
mod stream;
mod tcp;
mod tidy;
mod tls;
mod tunnel;

pub use gateway::{EdgeRules, Gateway, RequestBody};
pub use session_body::SessionBody;

#[cfg(test)]
mod tests;
