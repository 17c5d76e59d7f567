//! The admin port: metrics, health, version, log level, and what a program adds.

mod guard;
mod message;
mod serve;
mod stream;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::sync::Semaphore;

use crate::health::Readiness;
use crate::log::LogHandle;
use crate::metrics::Metrics;

pub use guard::no_web_page;
pub use message::{AdminBody, AdminRequest, AdminResponse, Writing};
pub use stream::Lazy;

type Answer = Pin<Box<dyn Future<Output = AdminResponse> + Send>>;
type Handler = Arc<dyn Fn(AdminRequest) -> Answer + Send + Sync>;

/// A small HTTP/1.1 server for operators. It shows no secrets and binds to loopback unless told otherwise.
///
/// Bounded: 64 connections, 16 KiB of head, 64 KiB of body, 5 s for the head, 10 s for the body, two pages at a time that
/// are written piece by piece. A request whose
/// `Host` is a foreign name (while we are on loopback), or one that may change something with a foreign `Origin`, is
/// refused: a web page must not reach the port through the operator's browser (DNS rebinding).
#[derive(Clone)]
pub struct Admin {
    routes: Arc<BTreeMap<&'static str, Route>>,
    /// Places for pages that are written piece by piece.
    streams: Arc<Semaphore>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes.keys()).finish()
    }
}

#[derive(Default)]
struct Route {
    get: Option<Handler>,
    post: Option<Handler>,
    put: Option<Handler>,
    delete: Option<Handler>,
}

/// Collects the pages of an [`Admin`] port.
#[derive(Default)]
pub struct AdminBuilder {
    routes: BTreeMap<&'static str, Route>,
}

impl std::fmt::Debug for AdminBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.routes.keys()).finish()
    }
}

impl Admin {
    /// Begins with `/livez` alone.
    pub fn builder() -> AdminBuilder {
        AdminBuilder::default().get("/livez", |_| async {
            AdminResponse::text(StatusCode::OK, "ok\n")
        })
    }

    /// Answers one request; [`Self::serve`] calls it.
    async fn answer(&self, request: AdminRequest) -> AdminResponse {
        let below = || {
            let end = request.path.rfind('/')? + 1;
            self.routes.get(request.path.get(..end)?)
        };
        let Some(route) = self.routes.get(request.path.as_str()).or_else(below) else {
            let known: Vec<&str> = self.routes.keys().copied().collect();
            return AdminResponse::text(
                StatusCode::NOT_FOUND,
                format!("no such page; there are: {}\n", known.join(" ")),
            );
        };
        let handler = match request.method {
            Method::GET | Method::HEAD => &route.get,
            Method::POST => &route.post,
            Method::PUT => &route.put,
            Method::DELETE => &route.delete,
            _ => &None,
        };
        match handler {
            Some(handler) => handler(request).await,
            None => AdminResponse::text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
        }
    }
}

impl AdminBuilder {
    /// Adds a page.
    #[must_use]
    pub fn get<F, R>(mut self, path: &'static str, page: F) -> Self
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = AdminResponse> + Send + 'static,
    {
        self.routes.entry(path).or_default().get = Some(handler(page));
        self
    }

    /// Adds pages for everything directly below `prefix`, which ends with a slash.
    #[must_use]
    pub fn get_below<F, R>(self, prefix: &'static str, page: F) -> Self
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = AdminResponse> + Send + 'static,
    {
        debug_assert!(prefix.ends_with('/'), "a page of its own: use `get`");
        self.get(prefix, page)
    }

    /// Adds an action.
    #[must_use]
    pub fn post<F, R>(mut self, path: &'static str, action: F) -> Self
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = AdminResponse> + Send + 'static,
    {
        self.routes.entry(path).or_default().post = Some(handler(action));
        self
    }

    /// Adds a replacement of what stands at the path.
    #[must_use]
    pub fn put<F, R>(mut self, path: &'static str, action: F) -> Self
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = AdminResponse> + Send + 'static,
    {
        self.routes.entry(path).or_default().put = Some(handler(action));
        self
    }

    /// Adds a removal of what stands at the path.
    #[must_use]
    pub fn delete<F, R>(mut self, path: &'static str, action: F) -> Self
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = AdminResponse> + Send + 'static,
    {
        self.routes.entry(path).or_default().delete = Some(handler(action));
        self
    }

    /// Adds removals of everything directly below `prefix`, which ends with a slash.
    #[must_use]
    pub fn delete_below<F, R>(self, prefix: &'static str, action: F) -> Self
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = AdminResponse> + Send + 'static,
    {
        debug_assert!(prefix.ends_with('/'), "an action of its own: use `delete`");
        self.delete(prefix, action)
    }

    /// Adds `/metrics`.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        self.get("/metrics", move |_| {
            let encoded = metrics.encode();
            async move {
                match encoded {
                    Ok(text) => AdminResponse {
                        content_type: "text/plain; version=0.0.4; charset=utf-8",
                        ..AdminResponse::text(StatusCode::OK, text)
                    },
                    Err(error) => {
                        AdminResponse::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
                    }
                }
            }
        })
    }

    /// Adds `/healthz/ready`: 200, or 503 and what is missing.
    #[must_use]
    pub fn readiness(self, readiness: Readiness) -> Self {
        self.get("/healthz/ready", move |_| {
            let report = readiness.report();
            async move {
                let status = if report.ready {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                AdminResponse::json(status, &report)
            }
        })
    }

    /// Adds `/version`: `{component, version}`.
    #[must_use]
    pub fn version(self, component: &'static str, version: &'static str) -> Self {
        self.get("/version", move |_| async move {
            let body = BTreeMap::from([("component", component), ("version", version)]);
            AdminResponse::json(StatusCode::OK, &body)
        })
    }

    /// Adds `/logging`: GET shows the level, POST `level=debug` (in the query or the body) changes it.
    #[must_use]
    pub fn logging(self, log: LogHandle) -> Self {
        let shown = log.clone();
        self.get("/logging", move |_| {
            let level = shown.level();
            async move { AdminResponse::json(StatusCode::OK, &BTreeMap::from([("level", level)])) }
        })
        .post("/logging", move |request: AdminRequest| {
            let changed = request
                .parameter("level")
                .ok_or_else(|| "expected `level=info` in the query or the body".to_owned())
                .and_then(|level| log.set_level(&level).map_err(|error| error.to_string()));
            let level = log.level();
            async move {
                match changed {
                    Ok(()) => {
                        tracing::info!(level, "log level changed");
                        AdminResponse::json(StatusCode::OK, &BTreeMap::from([("level", level)]))
                    }
                    Err(reason) => {
                        AdminResponse::text(StatusCode::BAD_REQUEST, format!("{reason}\n"))
                    }
                }
            }
        })
    }

    /// Finishes the port.
    pub fn build(self) -> Admin {
        Admin {
            routes: Arc::new(self.routes),
            streams: Arc::new(Semaphore::new(stream::PLACES)),
        }
    }
}

fn handler<F, R>(page: F) -> Handler
where
    F: Fn(AdminRequest) -> R + Send + Sync + 'static,
    R: Future<Output = AdminResponse> + Send + 'static,
{
    Arc::new(move |request| -> Answer { Box::pin(page(request)) })
}

#[cfg(test)]
mod tests;
