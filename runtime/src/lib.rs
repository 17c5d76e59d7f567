//! How a process lives: strict configuration, document sources, the admin port, signals, drain and logs.
//!
//! A program reads its one configuration file ([`config`]), opens its state directory ([`state_dir`]), starts logging
//! ([`log`]), installs its signals ([`lifecycle`]), follows its documents ([`documents`]) and shows itself on the admin
//! port ([`admin`]). Shared state follows one rule: `ArcSwap` to read, `watch` to wait, atomics to count, one task to own.
//!
//! Nothing here knows policies, certificates or HTTP proxying: the crate is what the three programs have in common.

pub mod admin;
pub mod config;
pub mod documents;
pub mod duration;
pub mod escape;
pub mod health;
pub mod lifecycle;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod process;
pub mod published;
pub mod state_dir;
