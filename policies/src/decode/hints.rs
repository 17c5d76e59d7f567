//! Where fields belong that people often write in the wrong place.

/// The place of a well-known field, for a help line.
pub(super) fn misplaced(field: &str) -> Option<&'static str> {
    let place = match field {
        "retries" | "timeout" => "`spec.http[]` of a VirtualService, next to `route`",
        "attempts" | "perTryTimeout" | "retryOn" => "`spec.http[].retries` of a VirtualService",
        "route" | "match" | "rewrite" | "redirect" | "fault" | "corsPolicy" => {
            "`spec.http[]` of a VirtualService"
        }
        "subset" => "`destination`",
        "consecutiveErrors"
        | "consecutive5xxErrors"
        | "interval"
        | "baseEjectionTime"
        | "maxEjectionPercent"
        | "minHealthPercent" => "`spec.trafficPolicy.outlierDetection` of a DestinationRule",
        "outlierDetection" | "connectionPool" | "loadBalancer" => {
            "`spec.trafficPolicy` of a DestinationRule"
        }
        "maxConnections" | "connectTimeout" => "`connectionPool.tcp` of a DestinationRule",
        "http1MaxPendingRequests" | "http2MaxRequests" | "maxRequestsPerConnection" => {
            "`connectionPool.http` of a DestinationRule"
        }
        "principals" | "namespaces" => "`spec.rules[].from[].source` of an AuthorizationPolicy",
        "methods" | "paths" => "`spec.rules[].to[].operation` of an AuthorizationPolicy",
        _ => return None,
    };
    Some(place)
}

/// What a missing field looks like, for a help line.
pub(super) fn example(path: &str) -> Option<&'static str> {
    let example = match path {
        "metadata" => "metadata: {name: …}",
        "metadata.name" => "name: …",
        "spec.hosts" => "hosts: [order-service]",
        "spec.host" => "host: order-service",
        "spec.servers" => {
            "servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}]"
        }
        "spec.ports" => "ports: [{number: 8080, name: http, protocol: HTTP}]",
        "spec.spiffeID" => "spiffeID: spiffe://cluster.local/ns/my-app/sa/order-service",
        "spec.selectors" => "selectors: [\"join_token:order\"]",
        "spec.address" => "address: 10.0.0.7",
        _ => return None,
    };
    Some(example)
}
