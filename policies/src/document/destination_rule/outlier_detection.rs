//! Istio's `OutlierDetection`: when an endpoint that fails is left alone.

use std::time::Duration;

use crate::decode::{Count, Cursor, Decode, Fields, WholePercent};
use crate::diagnostic::codes;

/// Istio's `OutlierDetection`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutlierDetection {
    /// `consecutive5xxErrors`, and its old name `consecutiveErrors`; 5 if not given, 0 is off.
    pub consecutive_5xx_errors: Option<u32>,
    /// `consecutiveGatewayErrors`: 502, 503, 504; off if not given or 0.
    pub consecutive_gateway_errors: Option<u32>,
    /// `splitExternalLocalOriginErrors`: failures to connect count for themselves; `false` if not given.
    pub split_external_local_origin_errors: bool,
    /// `consecutiveLocalOriginFailures`; 5 if not given.
    pub consecutive_local_origin_failures: Option<u32>,
    /// `interval` between sweeps; 10 s if not given.
    pub interval: Option<Duration>,
    /// `baseEjectionTime`, times the number of ejections; 30 s if not given.
    pub base_ejection_time: Option<Duration>,
    /// `maxEjectionPercent`, 0 to 100; 10 if not given.
    pub max_ejection_percent: Option<u32>,
    /// `minHealthPercent`, 0 to 100: below it every endpoint is used; 0 if not given.
    pub min_health_percent: Option<u32>,
    /// `outlierDetectionHttpErrorCodes`: the statuses that count as errors, 100 to 599; 5xx if empty.
    pub http_error_codes: Vec<u16>,
}

impl Decode for OutlierDetection {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let newer_beside = f.has("consecutive5xxErrors") || f.has("consecutiveGatewayErrors");
            let old = f.get("consecutiveErrors").and_then(|cursor| {
                cursor.deprecated_name("consecutiveErrors", "consecutive5xxErrors", newer_beside);
                Count::decode(&cursor)
            });
            let newer = f.optional("consecutive5xxErrors");
            let gateway = f.optional("consecutiveGatewayErrors");
            let split: bool = f.or_default("splitExternalLocalOriginErrors");
            let local: Option<u32> = f.optional("consecutiveLocalOriginFailures");
            if local.is_some_and(|count| count > 0) && !split {
                let message =
                    "`consecutiveLocalOriginFailures` needs `splitExternalLocalOriginErrors`";
                let help = "add `splitExternalLocalOriginErrors: true`";
                let field = "splitExternalLocalOriginErrors";
                f.error_at(field, codes::MISSING_FIELD, message, Some(help));
            }
            let percent = |f: &mut Fields<'_>, name| {
                let WholePercent(percent) = f.optional(name)?;
                Some(percent)
            };
            Some(Self {
                // Istio ignores the old name altogether; its authors mean it, so it counts where no newer field does.
                consecutive_5xx_errors: if newer.is_none() && gateway.is_none() {
                    old.map(|Count(count)| count)
                } else {
                    newer
                },
                consecutive_gateway_errors: gateway,
                split_external_local_origin_errors: split,
                consecutive_local_origin_failures: local,
                interval: f.optional("interval"),
                base_ejection_time: f.optional("baseEjectionTime"),
                max_ejection_percent: percent(f, "maxEjectionPercent"),
                min_health_percent: percent(f, "minHealthPercent"),
                http_error_codes: f
                    .list::<ErrorStatus>("outlierDetectionHttpErrorCodes")
                    .into_iter()
                    .map(|ErrorStatus(status)| status)
                    .collect(),
            })
        })
    }
}

struct ErrorStatus(u16);

impl Decode for ErrorStatus {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u16::try_from(u32::decode(cursor)?) {
            Ok(status @ 100..=599) => Some(Self(status)),
            _ => cursor.invalid("a status between 100 and 599"),
        }
    }
}
