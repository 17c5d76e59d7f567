//! The slim mTLS proxy beside a workload: hyper and rustls on both sides, no Pingora, no signing code.
//!
//! # The life of an inbound request
//! `accept` takes the connection, `inbound` ends mTLS as PeerAuthentication wants it and keeps who the peer is;
//! per request one snapshot is loaded, `tidy` gives the request one canonical form, the policies decide on exactly
//! that form, `chaos` has its turn where that is allowed, and it goes to the application. `answer` carries the response back and writes the account of it.
//!
//! # The life of an outbound request
//! The application speaks plain HTTP to `outbound`, by Host or as to a proxy. Host and route choose a cluster,
//! `dataplane` an endpoint, and the endpoint must prove its identity before it sees a byte of the request.
//!
//! A port that speaks no HTTP has its own way, `tcp`: the same proof and the same policies, then bytes.
//!
//! *Invariant:* nothing is served without a good policy generation; nothing is sent to a peer of the mesh without one.

mod accept;
mod activity;
mod admission;
mod answer;
mod chaos;
pub mod command;
mod config;
mod dapr;
mod discovery;
mod exchange;
mod http;
mod inbound;
mod limits;
mod outbound;
mod probe;
mod process;
mod proxy;
mod registration;
mod status;
mod tcp;
mod tidy;
mod tunnel;

#[cfg(test)]
mod tests;
