//! How a DestinationRule is read.

use super::{
    ConnectionPool, DestinationRule, DestinationTls, H2Upgrade, LoadBalancer, OutlierDetection,
    SimpleLoadBalancer, Subset, TrafficPolicy,
};
use crate::decode::{Cursor, Decode, Document, DurationOrZero, Fields, HostText};
use crate::diagnostic::{Code, Diagnostic, codes};
use crate::document::selector::WorkloadLabels;
use crate::document::{Meta, Spanned};

impl Document for DestinationRule {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let host = f.required::<Spanned<HostText>>("host");
        let traffic_policy = f.or_default("trafficPolicy");
        let subsets = f.list::<Subset>("subsets");
        let workload_selector = f
            .get("workloadSelector")
            .and_then(|cursor| workload_selector(&cursor));
        f.unread(
            "exportTo",
            codes::EXPORT_TO_NOT_IN_FORCE,
            "the rule is visible in every namespace",
        );
        for (position, subset) in subsets.iter().enumerate() {
            if subsets
                .iter()
                .take(position)
                .any(|earlier| earlier.name == subset.name)
            {
                let message = format!("the subset `{}` is defined twice", subset.name);
                f.report(Diagnostic::error(
                    codes::INVALID_VALUE,
                    subset.name.at.clone(),
                    &subset.name.path,
                    message,
                ));
            }
        }
        Some(Self {
            meta,
            host: host?.map(|HostText(text)| text),
            traffic_policy,
            subsets,
            workload_selector,
        })
    }
}

/// DestinationRule writes `matchLabels`, other networking kinds `labels`.
fn workload_selector(cursor: &Cursor<'_>) -> Option<crate::document::LabelSelector> {
    cursor.fields(|f| {
        if f.has("labels") {
            f.get("labels");
            return WorkloadLabels::decode(f.cursor()).map(|WorkloadLabels(selector)| selector);
        }
        Some(crate::document::LabelSelector {
            match_labels: f.map("matchLabels"),
        })
    })
}

impl Decode for Subset {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required("name");
            let labels = f.map("labels");
            let traffic_policy = f.or_default("trafficPolicy");
            Some(Self {
                name: name?,
                labels,
                traffic_policy,
            })
        })
    }
}

impl Decode for TrafficPolicy {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let tls = f
                .get("tls")
                .and_then(|cursor| tls(&cursor).map(|mode| cursor.spanned(mode)));
            let connection_pool = f.optional("connectionPool");
            let load_balancer = f.optional::<Spanned<LoadBalancer>>("loadBalancer");
            let outlier_detection = f.later(
                "outlierDetection",
                codes::OUTLIER_DETECTION_NOT_IN_FORCE,
                "endpoints that fail keep getting requests",
            );
            f.unread(
                "portLevelSettings",
                codes::PORT_LEVEL_SETTINGS_NOT_IN_FORCE,
                "every port is treated alike",
            );
            refuse_port_level_tls(f);
            for (field, effect) in [
                ("tunnel", "connections are not tunnelled"),
                ("proxyProtocol", "no PROXY protocol header is sent"),
                ("retryBudget", "requests are not retried"),
            ] {
                f.unread(field, codes::FIELD_NOT_IN_FORCE, effect);
            }
            Some(Self {
                tls,
                connection_pool,
                load_balancer,
                outlier_detection,
            })
        })
    }
}

/// Client TLS to other servers protects something, so it is refused rather than left out.
fn tls(cursor: &Cursor<'_>) -> Option<DestinationTls> {
    cursor.fields(|f| {
        let mode = f.get("mode").and_then(|cursor| {
            let mode = cursor.one_of(&[
                ("DISABLE", Some(DestinationTls::Disable)),
                ("ISTIO_MUTUAL", Some(DestinationTls::IstioMutual)),
                ("SIMPLE", None),
                ("MUTUAL", None),
            ])?;
            if mode.is_none() {
                let message = format!(
                    "the mode {} is not in force, and TLS that is asked for is never left out",
                    cursor.text().unwrap_or_default()
                );
                let help = "in force are DISABLE and ISTIO_MUTUAL".to_owned();
                cursor.error(codes::SECURITY_FIELD_NOT_IN_FORCE, message, Some(help));
            }
            mode
        });
        for field in [
            "clientCertificate",
            "privateKey",
            "caCertificates",
            "credentialName",
            "subjectAltNames",
            "sni",
            "insecureSkipVerify",
            "caCrl",
        ] {
            f.refused(
                field,
                "the workload's own certificate and the mesh's trust bundle are used",
            );
        }
        if !f.has("mode") {
            // Istio's default of a present block is DISABLE, which nobody means by writing it.
            f.required::<String>("mode");
        }
        mode
    })
}

/// Settings per port are a warning, but not when they ask for TLS.
fn refuse_port_level_tls(f: &mut Fields<'_>) {
    let Some(ports) = f.get("portLevelSettings").and_then(|cursor| cursor.items()) else {
        return;
    };
    for port in ports {
        for (field, cursor) in port.entries().unwrap_or_default() {
            if field == "tls" {
                let message =
                    "`tls` per port is not in force, and a security field is never ignored";
                f.report(Diagnostic::error(
                    codes::SECURITY_FIELD_NOT_IN_FORCE,
                    cursor.key_at(),
                    &cursor.path,
                    message,
                ));
            }
        }
    }
}

