//! JSON Schema of every kind, for editors: what the decoders themselves ask for when they run over nothing.
//!
//! Draft 7, because it is the newest that the YAML language server (VS Code, Neovim, Helix …) validates by; of later drafts it
//! only skips what it does not know. A schema accepts whatever the loader accepts. The loader refuses more: it also looks at
//! what a value means and at other documents.

mod bundle;
mod docs;
mod shape;
mod write;

pub use bundle::{all, of};
pub use docs::Docs;
pub(crate) use shape::{Shape, TextFormat};
