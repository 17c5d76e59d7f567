//! Istio's `LoadBalancerSettings`: which endpoint gets a request.

use std::time::Duration;

use super::{LocalityLoadBalancing, ZoneAwareLoadBalancing};
use crate::decode::{Cursor, Decode, DurationOrZero, Fields, HeaderNameText, NonEmpty};
use crate::diagnostic::codes;

/// Istio's `LoadBalancerSettings`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadBalancer {
    /// `simple` or `consistentHash`.
    pub policy: LoadBalancerPolicy,
    /// `localityLbSetting`: which endpoints come first, by where they are.
    pub locality: Option<Box<LocalityLoadBalancing>>,
    /// `zoneAwareLbSetting`; not in force.
    pub zone_aware: Option<Box<ZoneAwareLoadBalancing>>,
    /// `warmup`, and the deprecated `warmupDurationSecs`.
    pub warmup: Option<Warmup>,
}

/// The rule that picks an endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LoadBalancerPolicy {
    /// Neither field is given.
    #[default]
    Unset,
    /// `simple`.
    Simple(SimpleLoadBalancer),
    /// `consistentHash`.
    ConsistentHash(Box<ConsistentHash>),
}

/// `loadBalancer.simple`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimpleLoadBalancer {
    /// `ROUND_ROBIN`.
    RoundRobin,
    /// `LEAST_REQUEST`, and its old name `LEAST_CONN`.
    LeastRequest,
    /// `RANDOM`.
    Random,
    /// `PASSTHROUGH`: the address that the client dialled. Refused: nobody captures connections.
    Passthrough,
    /// `UNSPECIFIED`: the proxy's default, here round robin.
    Unspecified,
}

/// Istio's `ConsistentHashLB`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsistentHash {
    /// What is hashed; none is not defined by Istio.
    pub key: Option<HashKey>,
    /// How it is hashed.
    pub algorithm: HashAlgorithm,
}

/// What a consistent hash is about.
#[derive(Clone, Debug, PartialEq)]
pub enum HashKey {
    /// `httpHeaderName`.
    Header(String),
    /// `httpCookie`.
    Cookie(HashCookie),
    /// `useSourceIp: true`.
    SourceIp,
    /// `httpQueryParameterName`.
    QueryParameter(String),
}

/// Istio's `HTTPCookie`.
#[derive(Clone, Debug, PartialEq)]
pub struct HashCookie {
    /// `name`.
    pub name: String,
    /// `path`.
    pub path: Option<String>,
    /// `ttl`: if given, the cookie is made when it is missing; 0 is a session cookie.
    pub ttl: Option<Duration>,
    /// `attributes` of a cookie that is made.
    pub attributes: Vec<CookieAttribute>,
}

/// One more attribute of a cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttribute {
    /// `name`.
    pub name: String,
    /// `value`.
    pub value: Option<String>,
}

/// How a consistent hash finds its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// `ringHash`, the default.
    Ring {
        /// `minimumRingSize`; 1024 if not given.
        minimum_size: u64,
    },
    /// `maglev`.
    Maglev {
        /// `tableSize`: a prime below 5000011.
        table_size: u64,
    },
}

impl Default for HashAlgorithm {
    fn default() -> Self {
        Self::Ring { minimum_size: 1024 }
    }
}

/// Istio's `WarmupConfiguration`: endpoints that have just come get fewer requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup {
    /// `duration`.
    pub duration: Duration,
    /// `minimumPercent` of the weight at the start, 0 to 100; 10 if not given.
    pub minimum_percent: f64,
    /// `aggression` of the rise, at least 1; 1 (linear) if not given.
    pub aggression: f64,
}

impl Warmup {
    /// A warm-up with Istio's defaults.
    fn lasting(duration: Duration) -> Self {
        Self {
            duration,
            minimum_percent: 10.0,
            aggression: 1.0,
        }
    }
}

/// Envoy's largest ring.
const LARGEST_RING: u64 = 8 << 20;

impl Decode for LoadBalancer {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let simple = read_simple(f);
            let hash = f.optional("consistentHash");
            f.exclusive(&["simple", "consistentHash"]);
            let locality = f.optional("localityLbSetting");
            let zone_aware = f.later(
                "zoneAwareLbSetting",
                codes::LOCALITY_NOT_IN_FORCE,
                "zones are looked at as `localityLbSetting` says",
            );
            let warmup = f.optional("warmup");
            let old = warmup_of_old(f);
            let policy = match (simple, hash) {
                (Some(simple), _) => LoadBalancerPolicy::Simple(simple),
                (None, Some(hash)) => LoadBalancerPolicy::ConsistentHash(hash),
                (None, None) => LoadBalancerPolicy::Unset,
            };
            Some(Self {
                policy,
                locality,
                zone_aware,
                warmup: warmup.or_else(|| old.map(Warmup::lasting)),
            })
        })
    }
}

fn warmup_of_old(f: &mut Fields<'_>) -> Option<Duration> {
    let beside = f.has("warmup");
    let cursor = f.get("warmupDurationSecs")?;
    let text = cursor.text().unwrap_or_default();
    let newer = format!("warmup: {{duration: {text}}}");
    cursor.deprecated_shape("warmupDurationSecs", "warmup", Some(&newer), beside);
    Duration::decode(&cursor)
}

/// Reads `simple`; the address that a client dialled is known only where its connections are captured.
fn read_simple(f: &mut Fields<'_>) -> Option<SimpleLoadBalancer> {
    let cursor = f.get("simple")?;
    let simple = SimpleLoadBalancer::decode(&cursor)?;
    if simple == SimpleLoadBalancer::Passthrough {
        let message = "the load balancer PASSTHROUGH needs the address that the client dialled, which is known only where \
                       connections are captured transparently; that is not in force yet";
        let help = "declare the endpoints in a ServiceEntry and choose another balancer";
        cursor.error(
            codes::LOAD_BALANCER_NOT_IN_FORCE,
            message,
            Some(help.to_owned()),
        );
    }
    Some(simple)
}

