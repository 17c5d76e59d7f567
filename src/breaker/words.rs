//! What a breaker will do with the endpoints that are there now, in words.

use dataplane::breakers::{ClusterShown, DetectionShown};

/// The lines about one cluster.
pub(super) fn explain(cluster: &ClusterShown) -> Vec<String> {
    let count = cluster.endpoints.len();
    let mut lines = vec![format!(
        "{}, chosen by {}.",
        counted(count, "endpoint", "endpoints"),
        cluster.balancer
    )];
    if let Some(most) = cluster.max_requests {
        lines.push(format!(
            "At most {} at once; one more is answered with 503 (UO) at once.",
            counted(
                usize::try_from(most).unwrap_or(usize::MAX),
                "request",
                "requests"
            )
        ));
    }
    match &cluster.detection {
        None => lines.push(
            "No breaker: an endpoint that fails keeps its share of the requests. `outlierDetection` of a DestinationRule \
             sets one up."
                .to_owned(),
        ),
        Some(detection) => breaker(detection, count, &mut lines),
    }
    lines
}

fn breaker(detection: &DetectionShown, count: usize, lines: &mut Vec<String>) {
    let triggers = triggers(detection);
    if triggers.is_empty() {
        lines.push("It never opens: no errors are counted.".to_owned());
        return;
    }
    if detection.may_eject == 0 {
        lines.push(
            "It never opens: `maxEjectionPercent: 0` lets no endpoint be ejected.".to_owned(),
        );
        return;
    }
    lines.push(format!(
        "An endpoint is ejected after {}. A success in between begins the row anew.",
        triggers.join(", or ")
    ));
    let base = detection.base_ejection_time;
    lines.push(format!(
        "It then gets no requests for {}; the next time for {}, and so on up to {}. With every {} without an ejection one is \
         forgotten.",
        span(base),
        span(base.saturating_mul(2).min(detection.longest_ejection_time)),
        span(detection.longest_ejection_time),
        span(detection.interval)
    ));
    lines.push(
        "When that time is over it is half-open: one request tries it. If it succeeds the endpoint is back, otherwise it is \
         ejected again, for longer."
            .to_owned(),
    );
    maximum(detection, count, lines);
    health(detection, count, lines);
}

/// What ejects an endpoint.
fn triggers(detection: &DetectionShown) -> Vec<String> {
    let unreachable = if detection.split_external_local_origin_errors {
        ""
    } else {
        ", or a connection that fails, breaks or takes too long"
    };
    let mut found = Vec::new();
    if let Some(errors) = detection.consecutive_5xx_errors {
        let statuses = if detection.error_codes.is_empty() {
            "any 5xx".to_owned()
        } else {
            let codes: Vec<String> = detection.error_codes.iter().map(u16::to_string).collect();
            codes.join(", ")
        };
        found.push(format!(
            "{errors} errors in a row ({statuses}{unreachable})"
        ));
    }
    if let Some(errors) = detection.consecutive_gateway_errors {
        found.push(format!(
            "{errors} gateway errors in a row (502, 503, 504{unreachable})"
        ));
    }
    if let Some(errors) = detection.consecutive_local_origin_failures {
        found.push(format!(
            "{errors} connections in a row that fail, break or take too long"
        ));
    }
    found
}

/// How many may be out, and what happens then.
fn maximum(detection: &DetectionShown, count: usize, lines: &mut Vec<String>) {
    let (percent, most) = (detection.max_ejection_percent, detection.may_eject);
    let share = usize::try_from(percent)
        .unwrap_or(100)
        .saturating_mul(count)
        / 100;
    lines.push(if share == 0 {
        format!(
            "{percent} % of {} is less than one; one may be ejected all the same (Istio: none).",
            counted(count, "endpoint", "endpoints")
        )
    } else {
        format!("At most {most} of {count} may be out at once (maxEjectionPercent {percent}).")
    });
    lines.push(if most >= count {
        "When all of them are out, the service's breaker is open: requests are answered with 503 (UH) at once.".to_owned()
    } else {
        format!(
            "The service's breaker never opens as a whole: {} always kept, whatever it answers.",
            if count - most == 1 { "one endpoint is".to_owned() } else { format!("{} endpoints are", count - most) }
        )
    });
}

