//! RequestAuthentication: which tokens are accepted, compiled for one workload.
//!
//! Everything here is pure: a [`Token`] is found ([`TokenRules::find`]), taken apart, compared with the rules and verified with
//! keys that somebody else has ([`KeySet`]), at a time that is an argument. Fetching keys and remembering verified tokens is
//! the data plane's.

mod error;
mod keys;
mod output;
mod place;
mod rule;
mod token;

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderName};
use policies::{
    document::{Attachment, DocumentSet},
    mesh::Mesh,
    workload::Workload,
};
use serde_json::{Map, Value};

pub use self::{
    error::TokenError,
    keys::{KeySet, KeySetError, MAX_KEYS},
    rule::{FoundBy, KeySource, KeysAt, TokenRule},
    token::{CLOCK_SKEW, MAX_TOKEN_BYTES, Token},
};
use self::{place::Place, token::RegisteredClaims};
use crate::{attachment, claims::Claims};

/// Every RequestAuthentication that selects one workload, as one list of rules (Istio concatenates them). Cheap to clone;
/// two are equal if they accept the same tokens.
#[derive(Debug, Clone, Default)]
pub struct TokenRules(Arc<Compiled>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Compiled {
    /// Sorted by issuer, as Istio has them; rules of one issuer in the order of the documents.
    rules: Box<[TokenRule]>,
    /// Every place that some rule looks at.
    places: Box<[Place]>,
    /// Every header that some rule sets.
    outputs: Box<[HeaderName]>,
}

impl PartialEq for TokenRules {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for TokenRules {}

/// A token whose signature, issuer, audience and times hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// What it says, as rules look at it.
    pub claims: Claims,
    /// Its payload as it was signed.
    pub payload: Arc<Map<String, Value>>,
}

/// The one token of a request, and where it stands.
#[derive(Debug)]
pub struct Found<'a> {
    /// The token, not looked into.
    pub text: Cow<'a, str>,
    /// Where it was found.
    pub places: FoundAt,
}

/// Where a token was found: positions among the places of the rules, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FoundAt(Vec<usize>);

impl FoundAt {
    /// The positions.
    pub fn positions(&self) -> &[usize] {
        &self.0
    }
}

impl TokenRules {
    /// Compiles the RequestAuthentications that select the workload: those of the root namespace and of its own.
    pub fn compile(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Self {
        let mut places = Vec::new();
        let mut rules: Vec<TokenRule> = documents
            .request_authentications
            .iter()
            .filter(|document| {
                let Attachment {
                    selector,
                    target_refs,
                } = &document.attachment;
                let selector = selector.as_ref();
                attachment::holds_for(&document.meta, selector, target_refs, workload, mesh)
            })
            .flat_map(|document| &document.jwt_rules)
            .map(|rule| TokenRule::compile(rule, &mut places))
            .collect();
        rules.sort_by(|a, b| a.issuer().cmp(&b.issuer()));
        let mut outputs: Vec<HeaderName> = Vec::new();
        for output in rules.iter().flat_map(|rule| &rule.outputs) {
            if !outputs.contains(&output.header) {
                outputs.push(output.header.clone());
            }
        }
        Self(Arc::new(Compiled {
            rules: rules.into(),
            places: places.into(),
            outputs: outputs.into(),
        }))
    }

    /// Whether no token is asked for: then tokens are not looked at.
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }

    /// The rules, sorted by issuer.
    pub fn rules(&self) -> &[TokenRule] {
        &self.0.rules
    }

    /// The rules that look at one of the places where a token was found, in order.
    pub fn looking_at<'a>(&'a self, found: &'a FoundAt) -> impl Iterator<Item = &'a TokenRule> {
        let looks = |rule: &&TokenRule| rule.places.iter().any(|place| found.0.contains(place));
        self.0.rules.iter().filter(looks)
    }

    /// The headers that rules set from claims. What a client sends under these names is never passed on.
    pub fn outputs(&self) -> &[HeaderName] {
        &self.0.outputs
    }

    /// The token of a request, wherever the rules look for one; none if it brings none.
    ///
    /// # Errors
    /// [`TokenError::Several`] if it brings different ones: an application might trust the one that nobody verified.
    pub fn find<'a>(
        &self,
        headers: &'a HeaderMap,
        query: Option<&'a str>,
    ) -> Result<Option<Found<'a>>, TokenError> {
        let mut first: Option<Found<'a>> = None;
        for (position, place) in self.0.places.iter().enumerate() {
            place.tokens(headers, query, |text| match &mut first {
                Some(known) if known.text != text => Err(TokenError::Several),
                Some(known) => {
                    if known.places.0.last() != Some(&position) {
                        known.places.0.push(position);
                    }
                    Ok(())
                }
                None => {
                    let places = FoundAt(vec![position]);
                    first = Some(Found { text, places });
                    Ok(())
                }
            })?;
        }
        Ok(first)
    }

    /// Takes a token out of a request, wherever it was found.
    pub fn remove(&self, found: &FoundAt, headers: &mut HeaderMap, query: &mut Option<String>) {
        let places = found.0.iter();
        for place in places.filter_map(|position| self.0.places.get(*position)) {
            place.clear(headers, query);
        }
    }

    /// Whether some rule accepts a payload whose signature is known to hold, as in a policy test: its issuer, its times and
    /// its audience. Without any rule nobody looks at tokens, and claims are taken as they are.
    pub fn accepts(
        &self,
        payload: &Map<String, Value>,
        now: SystemTime,
    ) -> Result<Claims, TokenError> {
        if self.is_empty() {
            return Ok(Claims::new(payload.clone(), &[]));
        }
        let registered = RegisteredClaims::read(payload)?;
        let mut outcome = TokenError::UnknownIssuer;
        for rule in self.rules() {
            match rule.suits_claims(&registered, now) {
                Ok(()) => return Ok(rule.read(payload.clone())),
                Err(error) => outcome = outcome.or(error),
            }
        }
        Err(outcome)
    }
}

#[cfg(test)]
mod tests;
