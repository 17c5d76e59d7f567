//! RequestAuthentication on the wire: finds the token, gets the keys, verifies, and tells the application what it may know.
//!
//! A token costs a signature check once; afterwards it is known by its hash until it expires, its keys change or the
//! rules do. Keys come from the rules or are fetched in the background, and nobody is let in while there are none.

mod cache;
mod challenge;
mod error;
mod fetch;
mod metrics;
mod remote;
mod roots;
mod target;

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use authz::jwt::{Found, FoundAt, KeySource, Token, TokenError, TokenRules, VerifiedToken};
use http::header::{self, HeaderMap};
use http::{HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use prometheus::Registry;

use self::cache::{Accepted, Entry, Generation, Key, TokenCache};
pub use self::error::TokensError;
use self::fetch::Fetcher;
use self::metrics::TokenMetrics;
use self::remote::{KeyStore, Schedule};
use crate::config::JwksConfig;
use crate::local_reply::LocalReply;
use crate::policy_store::PolicyStore;

/// Verifies tokens for one process: its key sets and the tokens verified lately. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: KeyStore,
    cache: TokenCache,
    metrics: TokenMetrics,
    /// The rules that were seen last, and their number.
    rules: ArcSwap<(TokenRules, u64)>,
    renewing: Mutex<()>,
}

/// Without a configuration of its own, and without metrics that anybody sees.
impl Default for Tokens {
    fn default() -> Self {
        Self::with(Fetcher::default(), Schedule::default())
    }
}

/// What authentication sees of a request, and changes in it.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// The method; a CORS preflight is not asked for a token.
    pub method: &'a Method,
    /// `http` or `https`, for the realm of a challenge.
    pub scheme: &'a str,
    /// The authority, for the realm of a challenge.
    pub host: &'a str,
    /// The canonical path, for the realm of a challenge.
    pub path: &'a str,
    /// What follows the question mark; loses the token unless the rule forwards it.
    pub query: &'a mut Option<String>,
    /// The headers; lose what clients must not set and the token unless the rule forwards it, gain the claims that rules put out.
    pub headers: &'a mut HeaderMap,
}

impl Tokens {
    /// Makes the verifier of one process. Nothing is fetched before rules ask for it.
    ///
    /// # Errors
    /// `caFile` cannot be read, or the metrics are registered twice.
    pub fn new(config: &JwksConfig, registry: &Registry) -> Result<Self, TokensError> {
        let tokens = Self::with(Fetcher::new(config)?, Schedule::default());
        tokens.0.metrics.register(registry)?;
        Ok(tokens)
    }

    fn with(fetcher: Fetcher, schedule: Schedule) -> Self {
        let metrics = TokenMetrics::default();
        Self(Arc::new(Shared {
            keys: KeyStore::new(fetcher, schedule, metrics.clone()),
            cache: TokenCache::default(),
            metrics,
            rules: ArcSwap::default(),
            renewing: Mutex::default(),
        }))
    }

    /// Begins to fetch the keys that new rules need, and forgets those that no rule needs any more. Calling it when rules
    /// are put in force spares the first requests the wait; [`authenticate`](Self::authenticate) does it too.
    pub fn prepare(&self, rules: &TokenRules) {
        let _number = self.0.number(rules);
    }

