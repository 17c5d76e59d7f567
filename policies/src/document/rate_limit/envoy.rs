//! The parts of Envoy's configuration that the rate limit filters have. Field names may be written as in Envoy's own
//! files (`token_bucket`) or as JSON has them (`tokenBucket`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::schema::{AtLeastOne, DEFAULT_TIMEOUT, ErrorStatus, Interval};
use super::{KeySource, LimitKey, LimitResponse, RateLimitService, TokenBucket};
use crate::decode::{Cursor, Decode, Fields, HeaderNameText, NonEmpty, RegexText, is_host_name};
use crate::diagnostic::codes;
use crate::document::{Spanned, StringMatch};

/// A field by either of its names.
pub(super) fn either<'a>(
    f: &mut Fields<'a>,
    snake: &'static str,
    camel: &'static str,
) -> Option<Cursor<'a>> {
    f.exclusive(&[snake, camel]);
    let found = f.get(snake);
    f.get(camel).or(found)
}

fn decoded<T: Decode>(f: &mut Fields<'_>, snake: &'static str, camel: &'static str) -> Option<T> {
    either(f, snake, camel).and_then(|cursor| T::decode(&cursor))
}

/// The fields of a `typed_config` of this type, also inside a `TypedStruct`.
pub(super) fn typed<T>(
    cursor: &Cursor<'_>,
    expected: &str,
    schema: impl Fn(&mut Fields<'_>) -> Option<T>,
) -> Option<T> {
    let check = |cursor: &Cursor<'_>| match cursor.text()? {
        text if text.ends_with(expected) => Some(()),
        _ => cursor.invalid(&format!("the type `type.googleapis.com/{expected}`")),
    };
    cursor.fields(|f| {
        let Some(type_name) = f.get("@type") else {
            f.missing("@type");
            return None;
        };
        if !type_name.text()?.ends_with(".TypedStruct") {
            check(&type_name)?;
            return schema(f);
        }
        let inner = either(f, "type_url", "typeUrl").map(|cursor| check(&cursor));
        let Some(value) = f.get("value") else {
            f.missing("value");
            return None;
        };
        let value = value.fields(schema);
        inner.flatten().and(value)
    })
}

/// `LocalRateLimit`.
pub(super) struct LocalFilter {
    pub(super) bucket: Option<TokenBucket>,
    pub(super) descriptors: Vec<(Vec<(String, String)>, TokenBucket)>,
    pub(super) actions: Vec<Vec<LimitKey>>,
    pub(super) enabled: Option<f64>,
    pub(super) enforced: Option<f64>,
    pub(super) per_connection: bool,
    pub(super) response: LimitResponse,
}

pub(super) fn local_filter(f: &mut Fields<'_>) -> Option<LocalFilter> {
    f.get("@type");
    for known in [
        ("stat_prefix", "statPrefix"),
        ("vh_rate_limits", "vhRateLimits"),
    ] {
        either(f, known.0, known.1);
    }
    let bucket = either(f, "token_bucket", "tokenBucket");
    let has_bucket = bucket.is_some();
    let bucket = bucket.and_then(|cursor| token_bucket(&cursor));
    let descriptors = f.get("descriptors").map(|cursor| cursor.items());
    let descriptors = descriptors.flatten().unwrap_or_default();
    let descriptors: Vec<_> = descriptors.iter().filter_map(descriptor).collect();
    let actions = rate_limits(f);
    let enabled = either(f, "filter_enabled", "filterEnabled").and_then(|cursor| share(&cursor));
    let enforced = either(f, "filter_enforced", "filterEnforced").and_then(|cursor| share(&cursor));
    let per_connection = decoded(
        f,
        "local_rate_limit_per_downstream_connection",
        "localRateLimitPerDownstreamConnection",
    );
    let status = either(f, "status", "status").and_then(|cursor| status(&cursor));
    let response = response(f, status);
    if has_bucket && bucket.is_none() {
        return None;
    }
    Some(LocalFilter {
        bucket,
        descriptors,
        actions,
        enabled,
        enforced,
        per_connection: per_connection.unwrap_or(false),
        response,
    })
}

