//! How a Telemetry is read.

use super::{
    AccessLogging, CustomTag, Metric, Metrics, MetricsOverride, TagOverride, Telemetry, Tracing,
    WorkloadMode,
};
use crate::decode::{Cursor, Decode, Document, Fields, HeaderNameText, NonEmpty, Share, Standing};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Attachment, Meta, Spanned};

impl Document for Telemetry {
    const STANDING: Standing = Standing::Later {
        code: codes::TELEMETRY_NOT_IN_FORCE,
        effect: "access log and metrics are those of each process's own configuration",
    };

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let attachment = Attachment::read(f, &["targetRefs", "targetRef"]);
        Some(Self {
            meta,
            attachment,
            tracing: f.list("tracing"),
            metrics: f.list("metrics"),
            access_logging: f.list("accessLogging"),
        })
    }
}

impl Decode for WorkloadMode {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("CLIENT_AND_SERVER", Self::ClientAndServer),
            ("CLIENT", Self::Client),
            ("SERVER", Self::Server),
        ])
    }
}

/// `match: {mode: …}`.
fn mode(f: &mut Fields<'_>) -> WorkloadMode {
    f.get("match")
        .and_then(|cursor| cursor.fields(|f| f.optional("mode")))
        .unwrap_or_default()
}

/// `providers: [{name: …}]`.
fn providers(f: &mut Fields<'_>) -> Vec<Spanned<String>> {
    let providers = f.list::<Provider>("providers");
    let names = providers.into_iter().map(|Provider(name)| name);
    names.collect()
}

struct Provider(Spanned<String>);

impl Decode for Provider {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<Spanned<NonEmpty>>("name")?;
            Some(Self(name.map(|NonEmpty(text)| text)))
        })
    }
}

impl Decode for Tracing {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                mode: mode(f),
                providers: providers(f),
                random_sampling_percentage: f
                    .optional("randomSamplingPercentage")
                    .map(|Share(share)| share),
                disable_span_reporting: f.optional("disableSpanReporting"),
                custom_tags: f.map("customTags"),
                use_request_id_for_trace_sampling: f.optional("useRequestIdForTraceSampling"),
                enable_istio_tags: f.optional("enableIstioTags"),
                disable_context_propagation: f.optional("disableContextPropagation"),
            })
        })
    }
}

const TAG_SOURCES: &[&str] = &["literal", "environment", "header", "formatter"];

impl Decode for CustomTag {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let value = |f: &mut Fields<'_>, name: &'static str| {
                let cursor = f.get(name)?;
                let NonEmpty(value) = cursor.fields(|f| f.required("value"))?;
                Some(value)
            };
            let literal = value(f, "literal").map(Self::Literal);
            let environment = f.get("environment").and_then(|cursor| {
                cursor.fields(|f| {
                    let name = f.required("name");
                    let default_value = f.or_default("defaultValue");
                    let NonEmpty(name) = name?;
                    Some(Self::Environment {
                        name,
                        default_value,
                    })
                })
            });
            let header = f.get("header").and_then(|cursor| {
                cursor.fields(|f| {
                    let name = f.required("name");
                    let default_value = f.or_default("defaultValue");
                    let HeaderNameText(name) = name?;
                    Some(Self::Header {
                        name,
                        default_value,
                    })
                })
            });
            let formatter = value(f, "formatter").map(Self::Formatter);
            f.exclusive(TAG_SOURCES);
            f.any_of(TAG_SOURCES);
            literal.or(environment).or(header).or(formatter)
        })
    }
}

impl Decode for Metrics {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                providers: providers(f),
                overrides: f.list("overrides"),
                reporting_interval: f.optional("reportingInterval"),
            })
        })
    }
}

impl Decode for MetricsOverride {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let found = f.get("match").and_then(|cursor| {
                cursor.fields(|f| {
                    let metric = f.get("metric").and_then(|cursor| istio_metric(&cursor));
                    let custom = f
                        .optional::<NonEmpty>("customMetric")
                        .map(|NonEmpty(name)| Metric::Custom(name));
                    f.exclusive(&["metric", "customMetric"]);
                    let mode: WorkloadMode = f.or_default("mode");
                    Some((metric.or(custom), mode))
                })
            });
            let (metric, mode) = found.unwrap_or_default();
            Some(Self {
                metric,
                mode,
                disabled: f.optional("disabled"),
                tag_overrides: f.map("tagOverrides"),
            })
        })
    }
}

/// `None` for all of them.
fn istio_metric(cursor: &Cursor<'_>) -> Option<Metric> {
    const METRICS: &[&str] = &[
        "REQUEST_COUNT",
        "REQUEST_DURATION",
        "REQUEST_SIZE",
        "RESPONSE_SIZE",
        "TCP_OPENED_CONNECTIONS",
        "TCP_CLOSED_CONNECTIONS",
        "TCP_SENT_BYTES",
        "TCP_RECEIVED_BYTES",
        "GRPC_REQUEST_MESSAGES",
        "GRPC_RESPONSE_MESSAGES",
    ];
    let mut allowed = vec![("ALL_METRICS", None)];
    allowed.extend(METRICS.iter().map(|name| (*name, Some(*name))));
    cursor.one_of(&allowed)?.map(Metric::Istio)
}

impl Decode for TagOverride {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let remove = f
                .get("operation")
                .and_then(|cursor| cursor.one_of(&[("UPSERT", false), ("REMOVE", true)]))
                .unwrap_or(false);
            let value = f.optional::<Spanned<String>>("value");
            let value = value.filter(|value| !value.is_empty());
            match (remove, value) {
                (false, Some(value)) => Some(Self::Upsert(value.value)),
                (true, None) => Some(Self::Remove),
                (false, None) => {
                    f.missing("value");
                    None
                }
                (true, Some(value)) => {
                    let message = "`value` belongs to the operation UPSERT";
                    f.report(Diagnostic::error(
                        codes::EXCLUSIVE_FIELDS,
                        value.at,
                        value.path,
                        message,
                    ));
                    None
                }
            }
        })
    }
}

impl Decode for AccessLogging {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                mode: mode(f),
                providers: providers(f),
                disabled: f.optional("disabled"),
                filter: f.get("filter").and_then(|cursor| {
                    let text = cursor.fields(|f| f.required::<Spanned<NonEmpty>>("expression"))?;
                    Some(text.map(|NonEmpty(text)| text))
                }),
            })
        })
    }
}
