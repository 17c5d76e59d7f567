//! A set of public keys, and the question whether one of them signed a token.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

use super::{error::TokenError, token::Token};

/// The most keys of a set that are looked at; a token without `kid` may have to be tried with each.
pub const MAX_KEYS: usize = 64;

/// A JSON Web Key Set (RFC 7517 §5): the keys in it that can verify signatures of tokens.
#[derive(Clone)]
pub struct KeySet {
    keys: Box<[Key]>,
    unusable: usize,
}

/// One public key.
#[derive(Clone)]
struct Key {
    id: Option<Box<str>>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    kind: Kind,
    public: DecodingKey,
}

/// What a key can do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why a text is no set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// No JSON.
    #[error("it is no JSON: {0}")]
    Json(String),
    /// No list of keys.
    #[error("it has no list `keys`")]
    NoKeys,
    /// Too many.
    #[error("it has {0} keys, more than {MAX_KEYS}")]
    TooMany(usize),
    /// Nothing to verify with.
    #[error(
        "none of its {0} keys can verify a token: needed is RSA, EC with P-256 or P-384, or OKP with Ed25519, for signatures"
    )]
    NoUsableKey(usize),
}

impl KeySet {
    /// Reads a set. Keys for encryption, shared secrets, and kinds that are not known are left out; a set in which no
    /// key is left is an error.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let set: Value =
            serde_json::from_slice(text).map_err(|error| KeySetError::Json(error.to_string()))?;
        let found = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::NoKeys)?;
        if found.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(found.len()));
        }
        let keys: Box<[Key]> = found.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(found.len()));
        }
        Ok(Self {
            unusable: found.len() - keys.len(),
            keys,
        })
    }

    /// A set that verifies nothing: what could not be read.
    pub(super) fn none() -> Self {
        Self {
            keys: Box::default(),
            unusable: 0,
        }
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it verifies nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were left out.
    pub const fn unusable(&self) -> usize {
        self.unusable
    }

    /// Whether some key may have signed the token, as far as `kid` and `alg` say. If none may, newer keys may be worth a
    /// look.
    pub fn may_verify(&self, token: &Token<'_>) -> bool {
        self.keys.iter().any(|key| key.fits(token))
    }

    /// Whether one of the keys signed the token.
    pub fn verify(&self, token: &Token<'_>) -> Result<(), TokenError> {
        if self.keys.is_empty() {
            return Err(TokenError::NoUsableKey);
        }
        let mut outcome = TokenError::NoMatchingKey;
        for key in self.keys.iter().filter(|key| key.fits(token)) {
            let signed = token.signed.as_bytes();
            let (signature, algorithm) = (token.signature, token.algorithm);
            if jsonwebtoken::crypto::verify(signature, signed, &key.public, algorithm) == Ok(true) {
                return Ok(());
            }
            outcome = TokenError::Signature;
        }
        Err(outcome)
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.keys.iter().map(|key| key.id.as_deref());
        f.debug_list().entries(ids).finish()
    }
}

impl Key {
    /// One JWK, if it is a public key for signatures that is known here.
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde::Deserialize::deserialize(value).ok()?;
        let common = &jwk.common;
        let for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let may_verify = common
            .key_operations
            .as_ref()
            .is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !for_signatures || !may_verify {
            return None;
        }
        let kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Kind::Rsa,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                Kind::P256
            }
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
                Kind::P384
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                Kind::Ed25519
            }
            // Other curves, shared secrets, and what this version does not know.
            AlgorithmParameters::EllipticCurve(_)
            | AlgorithmParameters::OctetKeyPair(_)
            | AlgorithmParameters::OctetKey(_)
            | AlgorithmParameters::Other(_)
            | _ => return None,
        };
        let algorithm = match common.key_algorithm {
            None => None,
            // A key for an algorithm that is not known is not for any of the others.
            Some(named) => Some(Algorithm::try_from(named).ok()?),
        };
        Some(Self {
            id: common.key_id.as_deref().map(Box::from),
            algorithm,
            kind,
            public: DecodingKey::from_jwk(&jwk).ok()?,
        })
    }

    fn fits(&self, token: &Token<'_>) -> bool {
        let same_id = match (self.id.as_deref(), token.key_id()) {
            (Some(own), Some(named)) => own == named,
            (None, _) | (_, None) => true,
        };
        same_id
            && self.kind.makes(token.algorithm)
            && self.algorithm.is_none_or(|own| own == token.algorithm)
    }
}

impl Kind {
    fn makes(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa => algorithm.family() == AlgorithmFamily::Rsa,
            Self::P256 => algorithm == Algorithm::ES256,
            Self::P384 => algorithm == Algorithm::ES384,
            Self::Ed25519 => algorithm == Algorithm::EdDSA,
        }
    }
}