impl Decode for ConnectionPool {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        const CODE: Code = codes::CONNECTION_POOL_NOT_IN_FORCE;
        cursor.fields(|f| {
            let mut pool = Self::default();
            if let Some(tcp) = f.get("tcp") {
                tcp.fields(|f| {
                    pool.connect_timeout = f.optional("connectTimeout");
                    pool.max_connections =
                        f.later("maxConnections", CODE, "connections are not limited");
                    f.unread("tcpKeepalive", CODE, "the system's keep-alive is used");
                    f.unread("idleTimeout", CODE, "the built-in idle timeout is used");
                    f.unread(
                        "maxConnectionDuration",
                        CODE,
                        "connections have no longest life",
                    );
                    Some(())
                });
            }
            if let Some(http) = f.get("http") {
                http.fields(|f| {
                    pool.max_pending_requests = f.later(
                        "http1MaxPendingRequests",
                        CODE,
                        "waiting requests are not limited",
                    );
                    pool.max_requests =
                        f.later("http2MaxRequests", CODE, "requests are not limited");
                    pool.max_requests_per_connection = f.later(
                        "maxRequestsPerConnection",
                        CODE,
                        "connections are used again without a limit",
                    );
                    pool.max_retries = f.later("maxRetries", CODE, "requests are not retried");
                    pool.idle_timeout = f
                        .later::<DurationOrZero>(
                            "idleTimeout",
                            CODE,
                            "the built-in idle timeout is used",
                        )
                        .map(|DurationOrZero(time)| time);
                    pool.h2_upgrade = f
                        .get("h2UpgradePolicy")
                        .and_then(|cursor| h2_upgrade(&cursor))
                        .unwrap_or_default();
                    f.unread("useClientProtocol", CODE, "the port's protocol is used");
                    f.unread(
                        "maxConcurrentStreams",
                        CODE,
                        "the server's own limit is used",
                    );
                    f.unread("http2KeepAlive", CODE, "no keep-alive pings are sent");
                    Some(())
                });
            }
            Some(pool)
        })
    }
}

fn h2_upgrade(cursor: &Cursor<'_>) -> Option<H2Upgrade> {
    cursor.one_of(&[
        ("DEFAULT", H2Upgrade::Default),
        ("DO_NOT_UPGRADE", H2Upgrade::DoNotUpgrade),
        ("UPGRADE", H2Upgrade::Upgrade),
    ])
}

impl Decode for LoadBalancer {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        const CODE: Code = codes::LOAD_BALANCER_NOT_IN_FORCE;
        const EFFECT: &str = "endpoints take turns (round robin)";
        cursor.fields(|f| {
            f.exclusive(&["simple", "consistentHash"]);
            let simple = f.get("simple").and_then(|cursor| {
                let simple = simple(&cursor)?;
                if simple != SimpleLoadBalancer::RoundRobin {
                    let subject = cursor.context.subject.borrow().clone();
                    let name = cursor.text().unwrap_or_default();
                    cursor.warn(
                        CODE,
                        format!(
                            "the load balancer {name} of {subject} is not in force yet: {EFFECT}"
                        ),
                        None,
                    );
                }
                Some(Self::Simple(simple))
            });
            f.unread("consistentHash", CODE, EFFECT);
            f.unread("localityLbSetting", CODE, "localities are not looked at");
            f.unread("warmup", CODE, "new endpoints get their full share at once");
            f.unread(
                "warmupDurationSecs",
                CODE,
                "new endpoints get their full share at once",
            );
            let hash = f.has("consistentHash").then_some(Self::ConsistentHash);
            simple.or(hash).or(Some(Self::Default))
        })
    }
}

fn simple(cursor: &Cursor<'_>) -> Option<SimpleLoadBalancer> {
    let found = cursor.one_of(&[
        ("ROUND_ROBIN", SimpleLoadBalancer::RoundRobin),
        ("LEAST_REQUEST", SimpleLoadBalancer::LeastRequest),
        ("LEAST_CONN", SimpleLoadBalancer::LeastRequest),
        ("RANDOM", SimpleLoadBalancer::Random),
        ("PASSTHROUGH", SimpleLoadBalancer::Passthrough),
        ("UNSPECIFIED", SimpleLoadBalancer::RoundRobin),
    ])?;
    if cursor.text() == Some("LEAST_CONN") {
        cursor.deprecated_value("LEAST_CONN", "LEAST_REQUEST");
    }
    Some(found)
}

impl Decode for OutlierDetection {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let newer_beside = f.has("consecutive5xxErrors") || f.has("consecutiveGatewayErrors");
            let old: Option<u32> = f.get("consecutiveErrors").and_then(|cursor| {
                cursor.deprecated_name("consecutiveErrors", "consecutive5xxErrors", newer_beside);
                u32::decode(&cursor)
            });
            let newer = f.optional("consecutive5xxErrors");
            let gateway = f.optional("consecutiveGatewayErrors");
            let percent = |f: &mut Fields<'_>, name| {
                f.get(name).and_then(|cursor| match u32::decode(&cursor)? {
                    percent @ 0..=100 => Some(percent),
                    _ => cursor.invalid("a percentage between 0 and 100"),
                })
            };
            let found = Self {
                // Istio ignores the old name altogether; its authors mean it, so it counts where no newer field does.
                consecutive_5xx_errors: if newer.is_none() && gateway.is_none() {
                    old
                } else {
                    newer
                },
                consecutive_gateway_errors: gateway,
                interval: f.optional("interval"),
                base_ejection_time: f.optional("baseEjectionTime"),
                max_ejection_percent: percent(f, "maxEjectionPercent"),
                min_health_percent: percent(f, "minHealthPercent"),
            };
            f.optional::<bool>("splitExternalLocalOriginErrors");
            f.optional::<u32>("consecutiveLocalOriginFailures");
            Some(found)
        })
    }
}
