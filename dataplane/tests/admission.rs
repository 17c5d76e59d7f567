//! The way through the steps of an admission: their order, their answers, and what a plain request costs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::panic_in_result_fn,
    reason = "a failed test is a panic"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocations::counted;
use dataplane::access::{Access, Admitted, Caller, Judged, Peeked, Refused};
use dataplane::config::AuthorizationMode;
use dataplane::{PolicyStore, ProxyContext, Role, Snapshot};
use http::{HeaderMap, Method, Version};
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use prometheus::Registry;

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;

/// Reading is for all, writing for nobody; `/vain` is for a provider that nobody declared.
const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: read, namespace: my-app}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
";

const NOBODY: &str = "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: vain, namespace: my-app}
spec:
  action: CUSTOM
  provider: {name: nobody}
  rules: [{to: [{operation: {paths: [/vain]}}]}]
";

const TOKENS: &str = "---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: my-app}
spec:
  jwtRules:
  - issuer: https://issuer.example
    jwks: '{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}'
    outputClaimToHeaders: [{header: x-subject, claim: sub}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-header, namespace: my-app}
spec:
  action: CUSTOM
  provider: {name: nobody}
  rules: [{when: [{key: 'request.headers[x-subject]', values: ['*']}]}]
";

fn snapshot(documents: &str) -> std::sync::Arc<Snapshot> {
    let context = ProxyContext {
        mesh: Mesh::default(),
        workload: Workload {
            name: "catalog".to_owned(),
            namespace: "my-app".to_owned(),
            service_account: "catalog".to_owned(),
            labels: BTreeMap::new(),
        },
        role: Role::Sidecar,
        credentials: None,
        resolver: dataplane::resolve::Resolver::default(),
    };
    let store = PolicyStore::fixed(context, &Registry::new()).unwrap();
    let files = vec![SourceFile::new("authz.yaml", documents)];
    assert!(store.apply(Ok(files.into())), "{:?}", store.state());
    store.snapshot().unwrap()
}

/// A request without a body.
struct Request {
    method: Method,
    path: &'static str,
    query: Option<String>,
    headers: HeaderMap,
}

impl Request {
    fn new(method: Method, path: &'static str) -> Self {
        Self {
            method,
            path,
            query: None,
            headers: HeaderMap::new(),
        }
    }
}

impl Judged for Request {
    fn version(&self) -> Version {
        Version::HTTP_11
    }
    fn method(&self) -> &Method {
        &self.method
    }
    fn host(&self) -> &'static str {
        "catalog"
    }
    fn path(&self) -> &str {
        self.path
    }
    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
    fn set_query(&mut self, query: Option<String>) {
        self.query = query;
    }
    async fn peek(&mut self, _: usize) -> io::Result<Peeked> {
        Ok(Peeked::nothing())
    }
}

/// Admits without waiting for anything: here nobody is to be asked.
fn admit<'s>(
    access: &Access,
    snapshot: &'s Snapshot,
    request: &mut Request,
) -> Result<Admitted<'s>, Box<Refused<'s>>> {
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let caller = Caller {
        identity: None,
        source: SocketAddr::new(here, 50_000),
        remote_ip: here,
        destination: SocketAddr::new(here, 8080),
        sni: None,
        scheme: "http",
        own: None,
    };
    let admission = pin!(access.admit(snapshot, &caller, request));
    match admission.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("an admission waits for nobody"),
    }
}

fn audit() -> Access {
    Access {
        mode: AuthorizationMode::Audit,
        ..Access::default()
    }
}

#[test]
fn a_plain_request_passes_without_waiting_and_without_memory() {
    let snapshot = snapshot(POLICIES);
    let access = Access::default();
    let mut request = Request::new(Method::GET, "/a");
    let (passed, allocations) = counted(|| admit(&access, &snapshot, &mut request).is_ok());
    assert_eq!((passed, allocations), (true, 0));
}

#[test]
fn a_denial_names_its_rule_in_the_log_and_its_number_to_the_client() {
    let snapshot = snapshot(POLICIES);
    let mut request = Request::new(Method::POST, "/a");
    let refused = admit(&Access::default(), &snapshot, &mut request).unwrap_err();
    let number = refused.note.decision.unwrap().to_string();
    assert_eq!(
        refused.refusal.reply.details,
        "rbac_access_denied_matched_policy[none]"
    );
    let response = refused.refusal.into_response(false);
    assert_eq!(response.headers()["x-portcullis-decision"], number);
    assert_eq!(
        (response.status().as_u16(), &response.body()[..]),
        (403, &b"RBAC: access denied"[..])
    );

    let admitted = admit(&audit(), &snapshot, &mut request).unwrap();
    assert!(admitted.note.let_pass && admitted.note.decision.is_some());
}

#[test]
fn nobody_to_be_asked_is_a_denial_before_everything_else() {
    let snapshot = snapshot(&format!("{POLICIES}{NOBODY}"));
    // The ALLOW policy would deny a POST too: CUSTOM comes first.
    for method in [Method::GET, Method::POST] {
        let mut request = Request::new(method, "/vain");
        let refused = admit(&Access::default(), &snapshot, &mut request).unwrap_err();
        assert_eq!(
            refused.refusal.reply.details,
            "rbac_access_denied_matched_policy[ns[my-app]-policy[vain]-rule[0]-deny-due-to-bad-CUSTOM-action]"
        );
    }
    let mut request = Request::new(Method::GET, "/vain");
    let admitted = admit(&audit(), &snapshot, &mut request).unwrap();
    assert!(admitted.note.let_pass);
    assert_eq!(&*admitted.note.by.unwrap().policy_name, "vain");
    assert!(
        admit(
            &Access::default(),
            &snapshot,
            &mut Request::new(Method::GET, "/")
        )
        .is_ok()
    );
}

#[test]
fn tokens_are_enforced_in_audit_mode_too_and_no_client_speaks_for_a_claim() {
    let snapshot = snapshot(&format!("{POLICIES}{TOKENS}"));
    let forged = |authorization: Option<&'static str>| {
        let mut request = Request::new(Method::GET, "/");
        request.headers.insert("x-subject", "root".parse().unwrap());
        if let Some(authorization) = authorization {
            let value = http::HeaderValue::from_static(authorization);
            request.headers.insert("authorization", value);
        }
        request
    };
    for access in [Access::default(), audit()] {
        // The CUSTOM rule about the header would refuse it, if it saw it.
        let mut request = forged(None);
        assert!(admit(&access, &snapshot, &mut request).is_ok());
        assert!(request.headers.is_empty());
        let refused = admit(&access, &snapshot, &mut forged(Some("Bearer x"))).unwrap_err();
        assert_eq!(refused.refusal.reply.status, 401);
        assert!(
            refused
                .refusal
                .reply
                .details
                .starts_with("jwt_authn_access_denied{")
        );
        let grpc = refused.refusal.into_response(true);
        assert_eq!(
            (grpc.status().as_u16(), &grpc.headers()["grpc-status"]),
            (200, &"16".parse().unwrap())
        );
        assert!(grpc.headers().contains_key("x-portcullis-decision"));
    }
}
