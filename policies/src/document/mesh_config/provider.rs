//! `extensionProviders`: services outside the mesh that policies may name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decode::{
    Cursor, Decode, DurationOrZero, Fields, HeaderNameText, NonEmpty, Port, ServiceText,
};
use crate::diagnostic::codes;
use crate::document::Spanned;

/// Istio's `ExtensionProvider`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtensionProvider {
    /// `name`: how policies call it.
    pub name: Spanned<String>,
    /// What it is.
    pub kind: ProviderKind,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderKind {
    /// `envoyExtAuthzHttp`: authorization by an HTTP service.
    ExtAuthzHttp(Box<ExtAuthzHttp>),
    /// `envoyExtAuthzGrpc`: authorization by a gRPC service.
    ExtAuthzGrpc(ExtAuthz),
    /// `zipkin`: traces.
    Zipkin(Tracer),
    /// `opentelemetry`: traces.
    OpenTelemetry(OpenTelemetry),
    /// `prometheus`: metrics, as every process offers them.
    Prometheus,
    /// `envoyFileAccessLog`: an access log in a file.
    FileAccessLog {
        /// `path`, default `/dev/stdout`.
        path: Option<String>,
        /// `logFormat.text`.
        text: Option<String>,
        /// `logFormat.labels`: fields of a JSON line.
        labels: BTreeMap<String, String>,
    },
    /// `envoyHttpAls`, `envoyTcpAls`, `envoyOtelAls`: access logs over gRPC.
    GrpcAccessLog(GrpcAccessLog),
    /// `lightstep`, `datadog`, `stackdriver`, `opencensus`, `skywalking`: tracers that are not spoken to.
    OtherTracer(Option<ProviderService>),
}

/// Where a provider is.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderService {
    /// `service`: `[<namespace>/]<host>`.
    pub service: Spanned<String>,
    /// `port`.
    pub port: u16,
}

/// What both kinds of authorization service have.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtAuthz {
    /// `service` and `port`.
    pub at: ProviderService,
    /// `timeout`, default 600s.
    pub timeout: Option<Duration>,
    /// `failOpen`: requests pass if the service does not answer; default false.
    pub fail_open: bool,
    /// `statusOnError`: what clients get if it does not answer; default 403.
    pub status_on_error: Option<u16>,
    /// `clearRouteCache`: the route is looked up again afterwards; default false.
    pub clear_route_cache: bool,
    /// `includeRequestBodyInCheck`.
    pub request_body: Option<RequestBodyInCheck>,
}

/// `includeRequestBodyInCheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBodyInCheck {
    /// `maxRequestBytes`.
    pub max_request_bytes: u32,
    /// `allowPartialMessage`: a longer body is cut, and not refused with 413.
    pub allow_partial_message: bool,
    /// `packAsBytes`: bytes, not UTF-8; gRPC only.
    pub pack_as_bytes: bool,
}

/// `envoyExtAuthzHttp`. Names of headers may be `exact`, `prefix*` or `*suffix`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtAuthzHttp {
    /// What both kinds have.
    pub common: ExtAuthz,
    /// `pathPrefix` of the check's path.
    pub path_prefix: String,
    /// `includeRequestHeadersInCheck`; `includeHeadersInCheck` is its old name.
    pub request_headers: Vec<String>,
    /// `includeAdditionalHeadersInCheck`.
    pub additional_headers: BTreeMap<String, String>,
    /// `headersToUpstreamOnAllow`.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// `headersToDownstreamOnDeny`.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// `headersToDownstreamOnAllow`.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// `zipkin`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracer {
    /// `service` and `port`.
    pub at: ProviderService,
    /// `maxTagLength` of the path's tag.
    pub max_tag_length: Option<u32>,
    /// `enable64bitTraceId`.
    pub enable_64bit_trace_id: bool,
    /// `path` that spans are sent to.
    pub path: Option<String>,
}

