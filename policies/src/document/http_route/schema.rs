//! How the parts of an HTTP rule are read.

use super::{
    DirectResponse, Headers, HttpDestination, HttpFault, HttpMatch, HttpRedirect, HttpRetry,
    HttpRewrite, HttpRule, Mirror, RedirectPort, RegexRewrite,
};
use crate::decode::{Cursor, Decode, DurationOrZero, Percent, Port, RegexText};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::string_match::ValueMatch;
use crate::document::virtual_service::GatewayRef;
use crate::document::{Spanned, StringMatch};

/// Largest body of a direct response, in bytes.
const MAX_BODY: usize = 1 << 20;

impl Decode for HttpRule {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.optional("name");
            let matches = f.list("match");
            let route: Vec<HttpDestination> = f.list("route");
            let redirect = f.optional("redirect");
            let direct_response = f.optional("directResponse");
            let delegate = f.later::<Spanned<Delegate>>(
                "delegate",
                codes::DELEGATE_NOT_IN_FORCE,
                "matching requests are answered with 503",
            );
            let rewrite = f.optional("rewrite");
            let timeout = f.optional("timeout");
            let retries = f.later(
                "retries",
                codes::RETRIES_NOT_IN_FORCE,
                "requests are not retried",
            );
            let fault = f.later("fault", codes::FAULT_NOT_IN_FORCE, "no fault is injected");
            let mirror = f.later::<Spanned<Mirror>>(
                "mirror",
                codes::MIRROR_NOT_IN_FORCE,
                "requests are not mirrored",
            );
            let effect = "requests are not mirrored";
            for field in ["mirrorPercentage", "mirrorPercent", "mirror_percent"] {
                f.unread(field, codes::MIRROR_NOT_IN_FORCE, effect);
            }
            let mut mirrors =
                match f.later::<MirrorList>("mirrors", codes::MIRROR_NOT_IN_FORCE, effect) {
                    Some(MirrorList(mirrors)) => mirrors,
                    None => Vec::new(),
                };
            mirrors.extend(mirror);
            f.unread(
                "corsPolicy",
                codes::CORS_NOT_IN_FORCE,
                "preflight requests are forwarded",
            );
            let headers = f.or_default("headers");
            f.exclusive(&["route", "redirect", "directResponse", "delegate"]);
            f.exclusive(&["redirect", "rewrite"]);
            f.exclusive(&["directResponse", "rewrite"]);
            f.any_of(&["route", "redirect", "directResponse", "delegate"]);
            if route.len() > 1 && route.iter().all(|destination| destination.weight == 0) {
                let message = "every destination has weight 0, so none gets a request";
                let path = f.cursor().path.field("route");
                f.report(Diagnostic::error(
                    codes::INVALID_VALUE,
                    f.cursor().at(),
                    path,
                    message,
                ));
            }
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                name,
                matches,
                route,
                redirect,
                direct_response,
                delegate: delegate.map(|delegate| delegate.map(|Delegate(name)| name)),
                rewrite,
                timeout,
                retries,
                fault,
                mirrors,
                headers,
            })
        })
    }
}

