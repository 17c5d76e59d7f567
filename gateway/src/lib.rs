//! The front door: HTTP and HTTPS listeners on Pingora's server core.

pub mod command;

pub mod config;

mod accept;
mod connection;
mod credentials;
mod detect;
mod drain;
mod h1;
mod h2;
mod pace;
mod relay;
mod request_head;
mod response;
mod session_body;
mod stream;
mod tidy;
mod tls;
mod tunnel;