/// `opentelemetry`.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTelemetry {
    /// `service` and `port`.
    pub at: ProviderService,
    /// `maxTagLength` of the path's tag.
    pub max_tag_length: Option<u32>,
    /// `http.path`: traces go over HTTP; without, over gRPC.
    pub http_path: Option<String>,
    /// `http.timeout` or `grpc.timeout`.
    pub timeout: Option<Duration>,
    /// `http.headers` or `grpc.initialMetadata`.
    pub headers: Vec<(String, String)>,
    /// `resourceDetectors.environment`.
    pub detect_environment: bool,
    /// `resourceDetectors.dynatrace`.
    pub detect_dynatrace: bool,
}

/// `envoyHttpAls`, `envoyTcpAls`, `envoyOtelAls`.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcAccessLog {
    /// `service` and `port`.
    pub at: ProviderService,
    /// `logName`.
    pub log_name: Option<String>,
}

/// Tracers that are reached by address but not spoken to: naming one is no mistake, its spans go nowhere.
const OTHER_TRACERS: &[&str] = &["lightstep", "datadog", "opencensus", "skywalking"];

const KINDS: &[&str] = &[
    "envoyExtAuthzHttp",
    "envoyExtAuthzGrpc",
    "zipkin",
    "opentelemetry",
    "prometheus",
    "envoyFileAccessLog",
    "envoyHttpAls",
    "envoyTcpAls",
    "envoyOtelAls",
    "lightstep",
    "datadog",
    "stackdriver",
    "opencensus",
    "skywalking",
    "sds",
];

impl Decode for ExtensionProvider {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<Spanned<NonEmpty>>("name");
            let http = part(f, "envoyExtAuthzHttp", |f| {
                Some(ProviderKind::ExtAuthzHttp(Box::new(ext_authz_http(f)?)))
            });
            let grpc = part(f, "envoyExtAuthzGrpc", |f| {
                ext_authz(f).map(ProviderKind::ExtAuthzGrpc)
            });
            let zipkin = part(f, "zipkin", |f| zipkin(f).map(ProviderKind::Zipkin));
            let opentelemetry = part(f, "opentelemetry", |f| {
                opentelemetry(f).map(ProviderKind::OpenTelemetry)
            });
            let prometheus = part(f, "prometheus", |_| Some(ProviderKind::Prometheus));
            let file = part(f, "envoyFileAccessLog", |f| {
                let path = f.optional::<NonEmpty>("path").map(|NonEmpty(path)| path);
                let (text, labels) = log_format(f);
                Some(ProviderKind::FileAccessLog { path, text, labels })
            });
            let mut log = None;
            for name in ["envoyHttpAls", "envoyTcpAls", "envoyOtelAls"] {
                let found = part(f, name, |f| {
                    grpc_access_log(f).map(ProviderKind::GrpcAccessLog)
                });
                log = log.or(found);
            }
            let mut tracer = part(f, "stackdriver", |f| {
                stackdriver(f);
                Some(ProviderKind::OtherTracer(None))
            });
            for name in OTHER_TRACERS {
                let found = part(f, name, |f| {
                    let at = service(f);
                    f.optional::<String>("accessToken");
                    f.optional::<u32>("maxTagLength");
                    f.list::<String>("context");
                    Some(ProviderKind::OtherTracer(Some(at?)))
                });
                tracer = tracer.or(found);
            }
            if let Some(cursor) = f.get("sds") {
                let help = "keys of workloads come from the mesh's own authority".to_owned();
                let message = "the provider `sds` is not supported";
                cursor.error(codes::INVALID_VALUE, message, Some(help));
            }
            f.exclusive(KINDS);
            f.any_of(KINDS);
            let kind = http
                .or(grpc)
                .or(zipkin)
                .or(opentelemetry)
                .or(prometheus)
                .or(file)
                .or(log)
                .or(tracer);
            Some(Self {
                name: name?.map(|NonEmpty(name)| name),
                kind: kind?,
            })
        })
    }
}