impl Decode for HttpMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let found = Self {
                name: f.optional("name"),
                uri: f.optional("uri"),
                ignore_uri_case: f.or_default("ignoreUriCase"),
                scheme: f.optional("scheme"),
                method: f.optional("method"),
                authority: f.optional("authority"),
                headers: super::header_rules::matches(f, "headers"),
                without_headers: super::header_rules::matches(f, "withoutHeaders"),
                query_params: f
                    .map::<Spanned<ValueMatch>>("queryParams")
                    .into_iter()
                    .map(|(name, found)| (name, found.map(|ValueMatch(found)| found)))
                    .collect(),
                port: f
                    .optional::<Spanned<Port>>("port")
                    .map(|port| port.map(|Port(port)| port)),
                gateways: f
                    .list::<Spanned<GatewayRef>>("gateways")
                    .into_iter()
                    .map(|gateway| gateway.map(|GatewayRef(text)| text))
                    .collect(),
                source_labels: f.map("sourceLabels"),
                source_namespace: f.optional("sourceNamespace"),
            };
            f.unread(
                "statPrefix",
                codes::FIELD_NOT_IN_FORCE,
                "metrics have no extra prefix",
            );
            if let Some(uri) = &found.uri
                && let StringMatch::Exact(text) | StringMatch::Prefix(text) = &uri.value
                && text.contains('?')
            {
                let message =
                    format!("`{text}` never matches: the path is compared without its query");
                let help = "use `queryParams` for the query";
                f.report(
                    Diagnostic::error(codes::INVALID_VALUE, uri.at.clone(), &uri.path, message)
                        .with_help(help),
                );
            }
            Some(found)
        })
    }
}

impl Decode for HttpDestination {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let destination = f.required("destination");
            let weight = f.optional("weight");
            let headers: Headers = f.or_default("headers");
            Some(Self {
                at: f.cursor().at(),
                path: f.cursor().path.clone(),
                destination: destination?,
                weight: weight.unwrap_or(0),
                headers,
            })
        })
    }
}

impl Decode for HttpRedirect {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let uri = f.optional("uri");
            let authority = f.optional("authority");
            let number = f
                .optional::<Port>("port")
                .map(|Port(port)| RedirectPort::Number(port));
            let derived = f.get("derivePort").and_then(|cursor| {
                cursor.one_of(&[
                    ("FROM_PROTOCOL_DEFAULT", RedirectPort::ProtocolDefault),
                    ("FROM_REQUEST_PORT", RedirectPort::Request),
                ])
            });
            f.exclusive(&["port", "derivePort"]);
            let scheme = f
                .get("scheme")
                .and_then(|cursor| cursor.one_of(&[("http", "http"), ("https", "https")]));
            let code = match f.get("redirectCode") {
                None => Some(301),
                Some(cursor) => match u32::decode(&cursor)? {
                    301 => Some(301),
                    302 => Some(302),
                    303 => Some(303),
                    307 => Some(307),
                    308 => Some(308),
                    _ => cursor.invalid("one of 301, 302, 303, 307, 308"),
                },
            };
            f.any_of(&["uri", "authority", "port", "derivePort", "scheme"]);
            Some(Self {
                at: f.cursor().at(),
                uri,
                authority,
                port: number.or(derived),
                scheme: scheme.map(str::to_owned),
                code: code?,
            })
        })
    }
}

impl Decode for DirectResponse {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let status = f.required::<Status>("status");
            let body = f.get("body").and_then(|cursor| {
                cursor.fields(|f| {
                    f.exclusive(&["string", "bytes"]);
                    let text = f.optional::<String>("string").map(String::into_bytes);
                    let bytes = f.get("bytes").and_then(|cursor| {
                        let text = cursor.text()?;
                        super::base64::decode(text).or_else(|| cursor.invalid("base64"))
                    });
                    text.or(bytes)
                })
            });
            let body = body.unwrap_or_default();
            if body.len() > MAX_BODY {
                f.cursor()
                    .error(codes::INVALID_VALUE, "the body is longer than 1 MiB", None);
            }
            Some(Self {
                at: f.cursor().at(),
                status: status?.0,
                body,
            })
        })
    }
}

/// A status that a final answer may have.
struct Status(u16);

impl Decode for Status {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u16::try_from(u32::decode(cursor)?) {
            Ok(status @ 200..=599) => Some(Self(status)),
            _ => cursor.invalid("a status between 200 and 599"),
        }
    }
}

