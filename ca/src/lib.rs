//! Who signs: the workload certificate authority.
//!
//! The life of one certificate, and where each step is:
//!
//! 1. A connection is accepted, bounded in number and time, its client certificate verified if there is one: [`server::accept`].
//! 2. A call is answered or refused; a refusal tells the caller little and the log everything: [`server::calls`], [`refusal`].
//! 3. Who is asking proves something, a join token, an enrolment key or the current certificate: [`attest`], [`token`].
//! 4. The registry says which identity that entitles to; nothing is allowed unless an entry allows it: [`registry`], [`entries`].
//! 5. From the signing request only a public key is taken, after bounded checks: [`csr`].
//! 6. The leaf is signed from a fixed profile: [`issue`]; for the laptop's gateway, from another root: [`edge`].
//! 7. The record is made durable, together with the spent token; only then the answer leaves: [`issuance`], [`store`].
//!
//! [`authority`] is what signs and where its keys lie, [`bundle`] what workloads trust, [`program`] all of it together.
//!
//! Invariants: no name, usage or lifetime comes from a signing request. Private keys are not in the store. While a record
//! can't be made durable, nothing is signed out. A damaged store stops the start; it is never rebuilt.

pub mod attest;
pub mod authority;
pub mod bundle;
pub mod codes;
pub mod command;
pub mod config;
pub mod csr;
pub mod edge;
pub mod entries;
pub mod issuance;
pub mod issue;
pub mod limits;
pub mod metrics;
pub mod program;
pub mod refusal;
pub mod registry;
pub mod server;
pub mod store;
pub mod token;
