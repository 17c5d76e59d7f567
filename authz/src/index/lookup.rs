//! From what a request is to the shelves with the rules that may match it.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use http::HeaderName;

use super::{
    Form,
    candidate::{Candidate, Search},
    counts::Counts,
    names::{self, MAX_HOST_BYTES, Name},
    paths::{self, PathKey},
    shelf::{Shelf, Unsorted},
};
use crate::{
    facts::{Facts, HttpFacts},
    rule::Rule,
};

/// Rules under more places than this (names times paths) are found by their names alone.
const MOST_PLACES: usize = 1_024;

type Shelves<K> = HashMap<Box<K>, Shelf, FixedState>;
type Path = Box<[Box<str>]>;

/// Shelves by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookup {
    principals: Shelves<str>,
    accounts: Shelves<str>,
    namespaces: Shelves<str>,
    /// What stands in `accounts` and `namespaces`, for peers whose name has another shape than `/ns/<ns>/sa/<sa>`.
    odd_peers: Shelf,
    issuers: Shelves<str>,
    subjects: Shelves<str>,
    hosts: Shelves<[u8]>,
    headers: Box<[(HeaderName, Shelves<[u8]>)]>,
    claims: Box<[(Path, Shelves<str>)]>,
    /// Rules without a name.
    anybody: Shelf,
}

impl Lookup {
    pub(super) fn new(rules: &[Rule], form: Form) -> Self {
        let counts = Counts::new(rules, form);
        let mut places: HashMap<Name<'_>, Unsorted<'_>, FixedState> = HashMap::default();
        let mut anybody: Unsorted<'_> = Vec::new();
        let mut odd_peers: Unsorted<'_> = Vec::new();
        for (number, rule) in (0_u32..).zip(rules) {
            let candidate = Candidate::new(number, rule);
            let names = names::rarest(rule, form, &counts);
            let mut keys = match form {
                Form::Http => paths::keys(rule, &counts),
                Form::Tcp => vec![PathKey::Any],
            };
            if names
                .as_ref()
                .map_or(1, Vec::len)
                .saturating_mul(keys.len())
                > MOST_PLACES
            {
                keys = vec![PathKey::Any];
            }
            let entries = || keys.iter().map(|key| (*key, candidate));
            let Some(names) = names else {
                anybody.extend(entries());
                continue;
            };
            for name in names {
                if matches!(name, Name::Account(_) | Name::Namespace(_)) {
                    odd_peers.extend(entries());
                }
                places.entry(name).or_default().extend(entries());
            }
        }
        let mut lookup = Self {
            anybody: Shelf::new(anybody),
            odd_peers: Shelf::new(odd_peers),
            ..Self::default()
        };
        let mut headers: HashMap<&HeaderName, Shelves<[u8]>> = HashMap::new();
        let mut claims: HashMap<&[Box<str>], Shelves<str>> = HashMap::new();
        for (name, entries) in places {
            let shelf = Shelf::new(entries);
            match name {
                Name::Principal(name) => lookup.principals.insert(name.into(), shelf),
                Name::Account(name) => lookup.accounts.insert(name.into(), shelf),
                Name::Namespace(name) => lookup.namespaces.insert(name.into(), shelf),
                Name::Issuer(name) => lookup.issuers.insert(name.into(), shelf),
                Name::Subject(name) => lookup.subjects.insert(name.into(), shelf),
                Name::Host(name) => lookup.hosts.insert(name.into(), shelf),
                Name::Header(header, value) => {
                    let shelves = headers.entry(header).or_default();
                    shelves.insert(value.as_bytes().into(), shelf)
                }
                Name::Claim(path, value) => {
                    claims.entry(path).or_default().insert(value.into(), shelf)
                }
            };
        }
        lookup.headers = headers
            .into_iter()
            .map(|(name, shelves)| (name.clone(), shelves))
            .collect();
        lookup.claims = claims
            .into_iter()
            .map(|(path, shelves)| (path.into(), shelves))
            .collect();
        lookup
    }

    /// Searches every shelf under a name that the facts have.
    pub(super) fn visit(&self, facts: &Facts<'_>, search: &mut Search<'_, '_, '_>) {
        let mut shelf = |shelf: Option<&Shelf>| {
            if let Some(shelf) = shelf {
                shelf.search(facts, search);
            }
        };
        if let Some(peer) = facts.peer {
            shelf(self.principals.get(peer.principal()));
            match account(peer) {
                Some((namespace, account)) => {
                    shelf(self.accounts.get(account));
                    shelf(self.namespaces.get(namespace));
                }
                None => shelf(Some(&self.odd_peers)),
            }
        }
        if let Some(http) = &facts.http {
            self.of_request(http, &mut shelf);
        }
        shelf(Some(&self.anybody));
    }

    fn of_request<'s>(&'s self, http: &HttpFacts<'_>, shelf: &mut impl FnMut(Option<&'s Shelf>)) {
        if !self.hosts.is_empty() {
            let mut lower = [0_u8; MAX_HOST_BYTES];
            if let Some(lower) = lower.get_mut(..http.host.len()) {
                lower.copy_from_slice(http.host.as_bytes());
                lower.make_ascii_lowercase();
                shelf(self.hosts.get(&*lower));
            }
        }
        for (name, values) in &self.headers {
            for value in http.headers.get_all(name) {
                shelf(values.get(value.as_bytes()));
            }
        }
        let Some(claims) = http.claims else { return };
        if !self.issuers.is_empty() {
            shelf(claims.issuer().and_then(|issuer| self.issuers.get(issuer)));
        }
        if !self.subjects.is_empty() {
            shelf(
                claims
                    .subject()
                    .and_then(|subject| self.subjects.get(subject)),
            );
        }
        for (path, values) in &self.claims {
            claims.any(path.iter().map(|name| &**name), |text| {
                shelf(values.get(text));
                false
            });
        }
    }
}

/// Namespace, and `<namespace>/sa/<service account>`, of a peer about which fields of identity have no other reading.
fn account(peer: &identity::id::SpiffeId) -> Option<(&str, &str)> {
    let namespace = peer.namespace()?;
    // `ns/ns/…` and `…/ns/ns/…` hold `/ns/<namespace>/` in two ways.
    let plain = namespace != "ns" && peer.trust_domain() != "ns";
    let account = peer.path().strip_prefix("/ns/")?;
    plain.then_some((namespace, account))
}
