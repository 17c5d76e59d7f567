//! `defaultConfig`: what Istio tells its proxies about themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decode::{Cursor, Decode, DurationOrZero, Fields, NonEmpty, Share};
use crate::diagnostic::codes;
use crate::document::ReadinessProbe;
use crate::document::proxy_config::ProxyImage;

/// Istio's `ProxyConfig` of `meshConfig.defaultConfig`, as far as it says something about a proxy that is not Envoy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefaultProxyConfig {
    /// `concurrency`: worker threads, 0 for one per core.
    pub concurrency: Option<u32>,
    /// `drainDuration`, default 45s.
    pub drain_duration: Option<Duration>,
    /// `terminationDrainDuration`, default 5s.
    pub termination_drain_duration: Option<Duration>,
    /// `tracing.sampling`: percent of requests, default 1.
    pub tracing_sampling: Option<f64>,
    /// `tracing.zipkin.address`.
    pub zipkin_address: Option<String>,
    /// `proxyMetadata`: environment of the proxy.
    pub proxy_metadata: BTreeMap<String, String>,
    /// `readinessProbe`.
    pub readiness_probe: Option<ReadinessProbe>,
    /// `holdApplicationUntilProxyStarts`.
    pub hold_application_until_proxy_starts: bool,
    /// `image.imageType`.
    pub image_type: Option<String>,
}

/// What has no meaning without Envoy, istiod or injection; known by name so that an installation's file can be used as it is.
const ABSENT: &[&str] = &[
    "configPath",
    "binaryPath",
    "serviceCluster",
    "tracingServiceName",
    "parentShutdownDuration",
    "discoveryAddress",
    "discoveryRefreshDelay",
    "zipkinAddress",
    "statsdUdpAddress",
    "envoyMetricsServiceAddress",
    "proxyAdminPort",
    "availabilityZone",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "statNameLength",
    "proxyBootstrapTemplatePath",
    "interceptionMode",
    "sds",
    "envoyAccessLogService",
    "envoyMetricsService",
    "runtimeValues",
    "statusPort",
    "extraStatTags",
    "meshId",
    "proxyStatsMatcher",
    "privateKeyProvider",
    "proxyHeaders",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "statsEvictionInterval",
];

impl Decode for DefaultProxyConfig {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            for name in ABSENT {
                f.unread(
                    name,
                    codes::MESH_SETTING_NOT_IN_FORCE,
                    "it is a setting of Envoy",
                );
            }
            // Whom a gateway believes about its client decides what `remoteIpBlocks` see.
            f.refused(
                "gatewayTopology",
                "whose word about the client counts is set in each process",
            );
            f.refused(
                "caCertificatesPem",
                "roots come from the mesh's own authority",
            );
            let concurrency = f.optional("concurrency");
            let drain_duration = f.optional("drainDuration");
            let termination_drain_duration = f
                .optional("terminationDrainDuration")
                .map(|DurationOrZero(time)| time);
            let (tracing_sampling, zipkin_address) = f
                .get("tracing")
                .and_then(|cursor| cursor.fields(|f| Some(tracing(f))))
                .unwrap_or_default();
            Some(Self {
                concurrency,
                drain_duration,
                termination_drain_duration,
                tracing_sampling,
                zipkin_address,
                proxy_metadata: f.map("proxyMetadata"),
                readiness_probe: f.optional("readinessProbe"),
                hold_application_until_proxy_starts: f
                    .or_default("holdApplicationUntilProxyStarts"),
                image_type: f
                    .optional("image")
                    .and_then(|ProxyImage(image_type)| image_type),
            })
        })
    }
}

fn tracing(f: &mut Fields<'_>) -> (Option<f64>, Option<String>) {
    let sampling = f.optional("sampling").map(|Share(share)| share);
    let zipkin = f
        .get("zipkin")
        .and_then(|cursor| cursor.fields(|f| f.optional::<NonEmpty>("address")));
    for name in [
        "lightstep",
        "datadog",
        "stackdriver",
        "openCensusAgent",
        "customTags",
        "maxPathTagLength",
        "tlsSettings",
        "enableIstioTags",
    ] {
        f.unread(
            name,
            codes::MESH_SETTING_NOT_IN_FORCE,
            "no spans are reported",
        );
    }
    (sampling, zipkin.map(|NonEmpty(address)| address))
}