impl Decode for SimpleLoadBalancer {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let found = cursor.one_of(&[
            ("ROUND_ROBIN", Self::RoundRobin),
            ("LEAST_REQUEST", Self::LeastRequest),
            ("LEAST_CONN", Self::LeastRequest),
            ("RANDOM", Self::Random),
            ("PASSTHROUGH", Self::Passthrough),
            ("UNSPECIFIED", Self::Unspecified),
        ])?;
        if cursor.text() == Some("LEAST_CONN") {
            cursor.deprecated_value("LEAST_CONN", "LEAST_REQUEST");
        }
        Some(found)
    }
}

impl Decode for ConsistentHash {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = |f: &mut Fields<'_>, field| {
                let NonEmpty(name) = f.optional(field)?;
                Some(name)
            };
            let header = f
                .optional("httpHeaderName")
                .map(|HeaderNameText(name)| HashKey::Header(name));
            let cookie = f.optional("httpCookie").map(HashKey::Cookie);
            let source: bool = f.or_default("useSourceIp");
            let query = name(f, "httpQueryParameterName").map(HashKey::QueryParameter);
            let ring = f.optional("ringHash").map(|RingHash(algorithm)| algorithm);
            let maglev = f.optional("maglev").map(|Maglev(algorithm)| algorithm);
            let old = ring_of_old(f);
            f.exclusive(&[
                "httpHeaderName",
                "httpCookie",
                "useSourceIp",
                "httpQueryParameterName",
            ]);
            f.exclusive(&["ringHash", "maglev"]);
            if old.is_some() {
                for field in ["ringHash", "maglev"] {
                    f.exclusive(&["minimumRingSize", field]);
                }
            }
            let old = old.map(|minimum_size| HashAlgorithm::Ring { minimum_size });
            Some(Self {
                key: header
                    .or(cookie)
                    .or_else(|| source.then_some(HashKey::SourceIp))
                    .or(query),
                algorithm: ring.or(maglev).or(old).unwrap_or_default(),
            })
        })
    }
}

fn check_ring(f: &Fields<'_>, size: u64) {
    if size > LARGEST_RING {
        let message = format!("{size} is larger than the largest ring, {LARGEST_RING}");
        f.error_at("minimumRingSize", codes::INVALID_VALUE, message, None);
    }
}

/// `minimumRingSize`, from before there was a choice of algorithms.
fn ring_of_old(f: &mut Fields<'_>) -> Option<u64> {
    let cursor = f.get("minimumRingSize")?;
    let size = u64::decode(&cursor).filter(|size| *size != 0)?;
    let newer = format!("ringHash: {{minimumRingSize: {size}}}");
    let beside = f.has("ringHash") || f.has("maglev");
    let text = (!beside).then_some(newer.as_str());
    cursor.deprecated_shape("minimumRingSize", "ringHash", text, false);
    check_ring(f, size);
    Some(size)
}

impl Decode for HashCookie {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<NonEmpty>("name");
            let path = f.optional("path");
            let ttl = f.optional::<DurationOrZero>("ttl");
            let attributes = f.list("attributes");
            Some(Self {
                name: name?.0,
                path,
                ttl: ttl.map(|DurationOrZero(ttl)| ttl),
                attributes,
            })
        })
    }
}

impl Decode for CookieAttribute {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<NonEmpty>("name");
            let value = f.optional("value");
            Some(Self {
                name: name?.0,
                value,
            })
        })
    }
}

struct RingHash(HashAlgorithm);

impl Decode for RingHash {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let minimum_size = f.optional("minimumRingSize").unwrap_or(1024);
            check_ring(f, minimum_size);
            Some(Self(HashAlgorithm::Ring { minimum_size }))
        })
    }
}

struct Maglev(HashAlgorithm);

impl Decode for Maglev {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let TableSize(table_size) = f.required("tableSize")?;
            Some(Self(HashAlgorithm::Maglev { table_size }))
        })
    }
}

struct TableSize(u64);

impl Decode for TableSize {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let size = u64::decode(cursor)?;
        if size < 5_000_011 && is_prime(size) {
            Some(Self(size))
        } else {
            cursor.invalid("a prime number below 5000011")
        }
    }
}

/// Trial division; numbers here have at most seven digits.
fn is_prime(number: u64) -> bool {
    number >= 2 && (2..=number.isqrt()).all(|factor| !number.is_multiple_of(factor))
}

impl Decode for Warmup {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let duration = f.required("duration");
            let minimum_percent = f.optional::<f64>("minimumPercent").unwrap_or(10.0);
            let aggression = f.optional::<f64>("aggression").unwrap_or(1.0);
            if !(0.0..=100.0).contains(&minimum_percent) {
                let message = format!("{minimum_percent} is not a percentage between 0 and 100");
                f.error_at("minimumPercent", codes::INVALID_VALUE, message, None);
            }
            if aggression < 1.0 {
                let message = format!("{aggression} is less than 1");
                f.error_at("aggression", codes::INVALID_VALUE, message, None);
            }
            Some(Self {
                duration: duration?,
                minimum_percent,
                aggression,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_prime;

    #[test]
    fn primes() {
        for prime in [2, 3, 5, 7, 97, 65_537, 5_000_011] {
            assert!(is_prime(prime), "{prime}");
        }
        for other in [0, 1, 4, 9, 15, 65_536, 25_000_000] {
            assert!(!is_prime(other), "{other}");
        }
    }
}
