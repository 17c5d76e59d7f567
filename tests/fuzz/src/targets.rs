//! What is fuzzed. A target takes any bytes; it panics when a promise is broken.

mod authorization;
mod documents;
mod fixes;
mod names;
mod paths;
mod router;
mod tokens;

pub use authorization::authorization;
pub use documents::documents;
pub use fixes::fixes;
pub use names::{join_token, spiffe_id, trust_bundle};
pub use paths::paths;
pub use router::router;
pub use tokens::tokens;

/// What a target eats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Food {
    /// Policy documents.
    Yaml,
    /// Short texts of one line.
    Line,
    /// Decisions.
    Bytes,
}

/// One thing that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its directory in `corpus/`.
    pub name: &'static str,
    /// What its inputs look like.
    pub food: Food,
    /// How many mutations `make test` runs.
    pub rounds: u32,
    /// The function itself.
    pub run: fn(&[u8]),
}

/// Every target.
pub const ALL: &[Target] = &[
    Target {
        name: "documents",
        food: Food::Yaml,
        rounds: 6_000,
        run: documents,
    },
    Target {
        name: "fixes",
        food: Food::Yaml,
        rounds: 3_000,
        run: fixes,
    },
    Target {
        name: "router",
        food: Food::Bytes,
        rounds: 4_000,
        run: router,
    },
    Target {
        name: "authorization",
        food: Food::Bytes,
        rounds: 4_000,
        run: authorization,
    },
    Target {
        name: "paths",
        food: Food::Line,
        rounds: 100_000,
        run: paths,
    },
    Target {
        name: "tokens",
        food: Food::Line,
        rounds: 50_000,
        run: tokens,
    },
    Target {
        name: "spiffe_id",
        food: Food::Line,
        rounds: 100_000,
        run: spiffe_id,
    },
    Target {
        name: "join_token",
        food: Food::Line,
        rounds: 50_000,
        run: join_token,
    },
    Target {
        name: "trust_bundle",
        food: Food::Line,
        rounds: 5_000,
        run: trust_bundle,
    },
];
