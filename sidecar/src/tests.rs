//! Whole sidecars in this process, against real applications and clients on the loopback interface.

mod chaos;
mod dapr;
mod fixture;
mod inbound;
mod outbound;
mod settings;
mod streams;
mod tcp;
