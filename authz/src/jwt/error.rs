//! Why a token is not accepted, in Envoy's words: clients and dashboards know them.

use http::StatusCode;

use super::token::MAX_TOKEN_BYTES;

/// Why a token is not accepted. `Display` is the body of the answer, as Envoy's `jwt_verify_lib` words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Not three parts.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    Form,
    /// Larger than any honest token.
    #[error("Jwt is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// The request carries different tokens: which of them the application would trust is anybody's guess.
    #[error("Found multiple Jwt tokens")]
    Several,
    /// The first part is no base64url.
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderEncoding,
    /// The first part is no JSON object.
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    /// No `alg`.
    #[error("Jwt header [alg] field is required and must be a string")]
    HeaderAlgorithm,
    /// `none`, an algorithm with a shared secret, or one that is not known.
    #[error("Jwt header [alg] is not supported")]
    Algorithm,
    /// `kid` is no text.
    #[error("Jwt header [kid] field is not a string")]
    HeaderKeyId,
    /// `crit` names extensions, none of which is understood (RFC 7515 §4.1.11).
    #[error("Jwt header [crit] field is not supported")]
    HeaderCritical,
    /// The second part is no base64url.
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadEncoding,
    /// The second part is no JSON object.
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    /// A registered claim that has to be a text is none.
    #[error("Jwt payload [{0}] field is not a string")]
    ClaimNotText(&'static str),
    /// A registered claim that has to be a time is none (RFC 7519 §2, `NumericDate`).
    #[error("Jwt payload [{0}] field is not a positive 64 bit integer")]
    ClaimNotTime(&'static str),
    /// `aud` is neither a text nor a list of texts.
    #[error("Jwt payload [aud] field is not a string or string list")]
    Audiences,
    /// The third part is no base64url.
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureEncoding,
    /// No rule is about the token's issuer.
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    /// `nbf` is to come.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// `exp` has passed.
    #[error("Jwt is expired")]
    Expired,
    /// None of the rule's audiences is among the token's.
    #[error("Audiences in Jwt are not allowed")]
    AudienceNotAllowed,
    /// The keys could not be fetched, so nothing can be verified.
    #[error("Jwks remote fetch is failed")]
    KeysUnavailable,
    /// The key set holds no key that could verify anything.
    #[error("Jwks doesn't have any valid public key")]
    NoUsableKey,
    /// The key set has no key for the token's `kid` and `alg`.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoMatchingKey,
    /// The signature is not by any of the keys.
    #[error("Jwt verification fails")]
    Signature,
}

impl TokenError {
    /// 403 for a token that is good, but for somebody else; 401 for all others (Envoy's `jwt_authn`).
    pub const fn status(self) -> StatusCode {
        if matches!(self, Self::AudienceNotAllowed) {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::UNAUTHORIZED
        }
    }

    /// The access log's response code details, as Envoy has them: `jwt_authn_access_denied{Jwt_is_expired}`.
    pub fn details(self) -> String {
        let text = self.to_string().replace(' ', "_");
        format!("jwt_authn_access_denied{{{text}}}")
    }

    /// Of what two rules say about one token, what the client is told: a rule about another issuer knows least (Envoy's
    /// `AnyVerifier`).
    #[must_use]
    pub fn or(self, later: Self) -> Self {
        if later == Self::UnknownIssuer {
            self
        } else {
            later
        }
    }
}
