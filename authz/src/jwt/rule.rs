//! One `jwtRules` entry, compiled: which tokens it accepts, and what follows from that.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue};
use policies::document::JwtRule;

use super::{
    VerifiedToken,
    error::TokenError,
    keys::KeySet,
    output::{Output, Told},
    place::Place,
    token::{RegisteredClaims, Token},
};
use crate::claims::Claims;

/// How long fetching keys may take where a rule does not say (Istio).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A rule about tokens (Istio's `JWTRule`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRule {
    issuer: Option<Box<str>>,
    /// As [`comparable`] has them.
    audiences: Box<[Box<str>]>,
    keys: KeySource,
    /// Positions among the places of all rules, ascending.
    pub(super) places: Box<[usize]>,
    pub(super) outputs: Box<[Output]>,
    forwards: bool,
    space_delimited: Box<[String]>,
}

/// Where the keys of a rule come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// They stand in the rule; the text is kept to know the rule again.
    Inline(Box<str>, Arc<KeySet>),
    /// They are fetched.
    Fetched(KeysAt),
}

/// Where keys are fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeysAt {
    /// How they are found.
    pub found_by: FoundBy,
    /// How long fetching them may take (`timeout`).
    pub timeout: Duration,
}

/// How the keys of an issuer are found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FoundBy {
    /// At this URL (`jwksUri`).
    Uri(Box<str>),
    /// By OpenID Connect Discovery from this issuer.
    Discovery(Box<str>),
}

impl PartialEq for KeySource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(own, _), Self::Inline(other, _)) => own == other,
            (Self::Fetched(own), Self::Fetched(other)) => own == other,
            (Self::Inline(..), Self::Fetched(_)) | (Self::Fetched(_), Self::Inline(..)) => false,
        }
    }
}

impl Eq for KeySource {}

impl TokenRule {
    /// Compiles a rule; `places` are those of all rules, and grow.
    pub(super) fn compile(rule: &JwtRule, places: &mut Vec<Place>) -> Self {
        let mut own: Vec<usize> = places_of(rule)
            .into_iter()
            .map(|place| position(places, place))
            .collect();
        own.sort_unstable();
        own.dedup();
        let audiences = rule.audiences.iter();
        Self {
            issuer: rule.issuer.as_deref().map(|issuer| issuer.as_str().into()),
            audiences: audiences.map(|name| comparable(name).into()).collect(),
            keys: keys_of(rule),
            places: own.into(),
            outputs: outputs_of(rule).collect(),
            forwards: rule.forward_original_token,
            space_delimited: rule.space_delimited_claims.as_slice().into(),
        }
    }

    /// Where its keys come from.
    pub const fn keys(&self) -> &KeySource {
        &self.keys
    }

    /// The issuer whose tokens it is about; none is about every issuer's.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whether the application gets the token itself.
    pub const fn forwards_token(&self) -> bool {
        self.forwards
    }

    /// Whether issuer, times and audience of a token suit the rule; the signature is still to be verified.
    pub fn suits(&self, token: &Token<'_>, now: SystemTime) -> Result<(), TokenError> {
        self.suits_claims(&token.claims, now)
    }

    pub(super) fn suits_claims(
        &self,
        claims: &RegisteredClaims,
        now: SystemTime,
    ) -> Result<(), TokenError> {
        let own_issuer = self.issuer.is_none() || self.issuer == claims.issuer;
        if !own_issuer {
            return Err(TokenError::UnknownIssuer);
        }
        claims.hold_at(now)?;
        let named = |audience: &str| self.audiences.iter().any(|own| **own == *audience);
        let mut audiences = claims.audiences.iter();
        if !self.audiences.is_empty() && !audiences.any(|name| named(comparable(name))) {
            return Err(TokenError::AudienceNotAllowed);
        }
        Ok(())
    }

    /// What a token says, given that [`suits`](Self::suits) and [`KeySet::verify`] hold.
    pub fn accept(&self, token: Token<'_>) -> VerifiedToken {
        VerifiedToken {
            claims: Claims::new(token.payload.clone(), &self.space_delimited),
            payload: Arc::new(token.payload),
        }
    }

    /// What verified claims say to this rule's policies.
    pub(super) fn read(&self, payload: serde_json::Map<String, serde_json::Value>) -> Claims {
        Claims::new(payload, &self.space_delimited)
    }

    /// The headers that tell the application about a token.
    pub fn outputs(&self, token: &Token<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let outputs = self.outputs.iter();
        let told = outputs.filter_map(|output| Some((output.header.clone(), output.value(token)?)));
        told.collect()
    }
}

/// Audiences are compared without scheme and without a slash at the end, as Envoy does: `https://api.example.com/` and
/// `api.example.com` are one.
fn comparable(audience: &str) -> &str {
    let bare = audience
        .strip_prefix("https://")
        .or_else(|| audience.strip_prefix("http://"))
        .unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}

fn position(places: &mut Vec<Place>, place: Place) -> usize {
    if let Some(known) = places.iter().position(|known| *known == place) {
        return known;
    }
    places.push(place);
    places.len() - 1
}

/// Given places replace the default ones, all of them (Istio).
fn places_of(rule: &JwtRule) -> Vec<Place> {
    let headers = rule.from_headers.iter().filter_map(|header| {
        Some(Place::Header {
            name: header.name.parse().ok()?,
            prefix: header.prefix.as_str().into(),
        })
    });
    let text = |name: &policies::document::Spanned<String>| name.as_str().into();
    let parameters = rule.from_params.iter().map(text).map(Place::Parameter);
    let cookies = rule.from_cookies.iter().map(text).map(Place::Cookie);
    let given: Vec<Place> = headers.chain(parameters).chain(cookies).collect();
    if given.is_empty() {
        Place::defaults().into()
    } else {
        given
    }
}

fn keys_of(rule: &JwtRule) -> KeySource {
    if let Some(text) = &rule.jwks {
        // What holds no usable key verifies nothing; `check` warns about it.
        let keys = KeySet::parse(text.as_bytes()).unwrap_or_else(|_| KeySet::none());
        return KeySource::Inline(text.as_str().into(), Arc::new(keys));
    }
    let found_by = match (&rule.jwks_uri, &rule.issuer) {
        (Some(uri), _) => FoundBy::Uri(uri.as_str().into()),
        (None, issuer) => FoundBy::Discovery(issuer.as_deref().map_or("", |text| text).into()),
    };
    KeySource::Fetched(KeysAt {
        found_by,
        timeout: rule.timeout.unwrap_or(DEFAULT_TIMEOUT),
    })
}

fn outputs_of(rule: &JwtRule) -> impl Iterator<Item = Output> {
    let payload = rule.output_payload_to_header.iter();
    let payload = payload.map(|header| (header.as_str(), Told::Payload));
    let claims = rule.output_claim_to_headers.iter();
    let claims = claims.map(|output| {
        let claim = output.claim.as_str().into();
        (output.header.as_str(), Told::Claim(claim))
    });
    payload.chain(claims).filter_map(|(header, told)| {
        let header = header.parse().ok()?;
        Some(Output { header, told })
    })
}
