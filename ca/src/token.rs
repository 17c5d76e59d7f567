//! Join tokens as the authority sees them: made once, shown once, kept as a hash.

use std::time::{Duration, SystemTime};

use identity::join_token::JoinToken;

use crate::csr::sha256;
use crate::issue::unix;
use crate::store::{JoinTokenRecord, Store, StoreError};

/// The life of a token whose maker names none.
pub const DEFAULT_LIFE: Duration = Duration::from_mins(10);
/// The longest life of a token; a token is for a start that is about to happen.
pub const MAX_LIFE: Duration = Duration::from_hours(24);
/// The longest name of a token, in bytes.
const MAX_NAME_BYTES: usize = 253;

/// Why a join token could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The name can't stand in a selector.
    #[error("`{0}` is no name for a join token: 1 to 253 of a-z, A-Z, 0-9, `.`, `_`, `-` and `/`")]
    Name(String),
    /// The life is out of bounds.
    #[error("a join token lives 1 second to 24 hours, not {0} seconds")]
    Life(u64),
    /// No random numbers.
    #[error("the token could not be made")]
    Make(#[from] identity::join_token::JoinTokenError),
    /// The record could not be made durable.
    #[error("the token could not be recorded")]
    Store(#[from] StoreError),
}

/// A token that was just recorded.
#[derive(Debug)]
pub struct NewToken {
    /// The token, with its secret.
    pub token: JoinToken,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

/// Makes a token with evidence `join_token:<name>` that lives `ttl_seconds`, or ten minutes if that is 0.
///
/// It carries the hash of the bundle, by which the workload recognises the authority on first contact.
pub async fn create(
    store: &dyn Store,
    name: &str,
    ttl_seconds: u64,
    bundle_hash: [u8; 32],
    now: SystemTime,
) -> Result<NewToken, TokenError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        return Err(TokenError::Name(
            name.chars()
                .take(64)
                .flat_map(char::escape_default)
                .collect(),
        ));
    }
    let life = if ttl_seconds == 0 {
        DEFAULT_LIFE.as_secs()
    } else {
        ttl_seconds
    };
    if life > MAX_LIFE.as_secs() {
        return Err(TokenError::Life(life));
    }
    let token = JoinToken::generate(bundle_hash)?;
    let expires = unix(now) + life;
    let record = JoinTokenRecord {
        name: name.to_owned(),
        created: unix(now),
        expires,
        ..JoinTokenRecord::default()
    };
    store.record_token(sha256(token.secret()), record).await?;
    Ok(NewToken { token, expires })
}

/// Under what a token is recorded: the SHA-256 of its secret. `None` if it is no token.
///
/// The secret has 256 random bits, so a plain hash can't be reversed by guessing.
pub(crate) fn hash(text: &str) -> Option<[u8; 32]> {
    JoinToken::parse(text)
        .ok()
        .map(|token| sha256(token.secret()))
}