fn token_bucket(cursor: &Cursor<'_>) -> Option<TokenBucket> {
    cursor.fields(|f| {
        let burst = decoded::<AtLeastOne>(f, "max_tokens", "maxTokens");
        let requests = decoded::<AtLeastOne>(f, "tokens_per_fill", "tokensPerFill");
        let interval = decoded::<Interval>(f, "fill_interval", "fillInterval");
        f.any_of(&["max_tokens", "maxTokens"]);
        f.any_of(&["fill_interval", "fillInterval"]);
        Some(TokenBucket {
            // Envoy's default.
            requests: requests.map_or(1, |AtLeastOne(requests)| requests),
            interval: interval?.0,
            burst: burst?.0,
        })
    })
}

/// `{entries: [{key, value}], token_bucket}`.
fn descriptor(cursor: &Cursor<'_>) -> Option<(Vec<(String, String)>, TokenBucket)> {
    cursor.fields(|f| {
        let entries = f.non_empty::<Entry>("entries");
        let bucket = either(f, "token_bucket", "tokenBucket");
        if bucket.is_none() {
            f.missing("token_bucket");
        }
        let bucket = bucket.and_then(|cursor| token_bucket(&cursor));
        let entries = entries?.into_iter().map(|Entry(key, value)| (key, value));
        Some((entries.collect(), bucket?))
    })
}

struct Entry(String, String);

impl Decode for Entry {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let key = f.required::<NonEmpty>("key");
            let value = f.or_default("value");
            Some(Self(key?.0, value))
        })
    }
}

/// `RuntimeFractionalPercent`, in percent.
fn share(cursor: &Cursor<'_>) -> Option<f64> {
    cursor.fields(|f| {
        either(f, "runtime_key", "runtimeKey");
        let share = either(f, "default_value", "defaultValue")?;
        share.fields(|f| {
            let numerator: u32 = f.or_default("numerator");
            let whole = f.get("denominator").and_then(|cursor| {
                cursor.one_of(&[
                    ("HUNDRED", 100.0),
                    ("TEN_THOUSAND", 10_000.0),
                    ("MILLION", 1_000_000.0),
                ])
            });
            Some((f64::from(numerator) * 100.0 / whole.unwrap_or(100.0)).min(100.0))
        })
    })
}

/// `{code: 429}`.
fn status(cursor: &Cursor<'_>) -> Option<u16> {
    let ErrorStatus(code) = cursor.fields(|f| f.required("code"))?;
    Some(code)
}

fn response(f: &mut Fields<'_>, status: Option<u16>) -> LimitResponse {
    let added = either(f, "response_headers_to_add", "responseHeadersToAdd");
    let mut headers = BTreeMap::new();
    for header in added.and_then(|cursor| cursor.items()).unwrap_or_default() {
        headers.extend(header.fields(|f| {
            f.get("append");
            either(f, "append_action", "appendAction");
            f.get("header")?.fields(|f| {
                let name = f.required::<HeaderNameText>("key");
                let value = f.or_default("value");
                Some((name?.0, value))
            })
        }));
    }
    let shown = either(f, "enable_x_ratelimit_headers", "enableXRatelimitHeaders")
        .and_then(|cursor| cursor.one_of(&[("OFF", false), ("DRAFT_VERSION_03", true)]));
    LimitResponse {
        status: status.unwrap_or(429),
        body: None,
        headers,
        rate_limit_headers: shown.unwrap_or(false),
    }
}

/// The filter `envoy.filters.http.ratelimit`.
pub(super) fn global_filter(f: &mut Fields<'_>) -> Option<(RateLimitService, LimitResponse)> {
    f.get("@type");
    for known in [
        ("stage", "stage"),
        ("request_type", "requestType"),
        ("stat_prefix", "statPrefix"),
    ] {
        either(f, known.0, known.1);
    }
    let domain = f.required::<NonEmpty>("domain");
    let timeout: Option<Duration> = f.optional("timeout");
    let deny: Option<bool> = decoded(f, "failure_mode_deny", "failureModeDeny");
    let on_error = either(f, "status_on_error", "statusOnError").and_then(|cursor| status(&cursor));
    let limited =
        either(f, "rate_limited_status", "rateLimitedStatus").and_then(|cursor| status(&cursor));
    let response = response(f, limited);
    let service = either(f, "rate_limit_service", "rateLimitService");
    if service.is_none() {
        f.missing("rate_limit_service");
    }
    let (host, port) = service.and_then(|cursor| cursor.fields(grpc_service))?;
    Some((
        RateLimitService {
            host,
            port,
            domain: domain?.0,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            deny_on_failure: deny.unwrap_or(false),
            status_on_error: on_error.unwrap_or(500),
        },
        response,
    ))
}

