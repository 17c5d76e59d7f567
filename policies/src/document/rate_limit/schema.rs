//! How a RateLimit is read.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::{
    GlobalDescriptor, GlobalRateLimit, KeySource, LimitDirection, LimitKey, LimitResponse,
    LimitRule, LimitScope, LocalRateLimit, RateLimit, RateLimitService, RedisCounter, TokenBucket,
};
use crate::decode::{
    Cursor, Decode, Document, Fields, HeaderNameText, HostText, NonEmpty, Port, Share, Standing,
    is_host_name,
};
use crate::document::string_match::ValueMatch;
use crate::document::{Attachment, Meta, Spanned, StringMatch};
use crate::rate_limit::PathTemplate;
use crate::route::ClaimPath;

/// Buckets are not filled more often (Envoy's limit).
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// How long a rate limit service may take (Envoy's default).
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_millis(20);

impl Document for RateLimit {
    const STANDING: Standing = Standing::InForce;

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let attachment = Attachment::read(f, &["targetRefs"]);
        let direction = f.or_default("direction");
        let local = f.optional("local");
        let global = f.optional("global");
        f.any_of(&["local", "global"]);
        Some(Self {
            meta,
            attachment,
            direction,
            local,
            global,
        })
    }
}

impl Decode for LimitDirection {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[("INBOUND", Self::Inbound), ("OUTBOUND", Self::Outbound)])
    }
}

impl Decode for LocalRateLimit {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let limits = f.non_empty("limits");
            let mut percent = |name| {
                let share = f.optional(name).map(|Share(share)| share);
                share.unwrap_or(100.0)
            };
            let enabled_percent = percent("enabledPercent");
            let enforced_percent = percent("enforcedPercent");
            let per_connection = f.or_default("perConnection");
            let response = f.or_default("response");
            Some(Self {
                limits: limits?,
                enabled_percent,
                enforced_percent,
                per_connection,
                response,
            })
        })
    }
}

impl Decode for LimitRule {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.optional("name").map(|NonEmpty(name)| name);
            let scope = f.or_default("match");
            let by = f.list("by");
            let bucket = bucket(f);
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                name,
                scope,
                by,
                bucket: bucket?,
            })
        })
    }
}

fn bucket(f: &mut Fields<'_>) -> Option<TokenBucket> {
    let requests = f.required::<AtLeastOne>("requests");
    let unit = f.get("unit").and_then(|cursor| {
        cursor.one_of(&[
            ("SECOND", 1),
            ("MINUTE", 60),
            ("HOUR", 3_600),
            ("DAY", 86_400),
        ])
    });
    let interval = f.optional::<Interval>("interval");
    let burst = f.optional::<AtLeastOne>("burst");
    f.exclusive(&["unit", "interval"]);
    f.any_of(&["unit", "interval"]);
    let interval = interval.map(|Interval(time)| time);
    let AtLeastOne(requests) = requests?;
    Some(TokenBucket {
        requests,
        interval: interval.or_else(|| unit.map(Duration::from_secs))?,
        burst: burst.map_or(requests, |AtLeastOne(burst)| burst),
    })
}

/// A number that is not 0.
pub(super) struct AtLeastOne(pub(super) u32);

impl Decode for AtLeastOne {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u32::decode(cursor)? {
            0 => cursor.invalid("a number of requests of at least 1"),
            number => Some(Self(number)),
        }
    }
}

/// How often a bucket is filled.
pub(super) struct Interval(pub(super) Duration);

impl Decode for Interval {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match Duration::decode(cursor)? {
            time if time < SHORTEST_INTERVAL => cursor.invalid("a duration of at least 50ms"),
            time => Some(Self(time)),
        }
    }
}

impl Decode for LimitScope {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let hosts = f.list::<HostText>("hosts");
            let ports = f.list::<Port>("ports");
            let routes = f.list::<NonEmpty>("routes");
            let methods = f.list::<NonEmpty>("methods");
            let path = f.optional::<StringMatch>("path");
            let headers: BTreeMap<String, ValueMatch> = f.map("headers");
            f.any_of(&["hosts", "ports", "routes", "methods", "path", "headers"]);
            Some(Self {
                hosts: hosts.into_iter().map(|HostText(host)| host).collect(),
                ports: ports.into_iter().map(|Port(port)| port).collect(),
                routes: routes.into_iter().map(|NonEmpty(route)| route).collect(),
                methods: methods.into_iter().map(|NonEmpty(name)| name).collect(),
                path,
                headers: headers
                    .into_iter()
                    .map(|(name, ValueMatch(found))| (name.to_ascii_lowercase(), found))
                    .collect(),
            })
        })
    }
}

