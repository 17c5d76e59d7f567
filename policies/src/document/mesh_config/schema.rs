//! How a MeshConfig is read.

use std::collections::BTreeMap;

use super::provider::ExtensionProvider;
use super::{DefaultProviders, InboundTrafficMode, MeshAccessLog, MeshConfig};
use crate::decode::{Cursor, Decode, Document, DurationOrZero, Fields, NonEmpty, Port, is_label};
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::document::{Meta, OutboundTrafficMode, Spanned};
use crate::mesh::{DefaultExports, PathNormalization};

const CODE: Code = codes::MESH_SETTING_NOT_IN_FORCE;

/// Settings of istiod, ingress controllers and Envoy that have nothing to act upon here.
const ABSENT: &[&str] = &[
    "ingressClass",
    "ingressService",
    "ingressSelector",
    "ingressControllerMode",
    "configSources",
    "enablePrometheusMerge",
    "enableEnvoyAccessLogService",
    "disableEnvoyListenerLog",
    "discoverySelectors",
    "serviceScopeConfigs",
    "h2UpgradePolicy",
    "verifyCertificateAtClient",
];

impl Document for MeshConfig {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let trust_domain = f.optional::<Spanned<TrustDomain>>("trustDomain");
        let aliases = f.has("trustDomainAliases");
        let trust_domain_aliases = f.list::<Spanned<TrustDomain>>("trustDomainAliases");
        let name = |TrustDomain(name)| name;
        let root_namespace = f
            .get("rootNamespace")
            .and_then(|cursor| namespace(&cursor).map(|name| cursor.spanned(name)));
        let path_normalization = f
            .get("pathNormalization")
            .and_then(|cursor| cursor.fields(|f| f.optional("normalization")));
        refuse_security(f);
        for name in ABSENT {
            f.unread(name, CODE, "there is nothing here that it could set");
        }
        let later =
            |effect: &'static str| move |f: &mut Fields<'_>, name| later_text(f, name, effect);
        let stat_name = later("metrics have Istio's standard names");
        Some(Self {
            meta,
            trust_domain: trust_domain.map(|domain| domain.map(name)),
            trust_domain_aliases: aliases.then(|| {
                let aliases = trust_domain_aliases.into_iter();
                aliases.map(|alias| alias.map(name)).collect()
            }),
            root_namespace,
            path_normalization,
            extension_providers: extension_providers(f),
            default_providers: f
                .later("defaultProviders", CODE, "Telemetry is not in force")
                .unwrap_or_default(),
            outbound_traffic_policy: outbound_traffic_policy(f),
            inbound_traffic_policy: f
                .later::<Mode<_>>(
                    "inboundTrafficPolicy",
                    CODE,
                    "each process says where its application listens",
                )
                .and_then(|Mode(mode)| mode),
            default_http_retry_policy: f.optional("defaultHttpRetryPolicy"),
            default_config: f.later(
                "defaultConfig",
                CODE,
                "each process has a configuration of its own",
            ),
            access_log: access_log(f),
            enable_tracing: switch(
                f,
                "enableTracing",
                false,
                "trace headers are passed on, spans are not reported",
            ),
            enable_auto_mtls: switch(
                f,
                "enableAutoMtls",
                true,
                "endpoints with a service account are spoken to with mTLS",
            ),
            connect_timeout: f.later(
                "connectTimeout",
                CODE,
                "the built-in connect timeout is used",
            ),
            protocol_detection_timeout: f
                .later(
                    "protocolDetectionTimeout",
                    CODE,
                    "protocols are declared, and not guessed",
                )
                .map(|DurationOrZero(time)| time),
            tcp_keepalive: f.later("tcpKeepalive", CODE, "the system's keep-alive is used"),
            locality_lb_setting: f.later("localityLbSetting", CODE, "localities are not looked at"),
            dns_refresh_rate: f.later(
                "dnsRefreshRate",
                CODE,
                "names are resolved again at a built-in rate",
            ),
            inbound_cluster_stat_name: stat_name(f, "inboundClusterStatName"),
            outbound_cluster_stat_name: stat_name(f, "outboundClusterStatName"),
            default_exports: DefaultExports {
                services: f.list("defaultServiceExportTo"),
                routes: f.list("defaultVirtualServiceExportTo"),
                rules: f.list("defaultDestinationRuleExportTo"),
            },
            mesh_mtls_min_version: mesh_mtls(f),
            cluster_local: f
                .later::<ServiceSettings>("serviceSettings", CODE, "there is one cluster")
                .map_or_else(Vec::new, |ServiceSettings(hosts)| hosts),
            proxy_ports: proxy_ports(f),
        })
    }
}

/// What would change who is trusted, or how traffic is protected.
fn refuse_security(f: &mut Fields<'_>) {
    f.refused("caCertificates", "roots come from the mesh's own authority");
    f.refused(
        "ca",
        "certificates come from the authority that each process names",
    );
    f.refused(
        "certificates",
        "certificates come from the mesh's own authority",
    );
    f.refused(
        "tlsDefaults",
        "TLS outside the mesh has the built-in suites and curves",
    );
    if let Some(policy) = f.get("compliancePolicy")
        && policy.text().is_some_and(|text| !text.is_empty())
    {
        let message = "`compliancePolicy` is not in force, and a security field is never ignored";
        policy.error(codes::SECURITY_FIELD_NOT_IN_FORCE, message, None);
    }
}

fn later_text(f: &mut Fields<'_>, name: &'static str, effect: &str) -> Option<String> {
    f.later(name, CODE, effect)
}

