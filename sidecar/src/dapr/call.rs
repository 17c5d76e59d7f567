//! What a request to the API asks for.

use http::{HeaderMap, Method, Request};

use super::APP_ID;
use super::refusal::Refusal;

/// The one method of Dapr's gRPC API that is served.
const INVOKE_SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";
/// Dapr's own gRPC services, which are not other applications'.
const DAPRS_OWN: &str = "/dapr.proto.";
/// The longest app-id: a DNS name.
const LONGEST_APP: usize = 253;

/// One request of the application's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// To a service: its app-id, and path and query there.
    Invoke { app: String, target: String },
    /// The same as a message of gRPC.
    InvokeService,
    /// Whether calls can be made.
    Health,
    /// Who we are.
    Metadata,
}

impl Call {
    /// Understands a request by its path, or by the header that names an app-id.
    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let uri = request.uri();
        let path = uri.path();
        if path == INVOKE_SERVICE {
            return Ok(Self::InvokeService);
        }
        if path.starts_with(DAPRS_OWN) {
            return Err(Refusal::unsupported(path));
        }
        if let Some(call) = path.strip_prefix("/v1.0/invoke/") {
            return invoke(call, uri.query());
        }
        match path {
            "/v1.0/healthz" | "/v1.0/healthz/outbound" => return Ok(Self::Health),
            "/v1.0/metadata" if request.method() == Method::GET => return Ok(Self::Metadata),
            _ => {}
        }
        match app_in(request.headers()) {
            Some(app) => Ok(Self::Invoke {
                app: checked(app)?,
                target: with_query(path.to_owned(), uri.query()),
            }),
            None => Err(Refusal::unsupported(path)),
        }
    }
}

/// `{app-id}/method/{path}`
fn invoke(call: &str, query: Option<&str>) -> Result<Call, Refusal> {
    let (app, rest) = call.split_once('/').unwrap_or((call, ""));
    let app = checked(app)?;
    let method = rest.strip_prefix("method/").filter(|path| !path.is_empty());
    let Some(path) = method else {
        return Err(Refusal::invalid(
            "no method given: the path is /v1.0/invoke/{app-id}/method/{path}",
        ));
    };
    Ok(Call::Invoke {
        app,
        target: target(path, query),
    })
}

/// The target of a request for a method, which is a path with or without its first slash.
pub(super) fn target(method: &str, query: Option<&str>) -> String {
    let slash = if method.starts_with('/') { "" } else { "/" };
    with_query(
        format!("{slash}{method}"),
        query.filter(|query| !query.is_empty()),
    )
}

fn with_query(mut path: String, query: Option<&str>) -> String {
    if let Some(query) = query {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(query);
    }
    path
}

fn app_in(headers: &HeaderMap) -> Option<&str> {
    headers.get(&APP_ID)?.to_str().ok()
}

/// An app-id must be a name: no port, no address, no URL.
pub(super) fn checked(app: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let named = !app.is_empty() && app.len() <= LONGEST_APP && app.bytes().all(plain);
    if named && app.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        Ok(app.to_owned())
    } else {
        Err(Refusal::invalid(
            "the app-id is no name of a service: expected `name` or `name.namespace`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, header: Option<&str>) -> Result<Call, Refusal> {
        let mut request = Request::get(path);
        if let Some(app) = header {
            request = request.header(&APP_ID, app);
        }
        Call::of(&request.body(()).unwrap())
    }

    fn to(app: &str, target: &str) -> Call {
        Call::Invoke {
            app: app.to_owned(),
            target: target.to_owned(),
        }
    }

    #[test]
    fn paths_and_headers_name_the_service() {
        for (path, header, expected) in [
            (
                "/v1.0/invoke/order/method/api/x?y=1",
                None,
                to("order", "/api/x?y=1"),
            ),
            (
                "/v1.0/invoke/order.shop/method/a",
                None,
                to("order.shop", "/a"),
            ),
            (
                "/v1.0/invoke/order/method//a%2Fb",
                None,
                to("order", "/a%2Fb"),
            ),
            ("/api/x?y=1", Some("order"), to("order", "/api/x?y=1")),
            ("/v1.0/healthz/outbound", None, Call::Health),
            ("/v1.0/healthz", None, Call::Health),
            ("/v1.0/metadata", None, Call::Metadata),
            (INVOKE_SERVICE, None, Call::InvokeService),
        ] {
            assert_eq!(call(path, header).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for (path, header, status) in [
            ("/v1.0/invoke/order", None, 400),
            ("/v1.0/invoke/order/method", None, 400),
            ("/v1.0/invoke/order/method/", None, 400),
            ("/v1.0/invoke//method/x", None, 400),
            ("/v1.0/invoke/10.0.0.1/method/x", None, 400),
            ("/v1.0/invoke/a:80/method/x", None, 400),
            ("/v1.0/invoke/http://a.test/method/x", None, 400),
            ("/x", Some("a b"), 400),
            ("/v1.0/state/store", None, 501),
            ("/dapr.proto.runtime.v1.Dapr/GetState", None, 501),
            ("/", None, 501),
        ] {
            assert_eq!(call(path, header).unwrap_err().status, status, "{path}");
        }
    }
}