fn part<T>(
    f: &mut Fields<'_>,
    name: &'static str,
    schema: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Option<T> {
    f.get(name).and_then(|cursor| cursor.fields(schema))
}

fn stackdriver(f: &mut Fields<'_>) {
    f.optional::<bool>("debug");
    for limit in [
        "maxNumberOfAttributes",
        "maxNumberOfAnnotations",
        "maxNumberOfMessageEvents",
        "maxTagLength",
    ] {
        f.optional::<u32>(limit);
    }
    part(f, "logging", |f| Some(f.map::<String>("labels")));
}

fn service(f: &mut Fields<'_>) -> Option<ProviderService> {
    let service = f.required::<Spanned<ServiceText>>("service");
    let port = f.required::<Port>("port");
    Some(ProviderService {
        service: service?.map(|ServiceText(text)| text),
        port: port?.0,
    })
}

fn ext_authz(f: &mut Fields<'_>) -> Option<ExtAuthz> {
    let at = service(f);
    let timeout = f.optional("timeout");
    let fail_open = f.or_default("failOpen");
    let status_on_error = f.get("statusOnError").and_then(|cursor| {
        let text = cursor.text()?;
        match text.parse::<u16>() {
            Ok(status @ 200..=599) => Some(status),
            _ => cursor.invalid("an HTTP status as a text, as in `\"503\"`"),
        }
    });
    let clear_route_cache = f.or_default("clearRouteCache");
    let request_body = part(f, "includeRequestBodyInCheck", |f| {
        let max_request_bytes = f.or_default("maxRequestBytes");
        let allow_partial_message = f.or_default("allowPartialMessage");
        let pack_as_bytes = f.or_default("packAsBytes");
        Some(RequestBodyInCheck {
            max_request_bytes,
            allow_partial_message,
            pack_as_bytes,
        })
    });
    Some(ExtAuthz {
        at: at?,
        timeout,
        fail_open,
        status_on_error,
        clear_route_cache,
        request_body,
    })
}

fn ext_authz_http(f: &mut Fields<'_>) -> Option<ExtAuthzHttp> {
    let path_prefix = f.get("pathPrefix").and_then(|cursor| match cursor.text()? {
        path if path.is_empty() || path.starts_with('/') => Some(path.to_owned()),
        _ => cursor.invalid("a path that starts with `/`"),
    });
    let mut request_headers = headers(f, "includeRequestHeadersInCheck");
    let newer_beside = f.has("includeRequestHeadersInCheck");
    if let Some(old) = f.get("includeHeadersInCheck") {
        old.deprecated_name(
            "includeHeadersInCheck",
            "includeRequestHeadersInCheck",
            newer_beside,
        );
    }
    request_headers.extend(headers(f, "includeHeadersInCheck"));
    let additional_headers = f.map("includeAdditionalHeadersInCheck");
    let headers_to_upstream_on_allow = headers(f, "headersToUpstreamOnAllow");
    let headers_to_downstream_on_deny = headers(f, "headersToDownstreamOnDeny");
    let headers_to_downstream_on_allow = headers(f, "headersToDownstreamOnAllow");
    Some(ExtAuthzHttp {
        common: ext_authz(f)?,
        path_prefix: path_prefix.unwrap_or_default(),
        request_headers,
        additional_headers,
        headers_to_upstream_on_allow,
        headers_to_downstream_on_deny,
        headers_to_downstream_on_allow,
    })
}

/// Names of headers with at most one `*`, at an end.
fn headers(f: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let patterns = f.list::<HeaderPattern>(name).into_iter();
    patterns.map(|HeaderPattern(text)| text).collect()
}

struct HeaderPattern(String);

impl Decode for HeaderPattern {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let inner = text
            .strip_prefix('*')
            .or_else(|| text.strip_suffix('*'))
            .unwrap_or(text);
        if inner.is_empty() || inner.contains('*') {
            let help = "write `x-name`, `x-*` or `*-name`";
            return cursor.invalid_with("the name of a header", Some(help.to_owned()));
        }
        Some(Self(text.to_ascii_lowercase()))
    }
}

