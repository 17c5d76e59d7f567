//! The operators' port of the gateway.

use http::StatusCode;
use runtime::admin::{Admin, AdminResponse};
use runtime::lifecycle::Lifecycle;
use runtime::log::LogHandle;
use runtime::metrics::Metrics;

use crate::status::StatusSources;

/// The pages: `/metrics`, `/healthz/ready`, `/livez`, `/version`, `/status`, `/snapshot`,
/// `/documents`, `/breakers`, `/registry`, `/decisions`, `/rules`, `/explain`, `/logging`, and the actions
/// `/breakers/reset`, `/reload` and `/identity/renew`.
pub(crate) fn pages(
    sources: &StatusSources,
    metrics: Metrics,
    log: LogHandle,
    lifecycle: &Lifecycle,
) -> Admin {
    let shown = sources.clone();
    let lifecycle = lifecycle.clone();
    let keeper = sources.keeper.clone();
    let pages = dataplane::pages::add(Admin::builder(), &sources.policies);
    let pages =
        dataplane::registry::page::add(pages, &sources.policies, sources.watching.as_ref(), None);
    let pages = dataplane::breakers::add(pages, &sources.policies);
    dataplane::decisions::add(pages, &sources.policies, &sources.decisions)
        .metrics(metrics)
        .readiness(sources.readiness.clone())
        .version("gateway", env!("CARGO_PKG_VERSION"))
        .logging(log)
        .get("/status", move |_| {
            let status = shown.status();
            async move { AdminResponse::json(StatusCode::OK, &status) }
        })
        .post("/reload", move |_| {
            lifecycle.request_reload();
            async { AdminResponse::text(StatusCode::ACCEPTED, "reload asked for\n") }
        })
        .post("/identity/renew", move |_| {
            keeper.renew_now();
            async { AdminResponse::text(StatusCode::ACCEPTED, "renewal asked for\n") }
        })
        .build()
}
