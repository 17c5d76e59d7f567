//! The mesh's external authorizers, ready to be asked: compiled once a generation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use policies::cluster::{ClusterIndex, ClusterSet};
use policies::document::{
    ExtAuthz, ExtAuthzHttp, ExtensionProvider, ProviderKind, RequestBodyInCheck,
};

/// Istio's default of `timeout`.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The external authorizers of a generation, by name.
#[derive(Debug, Default)]
pub struct Providers(HashMap<Arc<str>, Provider>);

/// One external authorizer.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    pub(crate) cluster: ClusterIndex,
    /// From the question to the end of the answer.
    pub(crate) timeout: Duration,
    /// Requests pass if it does not answer.
    pub(crate) fail_open: bool,
    /// What clients get if it does not answer.
    pub(crate) status_on_error: StatusCode,
    pub(crate) body: Option<RequestBodyInCheck>,
    pub(crate) kind: Kind,
}

/// How it is asked.
#[derive(Debug)]
pub(crate) enum Kind {
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc {
        /// Istio's `outbound_.9000_._.host`.
        authority: HeaderValue,
    },
    /// The request itself without its body, or with its beginning.
    Http(Box<HttpRules>),
}

/// Which headers pass between client, provider and application.
#[derive(Debug)]
pub(crate) struct HttpRules {
    pub(crate) path_prefix: Box<str>,
    /// Of the request to the provider.
    pub(crate) request: Patterns,
    /// What every question carries.
    pub(crate) additional: Vec<(HeaderName, HeaderValue)>,
    /// Of an allowing answer to the application.
    pub(crate) upstream_on_allow: Patterns,
    /// Of a denying answer to the client.
    pub(crate) downstream_on_deny: Patterns,
    /// Of an allowing answer to the client.
    pub(crate) downstream_on_allow: Patterns,
}

/// Names of headers: exact, `prefix*` or `*suffix`, in lower case.
#[derive(Debug)]
pub(crate) struct Patterns(Box<[Pattern]>);

#[derive(Debug)]
enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
}

impl Patterns {
    fn new(written: &[String]) -> Self {
        let pattern = |text: &String| match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(suffix), _) => Pattern::Suffix(suffix.into()),
            (None, Some(prefix)) => Pattern::Prefix(prefix.into()),
            (None, None) => Pattern::Exact(text.as_str().into()),
        };
        Self(written.iter().map(pattern).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(text) => name == &**text,
            Pattern::Prefix(text) => name.starts_with(&**text),
            Pattern::Suffix(text) => name.ends_with(&**text),
        })
    }
}

impl Providers {
    /// Compiles those of `defined` that have a cluster.
    pub(crate) fn new(
        defined: &[ExtensionProvider],
        of: &[(Arc<str>, ClusterIndex)],
        clusters: &ClusterSet,
    ) -> Self {
        let providers = of.iter().filter_map(|(name, cluster)| {
            let document = defined.iter().find(|known| *known.name.value == **name)?;
            let (common, kind) = match &document.kind {
                ProviderKind::ExtAuthzGrpc(common) => {
                    let key = &clusters.get(*cluster)?.key;
                    let authority = format!("outbound_.{}_._.{}", key.port, key.host);
                    let authority = HeaderValue::try_from(authority).ok()?;
                    (common, Kind::Grpc { authority })
                }
                ProviderKind::ExtAuthzHttp(http) => {
                    (&http.common, Kind::Http(Box::new(HttpRules::new(http))))
                }
                _ => return None,
            };
            let provider = Provider::new(Arc::clone(name), *cluster, common, kind);
            Some((Arc::clone(name), provider))
        });
        Self(providers.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Provider> {
        self.0.get(name)
    }
}

impl Provider {
    fn new(name: Arc<str>, cluster: ClusterIndex, common: &ExtAuthz, kind: Kind) -> Self {
        let status = common.status_on_error.map(StatusCode::from_u16);
        Self {
            name,
            cluster,
            timeout: common.timeout.unwrap_or(TIMEOUT),
            fail_open: common.fail_open,
            status_on_error: status.and_then(Result::ok).unwrap_or(StatusCode::FORBIDDEN),
            body: common.request_body,
            kind,
        }
    }
}

impl HttpRules {
    fn new(document: &ExtAuthzHttp) -> Self {
        let additional = document.additional_headers.iter();
        Self {
            path_prefix: document.path_prefix.as_str().into(),
            request: Patterns::new(&document.request_headers),
            // Checked when the document was read.
            additional: additional
                .filter_map(|(name, value)| {
                    let name = HeaderName::try_from(name).ok()?;
                    Some((name, HeaderValue::try_from(value).ok()?))
                })
                .collect(),
            upstream_on_allow: Patterns::new(&document.headers_to_upstream_on_allow),
            downstream_on_deny: Patterns::new(&document.headers_to_downstream_on_deny),
            downstream_on_allow: Patterns::new(&document.headers_to_downstream_on_allow),
        }
    }
}