fn zipkin(f: &mut Fields<'_>) -> Option<Tracer> {
    let at = service(f);
    let max_tag_length = f.optional("maxTagLength");
    let enable_64bit_trace_id = f.or_default("enable64bitTraceId");
    let path = f.optional("path");
    f.get("traceContextOption")
        .and_then(|cursor| cursor.one_of(&[("USE_B3", ()), ("USE_B3_WITH_W3C_PROPAGATION", ())]));
    f.optional::<DurationOrZero>("timeout");
    f.list::<HttpHeader>("headers");
    Some(Tracer {
        at: at?,
        max_tag_length,
        enable_64bit_trace_id,
        path,
    })
}

fn opentelemetry(f: &mut Fields<'_>) -> Option<OpenTelemetry> {
    let at = service(f);
    let max_tag_length = f.optional("maxTagLength");
    let http = part(f, "http", |f| {
        let path = f.required::<NonEmpty>("path");
        let timeout = f.optional("timeout");
        let headers: Vec<HttpHeader> = f.list("headers");
        Some((path?.0, timeout, headers))
    });
    let grpc = part(f, "grpc", |f| {
        let timeout = f.optional("timeout");
        let headers: Vec<HttpHeader> = f.list("initialMetadata");
        Some((timeout, headers))
    });
    f.exclusive(&["http", "grpc"]);
    let detectors = part(f, "resourceDetectors", |f| {
        let mut there = |name| f.get(name).is_some();
        Some((there("environment"), there("dynatrace")))
    });
    part(f, "dynatraceSampler", |f| {
        f.required::<NonEmpty>("tenant");
        f.required::<u32>("clusterId");
        f.optional::<u32>("rootSpansPerMinute");
        part(f, "httpService", |f| {
            service(f);
            part(f, "http", |f| {
                f.required::<NonEmpty>("path");
                f.optional::<Duration>("timeout");
                f.list::<HttpHeader>("headers");
                Some(())
            })
        })
    });
    let (detect_environment, detect_dynatrace) = detectors.unwrap_or_default();
    let (http_path, timeout, headers) = match (http, grpc) {
        (Some((path, timeout, headers)), _) => (Some(path), timeout, headers),
        (None, Some((timeout, headers))) => (None, timeout, headers),
        (None, None) => (None, None, Vec::new()),
    };
    Some(OpenTelemetry {
        at: at?,
        max_tag_length,
        http_path,
        timeout,
        headers: headers
            .into_iter()
            .map(|HttpHeader(name, value)| (name, value))
            .collect(),
        detect_environment,
        detect_dynatrace,
    })
}

struct HttpHeader(String, String);

impl Decode for HttpHeader {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<HeaderNameText>("name");
            let value = f.optional::<String>("value");
            f.optional::<NonEmpty>("envName");
            f.exclusive(&["value", "envName"]);
            Some(Self(name?.0, value.unwrap_or_default()))
        })
    }
}

fn grpc_access_log(f: &mut Fields<'_>) -> Option<GrpcAccessLog> {
    let at = service(f);
    let log_name = f.optional("logName");
    for name in [
        "filterStateObjectsToLog",
        "additionalRequestHeadersToLog",
        "additionalResponseHeadersToLog",
        "additionalResponseTrailersToLog",
    ] {
        f.list::<NonEmpty>(name);
    }
    log_format(f);
    Some(GrpcAccessLog { at: at?, log_name })
}

fn log_format(f: &mut Fields<'_>) -> (Option<String>, BTreeMap<String, String>) {
    f.optional::<bool>("omitEmptyValues");
    part(f, "logFormat", |f| {
        let text = f.optional("text");
        let labels = f.map("labels");
        Some((text, labels))
    })
    .unwrap_or_default()
}
