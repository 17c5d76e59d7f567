//! `extensionProviders`: services outside the mesh that policies may name.

mod ext_authz;

use std::collections::BTreeMap;
use std::time::Duration;

pub use ext_authz::{ExtAuthz, ExtAuthzHttp, RequestBodyInCheck};
use ext_authz::{ext_authz, ext_authz_http};

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
    pub port: Spanned<u16>,
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
            let zipkin = later(f, "zipkin", |f| zipkin(f).map(ProviderKind::Zipkin));
            let opentelemetry = later(f, "opentelemetry", |f| {
                opentelemetry(f).map(ProviderKind::OpenTelemetry)
            });
            let prometheus = later(f, "prometheus", |_| Some(ProviderKind::Prometheus));
            let file = later(f, "envoyFileAccessLog", |f| {
                let path = f.optional::<NonEmpty>("path").map(|NonEmpty(path)| path);
                let (text, labels) = log_format(f);
                Some(ProviderKind::FileAccessLog { path, text, labels })
            });
            let mut log = None;
            for name in ["envoyHttpAls", "envoyTcpAls", "envoyOtelAls"] {
                let found = later(f, name, |f| {
                    grpc_access_log(f).map(ProviderKind::GrpcAccessLog)
                });
                log = log.or(found);
            }
            let mut tracer = later(f, "stackdriver", |f| {
                stackdriver(f);
                Some(ProviderKind::OtherTracer(None))
            });
            for name in OTHER_TRACERS {
                let found = later(f, name, |f| {
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

/// A provider that policies cannot use yet.
fn later<T>(
    f: &mut Fields<'_>,
    name: &'static str,
    schema: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Option<T> {
    let cursor = f.get(name)?;
    let effect = "no Telemetry can use it";
    f.warn_later(&cursor, name, codes::PROVIDER_NOT_IN_FORCE, effect);
    cursor.fields(schema)
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
    let port = f.required::<Spanned<Port>>("port");
    Some(ProviderService {
        service: service?.map(|ServiceText(text)| text),
        port: port?.map(|Port(port)| port),
    })
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
