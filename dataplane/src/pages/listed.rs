//! The parts of a snapshot as JSON.

use std::time::Duration;

use policies::cluster::{Cluster, Endpoint, Transport};
use policies::document::AbortStatus;
use policies::document::health_check::HealthCheckSettings;
use policies::listener::{GatewayServer, ListenerTls};
use policies::route::{
    Fault, HostRoutes, HttpRoute, ListedRoute, Mirror, PathRewrite, PortOf, Redirect, Rewrite,
    RouteAction, WeightedClusters,
};
use serde_json::{Value, json};

use crate::clock;
use crate::snapshot::Snapshot;

/// What a gateway listens to; nothing on a sidecar.
pub(super) fn listeners(snapshot: &Snapshot) -> Vec<Value> {
    let ports = snapshot.listeners.iter().flat_map(|all| &all.ports);
    let shown = ports.map(|port| {
        json!({
            "port": port.number,
            "protocol": port.protocol.as_str(),
            "servers": port.servers.iter().map(server).collect::<Vec<_>>(),
        })
    });
    shown.collect()
}

fn server(server: &GatewayServer) -> Value {
    let tls = server.tls.as_ref().map(|tls| match tls {
        ListenerTls::Terminated(tls) => json!({
            "mode": "SIMPLE",
            "credentialName": *tls.credential_name,
            "minVersion": format!("TLS{:?}", tls.min_version),
        }),
        ListenerTls::Passed => json!({"mode": "PASSTHROUGH"}),
    });
    json!({
        "gateway": *server.gateway,
        "name": server.name.as_deref(),
        "protocol": server.protocol.as_str(),
        "hosts": server.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tls": tls,
        "httpsRedirect": server.https_redirect,
        "at": server.at.to_string(),
    })
}

/// Every host with its routes, in the order in which they are tried.
pub(super) fn routes(snapshot: &Snapshot) -> Vec<Value> {
    let listed = snapshot.routes.hosts();
    listed.iter().map(|hosts| host(snapshot, hosts)).collect()
}

fn host(snapshot: &Snapshot, hosts: &HostRoutes<'_>) -> Value {
    json!({
        "port": match hosts.port {
            PortOf::Number(number) => json!(number),
            PortOf::Unnamed => json!("none named"),
            PortOf::Any => json!("any"),
        },
        "hosts": hosts.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "routes": hosts.routes().map(|listed| route(snapshot, &listed)).collect::<Vec<_>>(),
    })
}

fn route(snapshot: &Snapshot, listed: &ListedRoute<'_>) -> Value {
    let HttpRoute {
        name,
        virtual_service,
        at,
        action,
        timeout,
        rewrite,
        request_headers,
        response_headers,
        fault,
        cors,
        mirrors,
        ..
    } = listed.route;
    let mut shown = json!({
        "name": name.as_deref(),
        "virtualService": **virtual_service,
        "at": at.to_string(),
        "match": listed.conditions(),
        "timeout": timeout.map(seconds),
        "rewrite": rewrite.as_ref().map(rewritten),
    });
    let (field, value) = match action {
        RouteAction::Forward(clusters) => ("forward", weighted(snapshot, clusters)),
        RouteAction::Redirect(redirect) => ("redirect", redirected(redirect)),
        RouteAction::DirectResponse(direct) => (
            "directResponse",
            json!({"status": direct.status.as_u16(), "bodyBytes": direct.body.len()}),
        ),
    };
    if let Value::Object(map) = &mut shown {
        map.insert(field.to_owned(), value);
        for (field, changes) in [
            ("requestHeaders", request_headers),
            ("responseHeaders", response_headers),
        ] {
            if !changes.is_empty() {
                map.insert(field.to_owned(), changes.described());
            }
        }
        if let Some(fault) = fault {
            map.insert("fault".to_owned(), failing(fault));
        }
        if cors.is_some() {
            map.insert("corsPolicy".to_owned(), true.into());
        }
        if !mirrors.is_empty() {
            let mirror = |mirror: &Mirror| {
                json!({
                    "cluster": snapshot.cluster_name(mirror.cluster).map(|name| &**name),
                    "percent": mirror.share.percent(),
                })
            };
            map.insert("mirrors".to_owned(), mirrors.iter().map(mirror).collect());
        }
    }
    shown
}

