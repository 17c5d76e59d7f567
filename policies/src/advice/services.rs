//! How services are watched and balanced: health checks, breakers, and whose turn it is.

use super::timeouts::shown;
use crate::check::views::{View, Views};
use crate::cluster::EndpointAddress;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DestinationRule, DocumentSet, OutlierDetection, Spanned, Subset};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};
use crate::resilience::Detection;

/// Finds services that nobody watches, and breakers that cannot do what they are for.
pub(super) fn advise(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let views = Views::new(documents, registry, mesh);
    for service in registry.services() {
        let http = service.ports.iter().any(|port| port.protocol.is_http());
        if http && service.endpoints.len() > 1 {
            several_endpoints(service, &views.of(service), found);
        }
    }
    for rule in &documents.destination_rules {
        breakers(rule, registry, found);
    }
}

fn several_endpoints(service: &Service, views: &[View<'_>], found: &mut Vec<Diagnostic>) {
    let policies = || {
        views.iter().flat_map(|view| {
            let of_subsets = view.subsets().map(|subset| &subset.traffic_policy);
            view.policy().into_iter().chain(of_subsets)
        })
    };
    let count = service.endpoints.len();
    if !policies().any(|policy| policy.outlier_detection.is_some()) {
        let message = format!(
            "nobody watches the {count} endpoints of `{}`: one that fails keeps getting its share of the requests",
            service.host
        );
        let help = "add `trafficPolicy.outlierDetection` to a DestinationRule for the host";
        found.push(
            Diagnostic::info(codes::NO_OUTLIER_DETECTION, service.at.clone(), "", message)
                .with_help(help),
        );
    }
    if !policies().any(|policy| policy.load_balancer.is_some()) {
        let message = format!(
            "the {count} endpoints of `{}` take turns (ROUND_ROBIN), where Istio prefers the one with the fewest requests",
            service.host
        );
        let help = "say which you mean: `trafficPolicy.loadBalancer.simple: ROUND_ROBIN` or `LEAST_REQUEST`";
        found.push(
            Diagnostic::info(codes::DEFAULT_BALANCER, service.at.clone(), "", message)
                .with_help(help),
        );
    }
}

fn breakers(rule: &DestinationRule, registry: &Registry, found: &mut Vec<Diagnostic>) {
    if !matches!(HostPattern::parse(&rule.host), HostPattern::Exact(_)) {
        return;
    }
    let Some(service) = registry.lookup(&rule.host, &rule.meta.namespace) else {
        return;
    };
    let own = rule.traffic_policy.outlier_detection.as_ref();
    let of_subsets = rule.subsets.iter().filter_map(|subset| {
        let detection = subset.traffic_policy.outlier_detection.as_ref()?;
        Some((detection, Some(subset)))
    });
    for (detection, subset) in own.map(|own| (own, None)).into_iter().chain(of_subsets) {
        let finding = never_opens(detection).or_else(|| too_few(detection, service, subset));
        found.extend(finding);
    }
}

/// Settings that switch the breaker off whatever the endpoints do.
fn never_opens(detection: &Spanned<OutlierDetection>) -> Option<Diagnostic> {
    let compiled = Detection::from(&detection.value);
    let counted = [
        compiled.server_errors,
        compiled.gateway_errors,
        compiled.local_errors,
    ];
    let (why, help) = if counted.iter().all(Option::is_none) {
        (
            "`consecutive5xxErrors: 0` counts nothing",
            "set it to the number of failures in a row that open the breaker",
        )
    } else if detection.max_ejection_percent == Some(0) {
        (
            "`maxEjectionPercent: 0` lets no endpoint be ejected",
            "set it to the share of the endpoints that may be ejected",
        )
    } else {
        return None;
    };
    let message = format!("this breaker never opens: {why}");
    let (at, path) = (detection.at.clone(), &detection.path);
    Some(Diagnostic::warning(codes::BREAKER_NEVER_OPENS, at, path, message).with_help(help))
}

/// Settings that do not suit the number of endpoints.
fn too_few(
    detection: &Spanned<OutlierDetection>,
    service: &Service,
    subset: Option<&Subset>,
) -> Option<Diagnostic> {
    let endpoints = service
        .endpoints
        .iter()
        .map(|found| &found.endpoint)
        .filter(|endpoint| {
            subset.is_none_or(|subset| {
                let labels = &endpoint.labels;
                subset
                    .labels
                    .iter()
                    .all(|(name, value)| labels.get(name) == Some(value))
            })
        });
    let mut count: u32 = 0;
    for endpoint in endpoints {
        // A name may stand for any number of addresses.
        if matches!(endpoint.address, EndpointAddress::Name { .. }) {
            return None;
        }
        count = count.saturating_add(1);
    }
    let (at, path) = (detection.at.clone(), &detection.path);
    let warning = |code, message: String, help: &str| {
        Some(Diagnostic::warning(code, at.clone(), path, message).with_help(help))
    };
    if count == 1 {
        let time = detection
            .base_ejection_time
            .map_or_else(String::new, |time| format!(" for {}", shown(time)));
        let message = format!(
            "this breaker watches a single endpoint: once it is ejected nobody answers{time}"
        );
        return warning(
            codes::BREAKER_OVER_ONE_ENDPOINT,
            message,
            "add a second endpoint, or expect 503 while the breaker is open",
        );
    }
    if let Some(percent) = detection.max_ejection_percent
        && count > 1
        && percent.saturating_mul(count) < 100
    {
        let message = format!(
            "this breaker never opens in Istio: `maxEjectionPercent: {percent}` of {count} endpoints is less than one"
        );
        let needed = 100_u32.div_ceil(count);
        let help = format!("set `maxEjectionPercent` to {needed} or more");
        return warning(codes::BREAKER_NEVER_OPENS, message, &help);
    }
    let left = count
        .saturating_sub(1)
        .saturating_mul(100)
        .checked_div(count)?;
    if let Some(healthy) = detection
        .min_health_percent
        .filter(|healthy| *healthy > left)
    {
        let message = format!(
            "this breaker never opens for long: with one of {count} endpoints ejected {left} % are left, and below \
             `minHealthPercent: {healthy}` all are used again"
        );
        let help = format!("set `minHealthPercent` to {left} or less");
        return warning(codes::BREAKER_NEVER_OPENS, message, &help);
    }
    None
}
