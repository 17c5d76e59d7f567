//! By which value requests are counted together.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::LimitFacts;
use super::matching::Headers;
use super::path_template::PathTemplate;
use crate::document::CompiledRegexes;
use crate::document::rate_limit::{KeySource, LimitKey};
use crate::route::ClaimPath;

/// The longest address with its prefix length, in bytes.
const LONGEST_ADDRESS: usize = 49;

/// One of `by`, compiled.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// What a rate limit service calls it.
    pub(super) name: Box<str>,
    source: Source,
    equals: Option<Box<str>>,
}

#[derive(Clone, Debug)]
enum Source {
    Header {
        name: Box<str>,
        count_if_missing: bool,
    },
    Address {
        v4: u8,
        v6: u8,
    },
    Principal,
    Claim(ClaimPath),
    Path,
    Templates(Box<[PathTemplate]>),
    Method,
    Host,
    Route,
    Query(Box<str>),
    Constant(Box<str>),
    Headers {
        value: Box<str>,
        expect: bool,
        headers: Headers,
    },
}

impl Key {
    pub(super) fn new(key: &LimitKey, regexes: &CompiledRegexes) -> Self {
        let source = match &key.source {
            KeySource::Header {
                name,
                count_if_missing,
            } => Source::Header {
                name: name.as_str().into(),
                count_if_missing: *count_if_missing,
            },
            KeySource::RemoteAddress {
                prefix_v4,
                prefix_v6,
            } => Source::Address {
                v4: *prefix_v4,
                v6: *prefix_v6,
            },
            KeySource::Principal => Source::Principal,
            // Read already; a claim that is none is nobody's.
            KeySource::Claim(name) => match ClaimPath::named(name) {
                Some(claim) => Source::Claim(claim),
                None => Source::Templates(Box::default()),
            },
            KeySource::Path => Source::Path,
            KeySource::PathTemplates(templates) => Source::Templates(templates.as_slice().into()),
            KeySource::Method => Source::Method,
            KeySource::Host => Source::Host,
            KeySource::Route => Source::Route,
            KeySource::QueryParameter(name) => Source::Query(name.as_str().into()),
            KeySource::Constant(value) => Source::Constant(value.as_str().into()),
            KeySource::Headers {
                value,
                expect,
                headers,
            } => Source::Headers {
                value: value.as_str().into(),
                expect: *expect,
                headers: Headers::new(
                    headers.iter().map(|(name, found)| (name.as_str(), found)),
                    regexes,
                ),
            },
        };
        Self {
            name: key.key.as_str().into(),
            source,
            equals: key.equals.as_deref().map(Box::from),
        }
    }

    /// Whether every request has the same value.
    pub(super) const fn is_constant(&self) -> bool {
        matches!(self.source, Source::Constant(_) | Source::Headers { .. }) || self.equals.is_some()
    }

    /// Shows `with` the request's value, if it has the one that is wanted; otherwise the request is not counted.
    pub(super) fn value(&self, facts: &LimitFacts<'_>, mut with: impl FnMut(&[u8])) -> bool {
        let mut counted = false;
        let mut see = |value: &[u8]| {
            if self
                .equals
                .as_ref()
                .is_none_or(|wanted| wanted.as_bytes() == value)
            {
                counted = true;
                with(value);
            }
        };
        let mut text = [0; LONGEST_ADDRESS];
        let found = match &self.source {
            Source::Header {
                name,
                count_if_missing,
            } => facts
                .header(name)
                .or_else(|| count_if_missing.then_some(&b""[..])),
            Source::Address { v4, v6 } => Some(address(facts.client, (*v4, *v6), &mut text)),
            Source::Principal => facts.principal.map(str::as_bytes),
            Source::Claim(claim) => {
                claim.first(facts.request.claims, |text| see(text.as_bytes()));
                None
            }
            Source::Path => Some(facts.request.path.as_bytes()),
            Source::Templates(templates) => {
                let mut fitting = templates.iter();
                let fits = fitting.find(|template| template.matches(facts.request.path));
                fits.map(|template| template.as_str().as_bytes())
            }
            Source::Method => Some(facts.request.method.as_bytes()),
            Source::Host => Some(facts.host().as_bytes()),
            Source::Route => facts.route.map(str::as_bytes),
            Source::Query(name) => {
                crate::route::query_value(facts.request.query, name).map(str::as_bytes)
            }
            Source::Constant(value) => Some(value.as_bytes()),
            Source::Headers {
                value,
                expect,
                headers,
            } => (headers.match_all(facts) == *expect).then_some(value.as_bytes()),
        };
        if let Some(value) = found {
            see(value);
        }
        counted
    }
}

/// The address, or the block that it is in, as a text in `buffer`.
fn address(client: IpAddr, (v4, v6): (u8, u8), buffer: &mut [u8; LONGEST_ADDRESS]) -> &[u8] {
    let mut rest = &mut buffer[..];
    let room = rest.len();
    // INVARIANT: the longest address fits; were it cut, its beginning is counted.
    drop(match client.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
            let block = Ipv4Addr::from_bits(address.to_bits() & mask);
            match v4 {
                32 => write!(rest, "{block}"),
                length => write!(rest, "{block}/{length}"),
            }
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6)).unwrap_or(0);
            let block = Ipv6Addr::from_bits(address.to_bits() & mask);
            match v6 {
                128 => write!(rest, "{block}"),
                length => write!(rest, "{block}/{length}"),
            }
        }
    });
    let used = room - rest.len();
    buffer.get(..used).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_blocks() {
        for (client, lengths, text) in [
            ("203.0.113.9", (32, 128), "203.0.113.9"),
            ("203.0.113.9", (24, 128), "203.0.113.0/24"),
            ("203.0.113.9", (0, 128), "0.0.0.0/0"),
            ("::ffff:203.0.113.9", (32, 64), "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", (32, 64), "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3:4:5:6", (32, 128), "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", (32, 0), "::/0"),
        ] {
            let mut buffer = [0; LONGEST_ADDRESS];
            let shown = address(client.parse().unwrap(), lengths, &mut buffer);
            assert_eq!(std::str::from_utf8(shown).unwrap(), text);
        }
    }
}
