//! `policies/examples/`, each beside the demo: what it is said to do is what it does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use authz::{Facts, HttpFacts, MtlsMode, MtlsModes, PolicySet, Verdict, normalize};
use http::HeaderMap;
use identity::id::SpiffeId;
use policies::diagnostic::{Diagnostic, Severity};
use policies::document::{DocumentSet, Meta};
use policies::load::load;
use policies::mesh::Mesh;
use policies::registry::Registry;
use policies::route::{HttpRoute, Proxy, RequestView, RouteAction, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

/// Examples, and the codes that `lint` says about them on purpose; the files themselves say so too.
const EXAMPLES: &[(&[&str], &[&str])] = &[
    (&["allow-by-principal.yaml"], &[]),
    (&["canary-by-header.yaml"], &[]),
    (&["canary-by-weight.yaml"], &[]),
    (&["circuit-breaker.yaml"], &[]),
    (&["default-deny.yaml"], &[]),
    (&["deny-admin.yaml"], &[]),
    (&["egress-allow-list.yaml"], &[]),
    (&["health-check.yaml"], &[]),
    (&["health-open.yaml"], &[]),
    (&["https-redirect.yaml"], &[]),
    (&["jwt-at-the-edge.yaml"], &[]),
    (&["mtls-migration/1-permissive.yaml"], &[]),
    (
        &[
            "mtls-migration/1-permissive.yaml",
            "mtls-migration/2-strict-for-one.yaml",
        ],
        &[],
    ),
    (
        &[
            "mtls-migration/2-strict-for-one.yaml",
            "mtls-migration/3-strict.yaml",
        ],
        &[],
    ),
    (&["mtls-migration/3-strict.yaml"], &[]),
    (&["namespace-isolation.yaml"], &[]),
    (&["rate-limit.yaml"], &[]),
    (&["retries-idempotent.yaml"], &["PC0604"]),
    (&["timeouts.yaml"], &[]),
];

const ORDER: Option<&str> = Some("my-app/order-service");
const BILLING: Option<&str> = Some("my-app/billing");
const STRANGER: Option<&str> = Some("elsewhere/visitor");
const GATEWAY: Option<&str> = Some("istio-system/istio-ingressgateway");
const NOBODY: Option<&str> = None;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn mesh() -> Mesh {
    Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    }
}

fn read(path: &str) -> SourceFile {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    SourceFile::new(path, text)
}

/// The instances that register with `portcullis up`, but for the second ones that are like the first.
fn endpoints() -> SourceFile {
    let entry = |app: &str, name: &str, version: &str, port: u16| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: my-app}}\n\
             spec: {{address: 127.0.0.1, ports: {{http: {port}}}, labels: {{app: {app}, version: {version}}}, \
             serviceAccount: {app}}}\n---\n"
        )
    };
    let text = entry("product-service", "product-service-v1", "v1", 1)
        + &entry("product-service", "product-service-v2", "v2", 2)
        + &entry("order-service", "order-service", "v1", 3)
        + &entry("catalog-service", "catalog-service", "v1", 4)
        + &entry("payment-service", "payment-service", "v1", 5)
        + &entry("inventory-service", "inventory-service", "v1", 6);
    SourceFile::new("endpoints.yaml", text)
}

fn name(meta: &Meta) -> String {
    format!("{} {}", meta.kind, meta.qualified())
}

/// The demo's documents but those that the examples replace, as `portcullis apply` does.
fn demo_beside(examples: &[SourceFile]) -> Vec<SourceFile> {
    let replaced: BTreeSet<String> = load(examples, &mesh())
        .documents
        .metas()
        .map(name)
        .collect();
    let mut kept = Vec::new();
    for file in [
        "authorization",
        "destination-rules",
        "gateway",
        "peer-authentication",
        "services",
        "virtual-services",
    ] {
        let path = format!("deploy/demo/policies/{file}.yaml");
        for (number, text) in read(&path).text.split("\n---\n").enumerate() {
            let document = SourceFile::new(format!("{path}#{number}"), text);
            let loaded = load(std::slice::from_ref(&document), &mesh());
            assert_eq!(loaded.documents.len(), 1, "{path}");
            if !loaded
                .documents
                .metas()
                .any(|meta| replaced.contains(&name(meta)))
            {
                kept.push(document);
            }
        }
    }
    kept.push(endpoints());
    kept
}

/// The demo with some of the examples.
struct Set {
    documents: DocumentSet,
    registry: Registry,
    mesh: Mesh,
    findings: Vec<Diagnostic>,
}

