//! The one-use secret a new workload enrols with; it also names the bundle to trust on first contact.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const PREFIX: &str = "pcjt1";

/// Why a text is not a join token. The text itself is not repeated: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinTokenError {
    /// Not three parts that begin with `pcjt1`.
    #[error("expected a join token `pcjt1.<secret>.<bundle hash>`")]
    Shape,
    /// A part that is not 32 bytes in base64url.
    #[error("the {part} of the join token is not 32 bytes in base64url without padding")]
    Part {
        /// Which part.
        part: &'static str,
    },
    /// The random generator failed.
    #[error("no randomness to be had")]
    Random,
}

/// A join token. `Debug` masks it; memory is wiped on drop.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct JoinToken {
    secret: [u8; 32],
    #[zeroize(skip)]
    bundle_hash: [u8; 32],
}

impl JoinToken {
    /// Makes a token with a random secret, for the CA.
    pub fn generate(bundle_hash: [u8; 32]) -> Result<Self, JoinTokenError> {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| JoinTokenError::Random)?;
        Ok(Self {
            secret,
            bundle_hash,
        })
    }

    /// Reads `pcjt1.<secret>.<bundle hash>`; white space around it is ignored, as files end in a newline.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        let mut parts = text.trim().split('.');
        let (Some(PREFIX), Some(secret), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JoinTokenError::Shape);
        };
        Ok(Self {
            secret: decode(secret, "secret")?,
            bundle_hash: decode(hash, "bundle hash")?,
        })
    }

    /// The secret.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// [`TrustBundle::hash`](crate::bundle::TrustBundle::hash) of the bundle to trust.
    pub fn bundle_hash(&self) -> &[u8; 32] {
        &self.bundle_hash
    }

    /// The text form, for the wire or the one person it is shown to.
    pub fn expose(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret));
        let hash = URL_SAFE_NO_PAD.encode(self.bundle_hash);
        Zeroizing::new(format!("{PREFIX}.{}.{hash}", *secret))
    }
}

fn decode(text: &str, part: &'static str) -> Result<[u8; 32], JoinTokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map(Zeroizing::new)
        .map_err(|_| JoinTokenError::Part { part })?;
    <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| JoinTokenError::Part { part })
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(masked)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_mask() {
        let token = JoinToken::generate([7; 32]).unwrap();
        let text = token.expose();
        assert_eq!(JoinToken::parse(&format!(" {}\n", *text)).unwrap(), token);
        assert_eq!(format!("{token:?}"), "JoinToken(masked)");
    }

    #[test]
    fn malformed_tokens() {
        let good = JoinToken::generate([7; 32]).unwrap().expose();
        let (head, _) = good.rsplit_once('.').unwrap();
        for text in ["", "pcjt1", head, "pcjt2.a.b", &format!("{}.x", *good)] {
            assert_eq!(JoinToken::parse(text), Err(JoinTokenError::Shape));
        }
        let part = |part| Err(JoinTokenError::Part { part });
        assert_eq!(
            JoinToken::parse(&format!("{head}.AAAA")),
            part("bundle hash")
        );
        assert_eq!(
            JoinToken::parse(&format!("{}=", *good)),
            part("bundle hash")
        );
        assert_eq!(JoinToken::parse("pcjt1.!.x"), part("secret"));
    }
}
