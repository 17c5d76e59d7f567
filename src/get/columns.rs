//! What a table shows of each kind, besides name and place.

use policies::document::Kind;
use serde_json::Value;

use super::Shown;

/// A column: its heading, and where its value stands below `spec`.
type Column = (&'static str, &'static str);

/// The columns of a kind.
pub(super) fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::VirtualService => &[("GATEWAYS", "/gateways"), ("HOSTS", "/hosts")],
        Kind::DestinationRule => &[("HOST", "/host"), ("SUBSETS", "/subsets/*/name")],
        Kind::Gateway => &[
            ("PORTS", "/servers/*/port/number"),
            ("HOSTS", "/servers/*/hosts"),
        ],
        Kind::ServiceEntry => &[
            ("HOSTS", "/hosts"),
            ("LOCATION", "/location"),
            ("RESOLUTION", "/resolution"),
        ],
        Kind::WorkloadEntry => &[
            ("ADDRESS", "/address"),
            ("SERVICE ACCOUNT", "/serviceAccount"),
        ],
        Kind::AuthorizationPolicy => {
            &[("ACTION", "/action"), ("SELECTOR", "/selector/matchLabels")]
        }
        Kind::PeerAuthentication => &[
            ("MODE", "/mtls/mode"),
            ("SELECTOR", "/selector/matchLabels"),
        ],
        Kind::RequestAuthentication => &[("ISSUERS", "/jwtRules/*/issuer")],
        Kind::HealthCheck => &[("HOST", "/host"), ("PORT", "/port")],
        Kind::RegistrationEntry => &[("SPIFFE ID", "/spiffeID"), ("SELECTORS", "/selectors")],
        _ => &[],
    }
}

/// What a document has in a column; the default where Istio has one.
pub(super) fn cell(shown: &Shown, column: &Column) -> String {
    let mut found = Vec::new();
    if let Some(spec) = shown.value.get("spec") {
        let steps: Vec<&str> = column.1.split('/').skip(1).collect();
        collect(spec, &steps, &mut found);
    }
    if found.is_empty() && column.0 == "ACTION" {
        found.push("ALLOW".to_owned());
    }
    found.dedup();
    if found.is_empty() {
        "-".to_owned()
    } else {
        found.join(",")
    }
}

/// The texts at a path; `*` is every item of a list.
fn collect(value: &Value, steps: &[&str], found: &mut Vec<String>) {
    let Some((step, rest)) = steps.split_first() else {
        flatten(value, found);
        return;
    };
    match value {
        Value::Array(items) if *step == "*" => {
            for item in items {
                collect(item, rest, found);
            }
        }
        _ => {
            if let Some(below) = value.get(step) {
                collect(below, rest, found);
            }
        }
    }
}

fn flatten(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| flatten(item, found)),
        Value::Object(map) => found.extend(map.iter().map(|(key, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}={text}")
        })),
        other => found.push(other.to_string()),
    }
}