impl Decode for LimitKey {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        const SOURCES: &[&str] = &[
            "header",
            "remoteAddress",
            "principal",
            "claim",
            "path",
            "method",
            "host",
            "route",
            "queryParameter",
            "value",
        ];
        cursor.fields(|f| {
            let key = f.optional("key").map(|NonEmpty(key)| key);
            let equals = f.optional("equals").map(|NonEmpty(text)| text);
            let found = [
                f.get("header").and_then(|cursor| header(&cursor)),
                f.get("remoteAddress").and_then(|cursor| address(&cursor)),
                plain(f, "principal", KeySource::Principal),
                f.get("claim").and_then(|cursor| claim(&cursor)),
                f.get("path").and_then(|cursor| path(&cursor)),
                plain(f, "method", KeySource::Method),
                plain(f, "host", KeySource::Host),
                plain(f, "route", KeySource::Route),
                f.get("queryParameter").and_then(|cursor| {
                    let NonEmpty(name) = cursor.fields(|f| f.required("name"))?;
                    Some((name.clone(), KeySource::QueryParameter(name)))
                }),
                f.optional("value")
                    .map(|NonEmpty(value)| ("generic_key".to_owned(), KeySource::Constant(value))),
            ];
            f.exclusive(SOURCES);
            f.any_of(SOURCES);
            let (default_key, source) = found.into_iter().flatten().next()?;
            Some(Self {
                key: key.unwrap_or(default_key),
                source,
                equals,
            })
        })
    }
}

/// `path: {}` and the like.
fn plain(f: &mut Fields<'_>, name: &'static str, source: KeySource) -> Option<(String, KeySource)> {
    f.get(name)?.fields(|_| Some((name.to_owned(), source)))
}

fn claim(cursor: &Cursor<'_>) -> Option<(String, KeySource)> {
    let ClaimName(name) = cursor.fields(|f| f.required("name"))?;
    Some((name.clone(), KeySource::Claim(name)))
}

/// The name of a claim, `a.b` or `[a][b]`.
struct ClaimName(String);

impl Decode for ClaimName {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let name = cursor.text()?;
        match ClaimPath::named(name) {
            Some(_) => Some(Self(name.to_owned())),
            None => cursor.invalid("the name of a claim, `a.b`, or `[a][b]` where names have dots"),
        }
    }
}

fn path(cursor: &Cursor<'_>) -> Option<(String, KeySource)> {
    cursor.fields(|f| {
        let templates = f.list::<TemplateText>("templates");
        let source = if templates.is_empty() {
            KeySource::Path
        } else {
            let templates = templates.into_iter();
            KeySource::PathTemplates(templates.map(|TemplateText(path)| path).collect())
        };
        Some(("path".to_owned(), source))
    })
}

/// A path with gaps.
struct TemplateText(PathTemplate);

impl Decode for TemplateText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match PathTemplate::parse(cursor.text()?) {
            Ok(template) => Some(Self(template)),
            Err(error) => cursor.invalid_with(
                "a template such as `/api/products/{id}`",
                Some(error.to_string()),
            ),
        }
    }
}

fn header(cursor: &Cursor<'_>) -> Option<(String, KeySource)> {
    cursor.fields(|f| {
        let name = f.required::<HeaderNameText>("name");
        let count = f
            .get("ifMissing")
            .and_then(|cursor| cursor.one_of(&[("SKIP", false), ("COUNT", true)]));
        let HeaderNameText(name) = name?;
        let source = KeySource::Header {
            name: name.clone(),
            count_if_missing: count.unwrap_or(false),
        };
        Some((name, source))
    })
}

