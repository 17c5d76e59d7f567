//! Test-only: what is fuzzed, as plain functions over bytes.
//!
//! Each [target](targets::ALL) takes any bytes and panics when a promise is broken. `tests/stable.rs` drives them with a
//! corpus and [seeded mutations](mutate) on stable Rust, as part of `make test` and longer in `make test-long`; the
//! manifest in `fuzz/` hands the same functions to cargo-fuzz where that is installed.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::format_push_string,
    reason = "a broken promise is a panic, and nothing here is shipped"
)]

mod choices;
pub mod mutate;
pub mod targets;