/// A switch, of which one position is how it is anyway.
fn switch(f: &mut Fields<'_>, name: &'static str, in_force: bool, effect: &str) -> Option<bool> {
    let cursor = f.get(name)?;
    let on = bool::decode(&cursor)?;
    if on != in_force {
        f.later::<bool>(name, CODE, effect);
    }
    Some(on)
}

fn extension_providers(f: &mut Fields<'_>) -> Vec<ExtensionProvider> {
    let providers: Vec<ExtensionProvider> = f.list("extensionProviders");
    let mut first = BTreeMap::new();
    for ExtensionProvider { name, .. } in &providers {
        if let Some(earlier) = first.insert(name.value.as_str(), name) {
            let message = format!(
                "the provider `{name}` is defined twice, first at {}",
                earlier.at
            );
            let (at, path) = (name.at.clone(), &name.path);
            f.report(Diagnostic::error(codes::INVALID_VALUE, at, path, message));
        }
    }
    providers
}

/// `{mode: …}`.
struct Mode<T>(Option<T>);

impl<T: Decode> Decode for Mode<T> {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| Some(Self(f.optional("mode"))))
    }
}

/// `{}` is REGISTRY_ONLY, the first value of Istio's enumeration.
fn outbound_traffic_policy(f: &mut Fields<'_>) -> Option<OutboundTrafficMode> {
    let cursor = f.get("outboundTrafficPolicy")?;
    let Mode(mode) = Mode::<OutboundTrafficMode>::decode(&cursor)?;
    Some(mode.unwrap_or(OutboundTrafficMode::RegistryOnly))
}

fn access_log(f: &mut Fields<'_>) -> MeshAccessLog {
    let effect = "each process says where its access log goes (`accessLog`)";
    MeshAccessLog {
        file: f.later("accessLogFile", CODE, effect),
        format: f.later("accessLogFormat", CODE, effect),
        json: f
            .later("accessLogEncoding", CODE, "access logs are JSON")
            .is_some_and(|Encoding(json)| json),
    }
}

struct Encoding(bool);

impl Decode for Encoding {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[("TEXT", false), ("JSON", true)]).map(Self)
    }
}

impl Decode for DefaultProviders {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let mut names = |field| {
                let names = f.list::<Spanned<NonEmpty>>(field).into_iter();
                names.map(|name| name.map(|NonEmpty(text)| text)).collect()
            };
            Some(Self {
                tracing: names("tracing"),
                metrics: names("metrics"),
                access_logging: names("accessLogging"),
            })
        })
    }
}

/// TLS 1.2 and 1.3 are spoken within the mesh; more is not promised.
fn mesh_mtls(f: &mut Fields<'_>) -> Option<String> {
    let cursor = f.get("meshMTLS")?;
    cursor.fields(|f| {
        f.refused("ecdhCurves", "mTLS of the mesh has the built-in curves");
        f.refused("cipherSuites", "mTLS of the mesh has the built-in suites");
        let version = f.get("minProtocolVersion")?;
        let names = ["TLS_AUTO", "TLSV1_2", "TLSV1_3"];
        let name = version.one_of(&names.map(|name| (name, name)))?;
        if name == "TLSV1_3" {
            f.refused("minProtocolVersion", "mTLS of the mesh also speaks TLS 1.2");
        }
        Some(name.to_owned())
    })
}

impl Decode for InboundTrafficMode {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("PASSTHROUGH", Self::Passthrough),
            ("LOCALHOST", Self::Localhost),
        ])
    }
}

struct ServiceSettings(Vec<String>);

impl Decode for ServiceSettings {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let mut hosts = Vec::new();
        for item in cursor.items()? {
            item.fields(|f| {
                let local = f
                    .get("settings")
                    .and_then(|cursor| cursor.fields(|f| f.optional::<bool>("clusterLocal")));
                let names = f
                    .list::<NonEmpty>("hosts")
                    .into_iter()
                    .map(|NonEmpty(host)| host);
                if local == Some(true) {
                    hosts.extend(names);
                }
                Some(())
            });
        }
        Some(Self(hosts))
    }
}

fn proxy_ports(f: &mut Fields<'_>) -> BTreeMap<&'static str, u16> {
    let mut ports = BTreeMap::new();
    for name in ["proxyListenPort", "proxyInboundListenPort", "proxyHttpPort"] {
        let port = f.later::<Port>(name, CODE, "each process says where it listens");
        ports.extend(port.map(|Port(port)| (name, port)));
    }
    ports
}

/// The name of a trust domain (SPIFFE ID specification, section 2.1).
pub(crate) struct TrustDomain(pub(crate) String);

impl Decode for TrustDomain {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let lawful = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if (1..=255).contains(&text.len()) && text.bytes().all(lawful) {
            return Some(Self(text.to_owned()));
        }
        let help = "lower-case letters, digits, `.`, `-` and `_`, as in `cluster.local`";
        cursor.invalid_with("a trust domain", Some(help.to_owned()))
    }
}

/// The name of a namespace.
pub(crate) fn namespace(cursor: &Cursor<'_>) -> Option<String> {
    let text = cursor.text()?;
    if is_label(text) {
        Some(text.to_owned())
    } else {
        cursor.invalid("a namespace")
    }
}

impl Decode for PathNormalization {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("DEFAULT", Self::Base),
            ("NONE", Self::None),
            ("BASE", Self::Base),
            ("MERGE_SLASHES", Self::MergeSlashes),
            ("DECODE_AND_MERGE_SLASHES", Self::DecodeAndMergeSlashes),
        ])
    }
}