fn with(examples: &[&str]) -> Set {
    let examples = examples
        .iter()
        .map(|path| read(&format!("policies/examples/{path}")));
    let mut files: Vec<SourceFile> = examples.collect();
    files.extend(demo_beside(&files));
    let loaded = load(&files, &mesh());
    let (documents, mesh) = (loaded.documents, loaded.mesh);
    let (registry, across) = policies::check::check(&documents, &mesh);
    let findings = [
        loaded.diagnostics,
        across,
        authz::check::check(&documents, &registry, &mesh),
        policies::advice::advise(&documents, &registry, &mesh),
        authz::advice::advise(&documents, &registry, &mesh),
    ];
    Set {
        documents,
        registry,
        mesh,
        findings: findings.concat(),
    }
}

fn workload(app: &str, namespace: &str) -> Workload {
    Workload {
        name: app.to_owned(),
        namespace: namespace.to_owned(),
        service_account: app.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
    }
}

fn edge() -> Workload {
    let mut edge = workload("istio-ingressgateway", "istio-system");
    edge.labels
        .insert("istio".to_owned(), "ingressgateway".to_owned());
    edge
}

impl Set {
    /// Whether a caller, `namespace/account`, may make a request of an application of `my-app`.
    fn may(&self, caller: Option<&str>, app: &str, request: &str) -> bool {
        let policies = PolicySet::compile(&self.documents, &workload(app, "my-app"), &self.mesh);
        let peer = caller.map(|caller| {
            let (namespace, account) = caller.split_once('/').unwrap();
            SpiffeId::parse(&format!(
                "spiffe://cluster.local/ns/{namespace}/sa/{account}"
            ))
            .unwrap()
        });
        let (method, path) = request.split_once(' ').unwrap();
        let path = normalize(path, self.mesh.path_normalization).unwrap();
        let headers = HeaderMap::new();
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let decision = policies.decide(&Facts {
            peer: peer.as_ref(),
            source_ip: address,
            remote_ip: address,
            destination_ip: address,
            destination_port: 8080,
            sni: None,
            http: Some(HttpFacts {
                method,
                host: app,
                path: &path,
                headers: &headers,
                claims: None,
            }),
        });
        decision.verdict == Verdict::Allow
    }

    #[track_caller]
    fn judges(&self, app: &str, cases: &[(Option<&str>, &str, bool)]) {
        for (caller, request, allowed) in cases {
            assert_eq!(
                self.may(*caller, app, request),
                *allowed,
                "{caller:?} {request}"
            );
        }
    }

    /// The route of a request, with the names and shares of its clusters.
    fn route(
        &self,
        proxy: Proxy<'_>,
        host: &str,
        request: &str,
        canary: bool,
    ) -> Option<(HttpRoute, String)> {
        let compiled = RouteTable::compile(&self.documents, &self.registry, &self.mesh, proxy);
        let (method, path) = request.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        if canary {
            headers.insert("x-canary", http::HeaderValue::from_static("true"));
        }
        let view = RequestView {
            host,
            port: 80,
            path,
            query: None,
            method,
            scheme: "http",
            headers: &headers,
            claims: None,
        };
        let route = compiled.routes.find(&view)?.clone();
        let goes = match &route.action {
            RouteAction::Forward(clusters) => clusters
                .iter()
                .map(|one| {
                    let cluster = compiled.clusters.get(one.cluster).unwrap();
                    format!("{}%{}", one.weight, cluster.key)
                })
                .collect::<Vec<_>>()
                .join(" "),
            RouteAction::Redirect(redirect) => {
                format!("{} {}", redirect.status.as_u16(), redirect.location(&view))
            }
            RouteAction::DirectResponse(_) => "direct".to_owned(),
        };
        Some((route, goes))
    }

    fn in_mesh(&self, host: &str, request: &str, canary: bool) -> Option<(HttpRoute, String)> {
        let caller = workload("order-service", "my-app");
        self.route(Proxy::Sidecar { workload: &caller }, host, request, canary)
    }

    fn at_edge(&self, request: &str) -> Option<(HttpRoute, String)> {
        self.route(
            Proxy::Gateway { workload: &edge() },
            "shop.example",
            request,
            false,
        )
    }

    fn mode(&self, app: &str, namespace: &str) -> MtlsMode {
        MtlsModes::compile(&self.documents, &workload(app, namespace), &self.mesh).for_port(8080)
    }
}

/// Every example of the library, as `folder/file.yaml`.
fn library() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let base = root().join("policies/examples");
    let mut folders = vec![base.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.insert(path.strip_prefix(&base).unwrap().display().to_string());
            }
        }
    }
    found
}

/// Errors and warnings; what is only good to know stands in `advice-demo.txt`.
fn remarks(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.retain(|finding| finding.severity != Severity::Info);
    findings
}

#[test]
fn the_demo_alone_is_clean() {
    let found = remarks(with(&[]).findings);
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}

