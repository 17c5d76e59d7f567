//! Which workloads run, and where: the registry of a mesh on one machine.
//!
//! A sidecar opens a stream and says what its workload is; it stays in the mesh for as long as the stream lasts and signs of
//! life come. Every proxy watches. [`book`] is what is known and by which rules, without I/O or a clock; `server` is gRPC
//! over mutual TLS around it, and `process` the program.
//!
//! *Invariant:* a workload speaks for its own identity only: the service account and namespace of an instance are those of
//! the certificate that the stream came with, and no instance is taken over from another identity that lives.

pub mod book;
pub mod command;
mod config;
mod pages;
mod process;
mod server;
