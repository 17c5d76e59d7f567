//! The answer of `route`, in the form that `-o json` prints.

use policies::cluster::{Cluster, Transport};
use policies::document::DocumentSet;
use policies::route::{Compiled, Explanation, HttpRoute, RouteAction, WeightedClusters};
use policies::source::Location;
use serde::Serialize;

use super::Request;

/// Which route answers, and what kept the others from it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    /// The request as it is routed, its path made canonical.
    pub(super) request: Asked,
    /// None answers: 404.
    pub(super) route: Option<Found>,
    /// Whether the host has any route on this port.
    pub(super) host_is_known: bool,
    /// The routes that were looked at before, in order.
    pub(super) earlier: Vec<Earlier>,
    /// Routes of the same documents that this proxy does not have, or never looks at.
    pub(super) absent: Vec<Absent>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// The route that answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    pub(super) name: Option<String>,
    pub(super) virtual_service: String,
    pub(super) at: String,
    pub(super) timeout_seconds: Option<f64>,
    /// The path that the upstream sees, if it is another one.
    pub(super) rewritten_path: Option<String>,
    pub(super) rewritten_host: Option<String>,
    pub(super) clusters: Vec<FoundCluster>,
    pub(super) redirect: Option<Redirected>,
    pub(super) direct_response: Option<u16>,
}

#[derive(Debug, Serialize)]
pub(super) struct Redirected {
    pub(super) status: u16,
    pub(super) location: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FoundCluster {
    pub(super) name: String,
    pub(super) weight: u32,
    pub(super) share_percent: f64,
    pub(super) transport: &'static str,
    pub(super) at: String,
    pub(super) endpoints: Vec<FoundEndpoint>,
}

#[derive(Debug, Serialize)]
pub(super) struct FoundEndpoint {
    pub(super) address: String,
    pub(super) identity: Option<String>,
    pub(super) at: String,
}

/// A route that does not match.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Earlier {
    pub(super) name: Option<String>,
    pub(super) virtual_service: String,
    pub(super) at: String,
    pub(super) because: Vec<Because>,
}

#[derive(Debug, Serialize)]
pub(super) struct Because {
    pub(super) field: String,
    pub(super) wanted: String,
    pub(super) found: Option<String>,
}

/// A route that is not asked.
#[derive(Debug, Serialize)]
pub(super) struct Absent {
    pub(super) name: Option<String>,
    pub(super) at: String,
    pub(super) why: &'static str,
}

pub(super) fn answer(
    request: &Request,
    compiled: &Compiled,
    explanation: &Explanation<'_>,
    documents: &DocumentSet,
) -> Answer {
    let route = explanation.route();
    let earlier = explanation
        .steps
        .iter()
        .filter(|step| !step.mismatches.is_empty())
        .map(|step| Earlier {
            name: step.route.name.as_deref().map(str::to_owned),
            virtual_service: step.route.virtual_service.to_string(),
            at: step.route.at.to_string(),
            because: step
                .mismatches
                .iter()
                .map(|mismatch| Because {
                    field: mismatch.field.clone(),
                    wanted: mismatch.wanted.clone(),
                    found: mismatch.found.clone(),
                })
                .collect(),
        });
    Answer {
        request: Asked {
            host: request.host.clone(),
            port: request.port,
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
        },
        route: route.map(|route| found(request, compiled, route)),
        host_is_known: explanation.host_is_known,
        earlier: earlier.collect(),
        absent: absent(explanation, documents),
    }
}

fn found(request: &Request, compiled: &Compiled, route: &HttpRoute) -> Found {
    let rewrite = route.rewrite.as_ref();
    let rewritten = rewrite.and_then(|rewrite| Some(rewrite.path.as_ref()?.apply(&request.path)));
    let authority = rewrite.and_then(|rewrite| rewrite.authority.as_ref());
    let mut found = Found {
        name: route.name.as_deref().map(str::to_owned),
        virtual_service: route.virtual_service.to_string(),
        at: route.at.to_string(),
        timeout_seconds: route.timeout.map(|timeout| timeout.as_secs_f64()),
        rewritten_path: rewritten,
        rewritten_host: authority
            .map(|authority| String::from_utf8_lossy(authority.as_bytes()).into_owned()),
        clusters: Vec::new(),
        redirect: None,
        direct_response: None,
    };
    match &route.action {
        RouteAction::Forward(weighted) => found.clusters = clusters(compiled, weighted),
        RouteAction::Redirect(redirect) => {
            found.redirect = Some(Redirected {
                status: redirect.status.as_u16(),
                location: redirect.location(&request.view()),
            });
        }
        RouteAction::DirectResponse(direct) => {
            found.direct_response = Some(direct.status.as_u16());
        }
    }
    found
}

fn clusters(compiled: &Compiled, weighted: &WeightedClusters) -> Vec<FoundCluster> {
    let total: u32 = weighted.iter().map(|one| one.weight).sum();
    let shown = weighted.iter().filter_map(|one| {
        let Cluster {
            key,
            endpoints,
            transport,
            at,
            ..
        } = compiled.clusters.get(one.cluster)?;
        Some(FoundCluster {
            name: key.to_string(),
            weight: one.weight,
            share_percent: f64::from(one.weight) * 100.0 / f64::from(total.max(1)),
            transport: match transport {
                Transport::Mesh => "mTLS",
                Transport::Tls => "TLS",
                Transport::Plaintext => "plaintext",
            },
            at: at.to_string(),
            endpoints: endpoints
                .iter()
                .map(|endpoint| FoundEndpoint {
                    address: endpoint.address.to_string(),
                    identity: endpoint.expected.as_deref().map(str::to_owned),
                    at: endpoint.at.to_string(),
                })
                .collect(),
        })
    });
    shown.collect()
}

/// The rules of the documents that were looked at which this proxy left out, and those behind the route.
fn absent(explanation: &Explanation<'_>, documents: &DocumentSet) -> Vec<Absent> {
    let looked_at: Vec<&Location> = explanation
        .steps
        .iter()
        .map(|step| &step.route.at)
        .collect();
    let mut found = Vec::new();
    for document in &documents.virtual_services {
        let name = document.meta.qualified();
        let mut steps = explanation.steps.iter();
        if !steps.any(|step| *step.route.virtual_service == *name) {
            continue;
        }
        for rule in &document.http {
            if looked_at.contains(&&rule.at) {
                continue;
            }
            let behind = explanation.behind.iter().any(|route| route.at == rule.at);
            found.push(Absent {
                name: rule.name.as_deref().map(str::to_owned),
                at: rule.at.to_string(),
                why: if behind {
                    "it stands behind the route that answers"
                } else {
                    "this proxy does not have it: its match is for another gateway, port or caller, or a rule before \
                     it takes every request"
                },
            });
        }
    }
    found
}