#[test]
fn examples_are_clean_but_for_what_they_say() {
    for (examples, documented) in EXAMPLES {
        let found = remarks(with(examples).findings);
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        let codes: BTreeSet<String> = found
            .iter()
            .map(|finding| finding.code.to_string())
            .collect();
        let expected: BTreeSet<String> = documented.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(codes, expected, "{examples:?}: {lines:#?}");
        assert!(
            !found.iter().any(Diagnostic::is_error),
            "{examples:?}: {lines:#?}"
        );
        for code in *documented {
            let says = examples.iter().any(|path| {
                let text = read(&format!("policies/examples/{path}")).text;
                text.contains(code)
            });
            assert!(
                says,
                "{examples:?} has {code}, but its heading does not say so"
            );
        }
    }
}

#[test]
fn the_library_is_whole() {
    let index = std::fs::read_to_string(root().join("policies/examples/README.md")).unwrap();
    let tested: BTreeSet<&str> = EXAMPLES
        .iter()
        .flat_map(|(paths, _)| paths.iter().copied())
        .collect();
    for path in library() {
        // Tests of policies are held by `tests/policy_test.rs`.
        assert!(
            path.starts_with("tests/") || tested.contains(path.as_str()),
            "{path} is not tested"
        );
        assert!(
            index.contains(&format!("]({path})")),
            "{path} is not in the index"
        );
        let text = read(&format!("policies/examples/{path}")).text;
        for heading in ["# Change ", "# Try "] {
            assert!(text.contains(heading), "{path} does not say `{heading}`");
        }
    }
}

#[test]
fn default_deny() {
    let before = with(&[]);
    let after = with(&["default-deny.yaml"]);
    assert!(before.may(ORDER, "billing", "GET /"));
    after.judges(
        "billing",
        &[(ORDER, "GET /", false), (NOBODY, "GET /", false)],
    );
    after.judges("product-service", &[(ORDER, "GET /api/products/1", true)]);
}

#[test]
fn allow_by_principal_method_and_path() {
    with(&["allow-by-principal.yaml"]).judges(
        "product-service",
        &[
            (ORDER, "GET /api/products", true),
            (ORDER, "POST /api/products/1", true),
            (ORDER, "DELETE /api/products/1", false),
            (ORDER, "GET /admin", false),
            (GATEWAY, "GET /api/products/1", true),
            (GATEWAY, "POST /api/products", false),
            (BILLING, "GET /api/products", false),
            (NOBODY, "GET /api/products", false),
        ],
    );
}

#[test]
fn health_open() {
    let set = with(&["health-open.yaml", "default-deny.yaml"]);
    for app in ["billing", "product-service"] {
        set.judges(
            app,
            &[
                (STRANGER, "GET /health", true),
                (STRANGER, "GET /health/ready", true),
                (STRANGER, "POST /health/ready", false),
                (STRANGER, "GET /healthy", false),
                (STRANGER, "GET /health/../admin", false),
                (NOBODY, "GET /health", false),
            ],
        );
    }
}

#[test]
fn deny_admin() {
    let set = with(&["deny-admin.yaml"]);
    let operator = Some("my-app/operator");
    set.judges(
        "billing",
        &[
            (operator, "GET /admin/stats", true),
            (ORDER, "GET /admin/stats", false),
            (ORDER, "GET /x/../%61dmin", false),
            (NOBODY, "GET /admin", false),
            (ORDER, "GET /administration", true),
        ],
    );
}

#[test]
fn namespace_isolation() {
    let set = with(&["namespace-isolation.yaml"]);
    set.judges(
        "billing",
        &[
            (ORDER, "GET /", true),
            (GATEWAY, "GET /", true),
            (STRANGER, "GET /", false),
            (NOBODY, "GET /", false),
        ],
    );
    // An ALLOW policy cannot open it again: the demo opens /health/ to everybody.
    assert!(with(&[]).may(STRANGER, "product-service", "GET /health/ready"));
    assert!(!set.may(STRANGER, "product-service", "GET /health/ready"));
}

const PRODUCTS: &str = "product-service.my-app.svc.cluster.local";

#[test]
fn canary_by_header() {
    let set = with(&["canary-by-header.yaml"]);
    let goes = |canary| {
        set.in_mesh("product-service", "GET /api/products/1", canary)
            .unwrap()
            .1
    };
    assert_eq!(goes(true), format!("1%outbound|80|v2|{PRODUCTS}"));
    assert_eq!(goes(false), format!("1%outbound|80|v1|{PRODUCTS}"));
}

#[test]
fn canary_by_weight() {
    let set = with(&["canary-by-weight.yaml"]);
    for path in ["/api/products", "/api/products/1"] {
        let (_, goes) = set.at_edge(&format!("GET {path}")).unwrap();
        assert_eq!(
            goes,
            format!("75%outbound|80|v1|{PRODUCTS} 25%outbound|80|v2|{PRODUCTS}")
        );
    }
    assert!(set.at_edge("GET /api/productsX").is_none());
}