fn grpc_service(f: &mut Fields<'_>) -> Option<(Spanned<String>, Spanned<u16>)> {
    either(f, "transport_api_version", "transportApiVersion");
    let service = either(f, "grpc_service", "grpcService")?;
    service.fields(|f| {
        f.get("timeout");
        let envoy = either(f, "envoy_grpc", "envoyGrpc")?;
        envoy.fields(|f| {
            f.get("authority");
            cluster(&either(f, "cluster_name", "clusterName")?)
        })
    })
}

/// Istio's name of a cluster: `outbound|8081||ratelimit.default.svc.cluster.local`.
fn cluster(cursor: &Cursor<'_>) -> Option<(Spanned<String>, Spanned<u16>)> {
    let parts: Vec<&str> = cursor.text()?.split('|').collect();
    if let ["outbound", port, _, host] = parts.as_slice()
        && let Ok(port @ 1..) = port.parse::<u16>()
        && is_host_name(host)
    {
        return Some((cursor.spanned((*host).to_owned()), cursor.spanned(port)));
    }
    let help = "write `outbound|<port>||<host>` of a declared service";
    cursor.invalid_with("a cluster of a service", Some(help.to_owned()))
}

/// `rate_limits: [{actions: […]}]`: each makes one descriptor.
pub(super) fn rate_limits(f: &mut Fields<'_>) -> Vec<Vec<LimitKey>> {
    let limits = either(f, "rate_limits", "rateLimits").and_then(|cursor| cursor.items());
    let limit = |cursor: &Cursor<'_>| {
        cursor.fields(|f| {
            f.get("stage");
            f.non_empty::<Action>("actions")
        })
    };
    let limits = limits.unwrap_or_default();
    let limits = limits.iter().filter_map(limit);
    limits
        .map(|actions| actions.into_iter().map(|Action(key)| key).collect())
        .collect()
}

/// One of `actions`.
struct Action(LimitKey);

impl Decode for Action {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let found = [
                either(f, "remote_address", "remoteAddress").map(|_| {
                    let source = KeySource::RemoteAddress {
                        prefix_v4: 32,
                        prefix_v6: 128,
                    };
                    ("remote_address".to_owned(), source)
                }),
                either(f, "request_headers", "requestHeaders").and_then(|c| c.fields(header)),
                either(f, "generic_key", "genericKey").and_then(|c| {
                    c.fields(|f| {
                        let key = key(f, "generic_key");
                        let NonEmpty(value) = decoded(f, "descriptor_value", "descriptorValue")?;
                        Some((key, KeySource::Constant(value)))
                    })
                }),
                either(f, "header_value_match", "headerValueMatch")
                    .and_then(|c| c.fields(header_value_match)),
            ];
            if found.iter().all(Option::is_none) {
                let known =
                    "`request_headers`, `remote_address`, `generic_key`, `header_value_match`";
                let help = Some(format!("recognised are {known}"));
                let message = "an action that is not recognised";
                f.cursor().error(codes::ENVOY_FILTER_REFUSED, message, help);
            }
            let (key, source) = found.into_iter().flatten().next()?;
            Some(Self(LimitKey {
                key,
                source,
                equals: None,
            }))
        })
    }
}

fn key(f: &mut Fields<'_>, default: &str) -> String {
    let key = decoded::<NonEmpty>(f, "descriptor_key", "descriptorKey");
    key.map_or_else(|| default.to_owned(), |NonEmpty(key)| key)
}