fn failing(fault: &Fault) -> Value {
    let delay = fault
        .delayed()
        .map(|(delay, share)| json!({"fixedDelay": seconds(delay), "percent": share.percent()}));
    let abort = fault.aborted().map(|(status, share)| {
        let (kind, status) = match status {
            AbortStatus::Http(status) => ("httpStatus", status),
            AbortStatus::Grpc(status) => ("grpcStatus", status.0.into()),
        };
        json!({kind: status, "percent": share.percent()})
    });
    json!({"delay": delay, "abort": abort})
}

fn redirected(redirect: &Redirect) -> Value {
    json!({"status": redirect.status.as_u16(), "to": redirect.described()})
}

fn weighted(snapshot: &Snapshot, clusters: &WeightedClusters) -> Value {
    let shown = clusters.iter().map(|weighted| {
        let mut shown = json!({
            "cluster": snapshot.cluster_name(weighted.cluster).map(|name| &**name),
            "weight": weighted.weight,
        });
        if let Value::Object(map) = &mut shown {
            for (field, changes) in [
                ("requestHeaders", &weighted.request_headers),
                ("responseHeaders", &weighted.response_headers),
            ] {
                if !changes.is_empty() {
                    map.insert(field.to_owned(), changes.described());
                }
            }
        }
        shown
    });
    shown.collect()
}

fn rewritten(rewrite: &Rewrite) -> Value {
    let path = rewrite.path.as_ref().map(|path| match path {
        PathRewrite::Prefix { with, .. } => json!({"prefix": with}),
        PathRewrite::Full(with) => json!({"full": with}),
        PathRewrite::Regex { pattern, with } => json!({"regex": pattern.as_str(), "with": with}),
    });
    let authority = rewrite
        .authority
        .as_ref()
        .map(|authority| String::from_utf8_lossy(authority.as_bytes()));
    json!({"path": path, "authority": authority})
}

/// A cluster by its position.
pub(super) fn cluster(snapshot: &Snapshot, position: usize) -> Option<Value> {
    let (index, cluster) = snapshot.clusters.iter().nth(position)?;
    let Cluster {
        key,
        endpoints,
        transport,
        protocol,
        connect_timeout,
        health_check,
        at,
        ..
    } = cluster;
    let states = snapshot.live(index).map(|live| {
        let states = live.endpoint_states(clock::now());
        states.map(|state| state.healthy).collect::<Vec<_>>()
    });
    let states = states.unwrap_or_default();
    Some(json!({
        "name": snapshot.cluster_name(index).map(|name| &**name),
        "host": *key.host,
        "port": key.port,
        "subset": key.subset.as_deref(),
        "transport": match transport {
            Transport::Mesh => "mTLS",
            Transport::Tls => "TLS",
            Transport::Plaintext => "plaintext",
        },
        "connections": snapshot.destination(index).map(|d| d.connections.status()),
        "protocol": protocol.as_str(),
        "connectTimeout": seconds(*connect_timeout),
        "healthCheck": health_check.as_deref().map(checked),
        "at": at.to_string(),
        "endpoints": endpoints
            .iter()
            .enumerate()
            .map(|(position, one)| endpoint(one, states.get(position).copied()))
            .collect::<Vec<_>>(),
    }))
}

/// How endpoints are asked whether they are well.
fn checked(settings: &HealthCheckSettings) -> Value {
    json!({
        "probe": settings.probe.to_string(),
        "interval": seconds(settings.interval),
        "timeout": seconds(settings.timeout),
        "healthyThreshold": settings.healthy_threshold,
        "unhealthyThreshold": settings.unhealthy_threshold,
    })
}

/// `healthy`: what its health checks say; `true` if there are none.
fn endpoint(endpoint: &Endpoint, healthy: Option<bool>) -> Value {
    json!({
        "address": endpoint.address.to_string(),
        "weight": endpoint.weight,
        "labels": endpoint.labels,
        "workload": *endpoint.workload.name,
        "identity": endpoint.expected.as_deref(),
        "healthy": healthy,
        "at": endpoint.at.to_string(),
    })
}

/// As documents write it.
fn seconds(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}