fn address(cursor: &Cursor<'_>) -> Option<(String, KeySource)> {
    cursor.fields(|f| {
        let mut length = |name, longest: u8| {
            let cursor = f.get(name)?;
            match u8::try_from(u32::decode(&cursor)?) {
                Ok(length) if length <= longest => Some(length),
                _ => cursor.invalid(&format!("a prefix length between 0 and {longest}")),
            }
        };
        let (v4, v6) = (length("prefixLength4", 32), length("prefixLength6", 128));
        let source = KeySource::RemoteAddress {
            prefix_v4: v4.unwrap_or(32),
            prefix_v6: v6.unwrap_or(128),
        };
        Some(("remote_address".to_owned(), source))
    })
}

impl Decode for LimitResponse {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let status = f.optional::<ErrorStatus>("status");
            let body = f.optional("body");
            let headers = f.map("headers");
            let rate_limit_headers = f.or_default("rateLimitHeaders");
            Some(Self {
                status: status.map_or(429, |ErrorStatus(status)| status),
                body,
                headers,
                rate_limit_headers,
            })
        })
    }
}

/// A status of an answer that refuses.
pub(super) struct ErrorStatus(pub(super) u16);

impl Decode for ErrorStatus {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u16::try_from(u32::decode(cursor)?) {
            Ok(status @ 400..=599) => Some(Self(status)),
            _ => cursor.invalid("a status between 400 and 599"),
        }
    }
}

impl Decode for GlobalRateLimit {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let redis = f.get("redis");
            let has_redis = redis.is_some();
            let redis = redis.and_then(|cursor| RedisCounter::decode(&cursor));
            let limits = f.list("limits");
            let service = f.optional("service");
            let descriptors = f.list("descriptors");
            let response = f.or_default("response");
            f.any_of(&["redis", "service", "descriptors"]);
            for (redis, service) in [
                ("redis", "service"),
                ("redis", "descriptors"),
                ("limits", "service"),
                ("limits", "descriptors"),
            ] {
                f.exclusive(&[redis, service]);
            }
            if has_redis && limits.is_empty() {
                f.missing("limits");
            }
            if !has_redis && !limits.is_empty() {
                f.missing("redis");
            }
            Some(Self {
                redis,
                limits,
                service,
                descriptors,
                response,
            })
        })
    }
}

impl Decode for RedisCounter {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let address = f.required::<Spanned<HostAndPort>>("address");
            let database = f.or_default("database");
            let username = f.optional("username").map(|NonEmpty(name)| name);
            let password = f.optional("passwordFile").map(|NonEmpty(file)| file);
            let timeout = f.optional("timeout");
            let deny = f.required::<DenyOnFailure>("failureMode");
            let status = f.optional::<ErrorStatus>("statusOnError");
            Some(Self {
                address: address?.map(|HostAndPort(address)| address),
                database,
                username,
                password_file: password.map(PathBuf::from),
                timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
                deny_on_failure: deny?.0,
                status_on_error: status.map_or(500, |ErrorStatus(status)| status),
            })
        })
    }
}

/// `failureMode`.
struct DenyOnFailure(bool);

impl Decode for DenyOnFailure {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let deny = cursor.one_of(&[("ALLOW", false), ("DENY", true)])?;
        Some(Self(deny))
    }
}

/// `redis.my-app.example:6379`.
struct HostAndPort(String);

impl Decode for HostAndPort {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let good_host = match literal {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_host_name(host) || host.parse::<Ipv4Addr>().is_ok(),
        };
        match port.parse::<u16>() {
            Ok(1..) if good_host => Some(Self(text.to_owned())),
            _ => cursor.invalid("a host and a port, such as `127.0.0.1:6379`"),
        }
    }
}

impl Decode for RateLimitService {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let host = f.required::<Spanned<HostText>>("host");
            let port = f.required::<Spanned<Port>>("port");
            let domain = f.required::<NonEmpty>("domain");
            let timeout = f.optional("timeout");
            let deny = f.optional::<DenyOnFailure>("failureMode");
            let status = f.optional::<ErrorStatus>("statusOnError");
            Some(Self {
                host: host?.map(|HostText(host)| host),
                port: port?.map(|Port(port)| port),
                domain: domain?.0,
                timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
                deny_on_failure: deny.is_some_and(|DenyOnFailure(deny)| deny),
                status_on_error: status.map_or(500, |ErrorStatus(status)| status),
            })
        })
    }
}

impl Decode for GlobalDescriptor {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let scope = f.or_default("match");
            let by = f.non_empty("by");
            Some(Self { scope, by: by? })
        })
    }
}
