//! Shares of destinations, and headers that route and destination both set.

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HeaderRules, HttpRule};

/// Finds shares that look like percentages and are none, and headers that are set twice.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for rule in documents
        .virtual_services
        .iter()
        .flat_map(|document| &document.http)
    {
        found.extend(odd_weights(rule));
        for destination in &rule.route {
            for (own, outer) in [
                (&destination.headers.request, &rule.headers.request),
                (&destination.headers.response, &rule.headers.response),
            ] {
                headers(own, outer, found);
            }
        }
    }
}

/// Weights are relative; but people who write 90 and 20 mean percentages.
fn odd_weights(rule: &HttpRule) -> Option<Diagnostic> {
    let weights = || {
        rule.route
            .iter()
            .map(|destination| u64::from(destination.weight))
    };
    let sum: u64 = weights().sum();
    let small = weights().all(|weight| weight <= 10);
    if rule.route.len() < 2 || small || sum.checked_rem(100) == Some(0) {
        return None;
    }
    let shares: Vec<String> = weights().map(|weight| share(weight, sum)).collect();
    let message = format!(
        "the weights add up to {sum}, not 100: the destinations get {}",
        shares.join(", ")
    );
    let path = rule.path.field("route");
    Some(
        Diagnostic::info(codes::ODD_WEIGHTS, rule.at.clone(), path, message).with_help(
            "weights are relative; write ones that add up to 100 to read them as percentages",
        ),
    )
}

/// A percentage with one digit.
fn share(weight: u64, sum: u64) -> String {
    let tenths = weight
        .saturating_mul(1_000)
        .saturating_add(sum / 2)
        .checked_div(sum);
    let tenths = tenths.unwrap_or_default();
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn headers(own: &HeaderRules, outer: &HeaderRules, found: &mut Vec<Diagnostic>) {
    for (name, value) in &own.set {
        let Some(other) = outer.set.get(name).filter(|other| *other != value) else {
            continue;
        };
        let message = format!(
            "the header `{name}` is set here to `{value}`, and by the route to `{other}`: here the destination wins, \
             in Istio the number of destinations decides"
        );
        let (at, path) = (value.at.clone(), &value.path);
        found.push(
            Diagnostic::warning(codes::HEADER_SET_TWICE, at, path, message)
                .with_help("set it at one place"),
        );
    }
}
