//! The front door: HTTP and HTTPS listeners on Pingora's server core.

pub mod command;
pub mod config;

mod accept;
mod admin;
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
mod tidy;
mod tls;
mod tunnel;

pub use gateway::Gateway;
pub use session_body::SessionBody;

#[cfg(test)]
mod tests;