    /// Prepares for the rules of each generation that comes into force, for as long as the process lives.
    pub fn follow(&self, store: &PolicyStore) {
        let (tokens, store) = (self.clone(), store.clone());
        tokio::spawn(async move {
            let mut moved = store.subscribe();
            loop {
                if let Some(snapshot) = store.snapshot() {
                    tokens.prepare(&snapshot.tokens);
                }
                if moved.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// The request's verified token; none if it brings none. A token that no rule accepts is a 401, or the 403 of a wrong audience.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub async fn authenticate(
        &self,
        rules: &TokenRules,
        request: TokenRequest<'_>,
    ) -> Result<Option<Arc<VerifiedToken>>, Box<LocalReply>> {
        if rules.is_empty() {
            return Ok(None);
        }
        // A client that names such a header wants to be taken for somebody.
        for header in rules.outputs() {
            request.headers.remove(header);
        }
        if is_preflight(request.method, request.headers) {
            return Ok(None);
        }
        let now = SystemTime::now();
        match self.accepted(rules, &request, now).await {
            Ok(None) => Ok(None),
            Ok(Some((accepted, places))) => {
                let TokenRequest { headers, query, .. } = request;
                if !accepted.forwards_token {
                    rules.remove(&places, headers, query);
                }
                for (name, value) in &accepted.outputs {
                    headers.insert(name.clone(), value.clone());
                }
                Ok(Some(Arc::clone(&accepted.token)))
            }
            Err(error) => {
                self.0.metrics.refused.inc();
                Err(Box::new(challenge::reply(error, &request)))
            }
        }
    }

    async fn accepted(
        &self,
        rules: &TokenRules,
        request: &TokenRequest<'_>,
        now: SystemTime,
    ) -> Result<Option<(Arc<Accepted>, FoundAt)>, TokenError> {
        let found = rules.find(request.headers, request.query.as_deref())?;
        let Some(Found { text, places }) = found else {
            return Ok(None);
        };
        let accepted = self.accept(rules, &places, &text, now).await?;
        Ok(Some((accepted, places)))
    }

    async fn accept(
        &self,
        rules: &TokenRules,
        places: &FoundAt,
        text: &str,
        now: SystemTime,
    ) -> Result<Arc<Accepted>, TokenError> {
        let shared = &self.0;
        let key = Key::of(shared.number(rules), places, text);
        if let Some(known) = shared.cache.get(&key, now) {
            shared.metrics.cache_hits.inc();
            return Ok(known);
        }
        shared.metrics.cache_misses.inc();
        let token = Token::parse(text)?;
        let dies_at = token.dies_at();
        let mut outcome = TokenError::UnknownIssuer;
        for rule in rules.looking_at(places) {
            if let Err(error) = rule.suits(&token, now) {
                outcome = outcome.or(error);
                continue;
            }
            let verified = match rule.keys() {
                KeySource::Inline(_, keys) => keys.verify(&token).map(|()| Generation::Fixed),
                KeySource::Fetched(at) => shared.keys.verify(at, &token).await,
            };
            match verified {
                Ok(generation) => {
                    let accepted = Arc::new(Accepted {
                        outputs: rule.outputs(&token),
                        forwards_token: rule.forwards_token(),
                        token: Arc::new(rule.accept(token)),
                    });
                    let entry = Entry {
                        key,
                        accepted: Arc::clone(&accepted),
                        generation,
                        dies_at,
                    };
                    shared.cache.put(entry, text.len(), now);
                    return Ok(accepted);
                }
                Err(error) => outcome = outcome.or(error),
            }
        }
        Err(outcome)
    }
}

impl Shared {
    /// A number that stands for rules: the same as long as they accept the same tokens.
    fn number(&self, rules: &TokenRules) -> u64 {
        let known = self.rules.load();
        if known.0 == *rules {
            return known.1;
        }
        drop(known);
        let _renewing = self.renewing.lock();
        let known = self.rules.load();
        if known.0 == *rules {
            return known.1;
        }
        let number = known.1 + 1;
        self.keys
            .keep(rules.rules().iter().filter_map(|rule| match rule.keys() {
                KeySource::Inline(..) => None,
                KeySource::Fetched(at) => Some(at),
            }));
        self.rules.store(Arc::new((rules.clone(), number)));
        number
    }
}

/// Whether a browser asks whether it may ask (Fetch standard, "CORS-preflight request"); it sends no credentials with that.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has = |name: HeaderName| headers.get(name).is_some_and(|value| !value.is_empty());
    *method == Method::OPTIONS && has(header::ORIGIN) && has(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// A header that rules set.
type Output = (HeaderName, HeaderValue);

#[cfg(test)]
mod tests;