#[test]
fn circuit_breaker_is_read_whole() {
    let set = with(&["circuit-breaker.yaml"]);
    let rule = (set.documents.destination_rules.iter())
        .find(|rule| rule.meta.name == "product-service")
        .unwrap();
    let policy = &rule.traffic_policy;
    assert!(policy.outlier_detection.is_some() && policy.connection_pool.is_some());
    let (_, goes) = set.in_mesh("product-service", "GET /", true).unwrap();
    assert_eq!(goes, format!("1%outbound|80|v2|{PRODUCTS}"));
}

#[test]
fn timeouts_get_shorter_from_the_outside_in() {
    let set = with(&["timeouts.yaml"]);
    let limits = [
        set.at_edge("GET /api/orders").unwrap(),
        set.in_mesh("order-service", "GET /", false).unwrap(),
        set.at_edge("GET /api/products").unwrap(),
        set.in_mesh("product-service", "GET /", false).unwrap(),
    ]
    .map(|(route, _)| route.timeout.unwrap().as_secs());
    assert_eq!(limits, [8, 6, 4, 3]);
}

#[test]
fn retries_are_for_reads() {
    let set = with(&["retries-idempotent.yaml"]);
    let name = |request: &str| {
        let (route, _) = set.in_mesh("product-service", request, false).unwrap();
        route.name.unwrap().to_string()
    };
    assert_eq!(name("GET /api/products"), "reads");
    assert_eq!(name("HEAD /api/products"), "reads");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(name(&format!("{method} /api/products")), "writes");
    }
    let rules = &(set.documents.virtual_services.iter())
        .find(|document| document.meta.name == "product-service")
        .unwrap()
        .http;
    let attempts: Vec<_> = rules
        .iter()
        .map(|rule| rule.retries.as_ref().unwrap().attempts)
        .collect();
    assert_eq!(format!("{attempts:?}"), "[2, 0]");
}

#[test]
fn the_health_check_asks_for_what_the_demo_allows() {
    let set = with(&["health-check.yaml"]);
    let settings = &set.documents.health_checks[0].settings;
    assert_eq!(settings.probe.to_string(), "GET /health/ready");
    assert_eq!(
        (settings.interval.as_secs(), settings.timeout.as_secs()),
        (5, 1)
    );
    for caller in [ORDER, GATEWAY] {
        assert!(set.may(caller, "product-service", "GET /health/ready"));
    }
}

#[test]
fn rate_limits_are_read_whole() {
    let set = with(&["rate-limit.yaml"]);
    let limits = &set.documents.rate_limits[0].local.as_ref().unwrap().limits;
    let buckets: Vec<_> = limits
        .iter()
        .map(|limit| {
            (
                limit.bucket.requests,
                limit.bucket.burst,
                limit.bucket.interval.as_secs(),
            )
        })
        .collect();
    assert_eq!(buckets, [(100, 200, 1), (10, 10, 1)]);
}

#[test]
fn egress_allow_list() {
    let set = with(&["egress-allow-list.yaml"]);
    let (route, goes) = set
        .in_mesh("api.partner.example", "GET /v1/rates", false)
        .unwrap();
    assert_eq!(goes, "1%outbound|80||api.partner.example");
    assert_eq!(route.timeout.unwrap().as_secs(), 10);
    assert!(
        set.in_mesh("api.elsewhere.example", "GET /", false)
            .is_none()
    );
}

#[test]
fn https_redirect() {
    let set = with(&["https-redirect.yaml"]);
    let (_, goes) = set.at_edge("GET /api/products").unwrap();
    assert_eq!(goes, "301 https://shop.example/api/products");
}

#[test]
fn mtls_migration() {
    let (one, two, three) = (
        "mtls-migration/1-permissive.yaml",
        "mtls-migration/2-strict-for-one.yaml",
        "mtls-migration/3-strict.yaml",
    );
    for (steps, product, order) in [
        (&[][..], MtlsMode::Strict, MtlsMode::Strict),
        (&[one], MtlsMode::Permissive, MtlsMode::Permissive),
        (&[one, two], MtlsMode::Strict, MtlsMode::Permissive),
        (&[two, three], MtlsMode::Strict, MtlsMode::Strict),
        (&[three], MtlsMode::Strict, MtlsMode::Strict),
    ] {
        let set = with(steps);
        assert_eq!(set.mode("product-service", "my-app"), product, "{steps:?}");
        assert_eq!(set.mode("order-service", "my-app"), order, "{steps:?}");
        assert_eq!(
            set.mode("order-service", "elsewhere"),
            MtlsMode::Strict,
            "{steps:?}"
        );
    }
}