impl Decode for HttpRewrite {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let uri = f.optional("uri");
            let authority = f.get("authority").and_then(|cursor| {
                let text = cursor.text()?;
                let good = http::uri::Authority::try_from(text).is_ok();
                if good {
                    Some(text.to_owned())
                } else {
                    cursor.invalid("a host")
                }
            });
            let regex = f.optional("uriRegexRewrite");
            f.exclusive(&["uri", "uriRegexRewrite"]);
            f.any_of(&["uri", "authority", "uriRegexRewrite"]);
            Some(Self {
                at: f.cursor().at(),
                uri,
                authority,
                regex,
            })
        })
    }
}

impl Decode for RegexRewrite {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let pattern = f.required::<RegexText>("match");
            let rewrite = f.required("rewrite");
            Some(Self {
                pattern: pattern?.0,
                rewrite: rewrite?,
            })
        })
    }
}

impl Decode for HttpRetry {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let attempts = f.optional("attempts");
            let per_try_timeout = f
                .optional::<DurationOrZero>("perTryTimeout")
                .map(|DurationOrZero(time)| time);
            let retry_on: Option<String> = f.optional("retryOn");
            let backoff = f.optional("backoff");
            f.unread(
                "retryRemoteLocalities",
                codes::FIELD_NOT_IN_FORCE,
                "localities are not looked at",
            );
            f.unread(
                "retryIgnorePreviousHosts",
                codes::FIELD_NOT_IN_FORCE,
                "requests are not retried",
            );
            let retry_on = retry_on.unwrap_or_default();
            Some(Self {
                attempts: attempts.unwrap_or(2),
                per_try_timeout,
                retry_on: retry_on
                    .split(',')
                    .map(str::trim)
                    .filter(|on| !on.is_empty())
                    .map(str::to_owned)
                    .collect(),
                backoff,
            })
        })
    }
}

impl Decode for HttpFault {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let delay = f.get("delay").and_then(|cursor| {
                cursor.fields(|f| {
                    let share = percentage(f);
                    let delay = f.required("fixedDelay");
                    Some((delay?, share))
                })
            });
            let abort = f.get("abort").and_then(|cursor| {
                cursor.fields(|f| {
                    let share = percentage(f);
                    let status = f.optional::<Status>("httpStatus");
                    f.optional::<String>("grpcStatus");
                    f.any_of(&["httpStatus", "grpcStatus"]);
                    f.exclusive(&["httpStatus", "grpcStatus"]);
                    Some((status.map_or(0, |Status(status)| status), share))
                })
            });
            f.any_of(&["delay", "abort"]);
            Some(Self { delay, abort })
        })
    }
}

/// A missing percentage is 0 % in faults, as in Istio.
fn percentage(f: &mut crate::decode::Fields<'_>) -> f64 {
    let share = f.optional::<Percent>("percentage");
    let old = f.optional::<Percent>("percent");
    share.or(old).map_or(0.0, |Percent(share)| share)
}

impl Decode for Mirror {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            // `mirror` is a destination, an element of `mirrors` holds one.
            if f.has("destination") {
                let destination = f.required("destination");
                let share = f.optional::<Percent>("percentage");
                return Some(Self {
                    destination: destination?,
                    percentage: share.map_or(100.0, |Percent(share)| share),
                });
            }
            for field in ["host", "subset", "port"] {
                f.get(field);
            }
            Some(Self {
                destination: Decode::decode(f.cursor())?,
                percentage: 100.0,
            })
        })
    }
}

struct MirrorList(Vec<Spanned<Mirror>>);

impl Decode for MirrorList {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        Some(Self(
            cursor.items()?.iter().filter_map(Decode::decode).collect(),
        ))
    }
}

/// `delegate`: another VirtualService, as `namespace/name` or `name`.
struct Delegate(String);

impl Decode for Delegate {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name: Option<String> = f.required("name");
            let namespace: Option<String> = f.optional("namespace");
            let name = name?;
            Some(Self(namespace.map_or_else(
                || name.clone(),
                |namespace| format!("{namespace}/{name}"),
            )))
        })
    }
}
