//! Policies as people write them, and what becomes of requests: golden tables by topic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_imports,
    reason = "a failed test is a panic, and every topic writes the same tables"
)]

mod actions;
mod callers;
mod conditions;
mod dry_run;
mod index;
mod operations;
mod order;
mod refused;
mod selection;
mod table;
mod tcp;
mod tokens;