/// What `minHealthPercent` does then.
fn health(detection: &DetectionShown, count: usize, lines: &mut Vec<String>) {
    let least = usize::try_from(detection.min_health_percent).unwrap_or(0);
    if least == 0 {
        lines.push(
            "Endpoints that are out stay out, however few are left (minHealthPercent 0)."
                .to_owned(),
        );
        return;
    }
    let left = |out: usize| {
        count
            .saturating_sub(out)
            .saturating_mul(100)
            .checked_div(count)
    };
    let panics =
        |out: usize| count.saturating_sub(out).saturating_mul(100) < least.saturating_mul(count);
    let first = (1..=detection.may_eject).find(|out| panics(*out));
    lines.push(match first {
        Some(out) => format!(
            "With {out} out, {} % are left, fewer than minHealthPercent {least}: then every endpoint is used again, also the \
             ejected ones{}.",
            left(out).unwrap_or_default(),
            if out == 1 { ", so that the breaker keeps nobody away" } else { "" }
        ),
        None => format!(
            "With {} out, {} % are left, which satisfies minHealthPercent {least}.",
            detection.may_eject,
            left(detection.may_eject).unwrap_or_default()
        ),
    });
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Milliseconds as people read them.
pub(super) fn span(millis: u64) -> String {
    if millis >= 1_000 {
        crate::terminal::span(millis.saturating_add(500) / 1_000)
    } else {
        format!("{millis} ms")
    }
}

/// A reason as people say it.
pub(super) fn spoken(reason: &str) -> &str {
    match reason {
        "consecutive-5xx" => "errors in a row",
        "consecutive-gateway-errors" => "gateway errors in a row",
        "consecutive-local-origin-failures" => "connections that failed in a row",
        "trial-failed" => "a failed trial",
        "trial-succeeded" => "a successful trial",
        "ejection-time-over" => "its time was over",
        "operator" => "an operator",
        "no-outlier-detection" => "no document asks for it any more",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::breakers::EndpointShown;

    fn cluster(endpoints: usize, max: u32, min: u32) -> ClusterShown {
        let endpoint = |number| EndpointShown {
            address: format!("127.0.0.1:{number}"),
            workload: String::new(),
            breaker: "closed".to_owned(),
            remaining: None,
            reason: None,
            healthy: true,
            active: 0,
            consecutive_5xx_errors: 0,
            consecutive_gateway_errors: 0,
            consecutive_local_origin_failures: 0,
            ejections: 0,
            weight: 1,
            locality: None,
        };
        let share = usize::try_from(max).unwrap() * endpoints / 100;
        ClusterShown {
            cluster: "outbound|80||a.b".to_owned(),
            host: "a.b".to_owned(),
            service: "a".to_owned(),
            port: 80,
            subset: None,
            breaker: "closed".to_owned(),
            balancer: "ROUND_ROBIN".to_owned(),
            active: 0,
            max_requests: None,
            overflows: 0,
            spared: 0,
            detection: Some(DetectionShown {
                consecutive_5xx_errors: Some(5),
                consecutive_gateway_errors: None,
                consecutive_local_origin_failures: None,
                split_external_local_origin_errors: false,
                error_codes: Vec::new(),
                interval: 30_000,
                base_ejection_time: 30_000,
                longest_ejection_time: 300_000,
                max_ejection_percent: max,
                may_eject: if max == 0 { 0 } else { share.max(1) },
                min_health_percent: min,
            }),
            endpoints: (0..endpoints).map(endpoint).collect(),
            transitions: Vec::new(),
        }
    }

    fn says(cluster: &ClusterShown, what: &str) {
        let text = explain(cluster).join("\n");
        assert!(text.contains(what), "{what}\n{text}");
    }

    /// Seed 004: half of them may go, half must be healthy; people with one or two instances are surprised.
    #[test]
    fn the_present_number_of_endpoints_decides() {
        let seeds = |count| cluster(count, 50, 50);
        says(&seeds(4), "At most 2 of 4 may be out");
        says(&seeds(4), "With 2 out, 50 % are left, which satisfies");
        says(&seeds(2), "At most 1 of 2");
        says(&seeds(2), "one endpoint is always kept");
        says(&seeds(1), "50 % of 1 endpoint is less than one");
        says(
            &seeds(1),
            "With 1 out, 0 % are left, fewer than minHealthPercent 50",
        );
        says(&seeds(1), "keeps nobody away");
        says(&cluster(2, 100, 0), "answered with 503 (UH) at once");
        says(&cluster(2, 100, 0), "stay out");
        says(&cluster(2, 0, 0), "never opens");
        says(&cluster(10, 100, 30), "With 8 out, 20 % are left");
        says(&cluster(2, 10, 0), "(Istio: none)");
    }

    #[test]
    fn what_ejects_is_said() {
        let mut cluster = cluster(2, 50, 0);
        says(
            &cluster,
            "5 errors in a row (any 5xx, or a connection that fails",
        );
        says(
            &cluster,
            "for 30 s; the next time for 1 min 0 s, and so on up to 5 min 0 s",
        );
        let detection = cluster.detection.as_mut().unwrap();
        detection.consecutive_5xx_errors = None;
        says(&cluster, "no errors are counted");
        let detection = cluster.detection.as_mut().unwrap();
        detection.split_external_local_origin_errors = true;
        detection.consecutive_local_origin_failures = Some(2);
        detection.consecutive_gateway_errors = Some(3);
        says(
            &cluster,
            "3 gateway errors in a row (502, 503, 504), or 2 connections in a row",
        );
        cluster.detection = None;
        cluster.max_requests = Some(1);
        says(&cluster, "No breaker");
        says(&cluster, "At most 1 request at once");
    }
}