fn header(f: &mut Fields<'_>) -> Option<(String, KeySource)> {
    let name = decoded::<NonEmpty>(f, "header_name", "headerName");
    let skip: Option<bool> = decoded(f, "skip_if_absent", "skipIfAbsent");
    f.any_of(&["descriptor_key", "descriptorKey"]);
    let NonEmpty(name) = name?;
    let key = key(f, &name);
    let source = match name.as_str() {
        ":path" => KeySource::Path,
        ":method" => KeySource::Method,
        ":authority" => KeySource::Host,
        // Envoy makes no descriptor at all then, and with `skip_if_absent` one without this entry.
        _ => KeySource::Header {
            name: name.to_ascii_lowercase(),
            count_if_missing: skip.unwrap_or(false),
        },
    };
    Some((key, source))
}

fn header_value_match(f: &mut Fields<'_>) -> Option<(String, KeySource)> {
    let key = key(f, "header_match");
    let value = decoded::<NonEmpty>(f, "descriptor_value", "descriptorValue");
    let expect = decoded(f, "expect_match", "expectMatch");
    let headers = f.non_empty::<HeaderMatcher>("headers");
    let source = KeySource::Headers {
        value: value?.0,
        expect: expect.unwrap_or(true),
        headers: headers?
            .into_iter()
            .map(|HeaderMatcher(name, found)| (name, found))
            .collect(),
    };
    Some((key, source))
}

/// Envoy's `HeaderMatcher`.
struct HeaderMatcher(String, StringMatch);

impl Decode for HeaderMatcher {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<NonEmpty>("name");
            let exact = decoded(f, "exact_match", "exactMatch").map(StringMatch::Exact);
            let prefix = decoded(f, "prefix_match", "prefixMatch").map(StringMatch::Prefix);
            let regex = either(f, "safe_regex_match", "safeRegexMatch").and_then(|c| regex(&c));
            let present = decoded::<bool>(f, "present_match", "presentMatch");
            let present = present.and_then(|on| on.then_some(StringMatch::Present));
            let text = either(f, "string_match", "stringMatch").and_then(|c| string_match(&c));
            let found = exact.or(prefix).or(regex).or(present).or(text);
            if found.is_none() {
                let help = "recognised are `exact_match`, `prefix_match`, `safe_regex_match`, `present_match`, `string_match`";
                let message = "a header match that is not recognised";
                f.cursor()
                    .error(codes::ENVOY_FILTER_REFUSED, message, Some(help.to_owned()));
            }
            Some(Self(name?.0.to_ascii_lowercase(), found?))
        })
    }
}

fn regex(cursor: &Cursor<'_>) -> Option<StringMatch> {
    cursor.fields(|f| {
        either(f, "google_re2", "googleRe2");
        let RegexText(text) = f.required("regex")?;
        Some(StringMatch::Regex(text))
    })
}

/// Envoy's `StringMatcher`; what Istio's has no word for becomes a regular expression.
fn string_match(cursor: &Cursor<'_>) -> Option<StringMatch> {
    cursor.fields(|f| {
        let any_case: Option<bool> = decoded(f, "ignore_case", "ignoreCase");
        let exact: Option<String> = f.optional("exact");
        let prefix: Option<String> = f.optional("prefix");
        let suffix: Option<String> = f.optional("suffix");
        let contains: Option<String> = f.optional("contains");
        let regex = either(f, "safe_regex", "safeRegex").and_then(|c| regex(&c));
        let case = if any_case == Some(true) { "(?i)" } else { "" };
        let escaped = |text: &str| regex::escape(text);
        let pattern = match (&exact, &prefix, &suffix, &contains) {
            (Some(text), ..) if case.is_empty() => return Some(StringMatch::Exact(text.clone())),
            (_, Some(text), ..) if case.is_empty() => {
                return Some(StringMatch::Prefix(text.clone()));
            }
            (Some(text), ..) => escaped(text),
            (_, Some(text), ..) => format!("{}.*", escaped(text)),
            (_, _, Some(text), _) => format!(".*{}", escaped(text)),
            (.., Some(text)) => format!(".*{}.*", escaped(text)),
            _ => return regex,
        };
        Some(StringMatch::Regex(format!("{case}{pattern}")))
    })
}
