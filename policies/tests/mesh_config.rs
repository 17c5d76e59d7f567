//! MeshConfig: what it puts in force, and what it may not say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use policies::load::{Loaded, load};
use policies::mesh::{Mesh, PathNormalization};
use policies::source::SourceFile;

fn read(text: &str) -> Loaded {
    load(&[SourceFile::new("mesh.yaml", text)], &Mesh::default())
}

fn findings(text: &str) -> Vec<String> {
    let loaded = read(text);
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

fn mesh_config(spec: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec:\n{spec}"
    )
}

#[test]
fn without_one_the_process_decides() {
    let loaded = read("");
    assert_eq!(loaded.mesh, Mesh::default());
}

#[test]
fn what_is_in_force() {
    let loaded = read(&mesh_config(
        "  trustDomain: cluster.local\n  trustDomainAliases: [old.example, older.example]\n  rootNamespace: policies\n  \
         pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}\n",
    ));
    assert_eq!(loaded.diagnostics, []);
    let expected = Mesh {
        trust_domain_aliases: vec!["old.example".to_owned(), "older.example".to_owned()],
        root_namespace: "policies".to_owned(),
        path_normalization: PathNormalization::DecodeAndMergeSlashes,
        ..Mesh::default()
    };
    assert_eq!(loaded.mesh, expected);
    assert_eq!(loaded.documents.mesh_configs.len(), 1);
}

#[test]
fn it_stands_once_and_cannot_move_the_mesh() {
    let two = format!(
        "{}---\n{}",
        mesh_config("  {}\n"),
        mesh_config("  {}\n").replace("name: mesh", "name: second")
    );
    assert_eq!(
        findings(&two),
        [
            "mesh.yaml:7:1: error[PC0130]: a second MeshConfig `second`, the first stands at mesh.yaml:1:1 \
          (help: write what holds for the whole mesh into one document)"
        ]
    );
    assert_eq!(
        findings(&mesh_config("  trustDomain: old.example\n")),
        [
            "mesh.yaml:5:16: error[PC0131]: the trust domain is `cluster.local`, as the process's `identity.trustDomain` says, \
          and not `old.example` (help: write `cluster.local`, or an older name into `trustDomainAliases`)"
        ]
    );
}

#[test]
fn wrong_values() {
    for (spec, expected) in [
        (
            "  trustDomain: spiffe://cluster.local\n",
            "is not a trust domain",
        ),
        ("  trustDomainAliases: [UPPER]\n", "is not a trust domain"),
        ("  rootNamespace: istio.system\n", "is not a namespace"),
        (
            "  pathNormalization: {normalization: ALL}\n",
            "is not one of DEFAULT, NONE",
        ),
        ("  trustDomains: a\n", "did you mean `trustDomain`?"),
    ] {
        let findings = findings(&mesh_config(spec));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(expected), "{findings:?}");
    }
}

#[test]
fn it_belongs_to_no_namespace() {
    let text = mesh_config("  {}\n").replace("name: mesh", "name: mesh, namespace: istio-system");
    assert_eq!(
        findings(&text),
        [
            "mesh.yaml:3:35: error[PC0111]: a MeshConfig belongs to no namespace, and none may be given (help: remove `namespace`)"
        ]
    );
}

/// Every finding of a spec contains its text.
fn expect(cases: &[(&str, &[&str])]) {
    for (spec, expected) in cases {
        let findings = findings(&mesh_config(spec));
        assert_eq!(findings.len(), expected.len(), "{spec}: {findings:#?}");
        for text in *expected {
            assert!(
                findings.iter().any(|found| found.contains(text)),
                "{spec}: no `{text}` in {findings:#?}"
            );
        }
    }
}

#[test]
fn traffic_is_warned_about_and_security_refused() {
    expect(&[
        (
            "  accessLogFile: /dev/stdout\n",
            &["warning[PC0247]: `accessLogFile` of MeshConfig `mesh` is not in force yet"],
        ),
        (
            "  accessLogEncoding: JSON\n  accessLogFormat: '%PROTOCOL%'\n",
            &["`accessLogFormat`", "`accessLogEncoding`"],
        ),
        (
            "  accessLogEncoding: XML\n",
            &["warning[PC0247]", "`XML` is not one of TEXT, JSON"],
        ),
        (
            "  enableTracing: true\n",
            &["warning[PC0247]: `enableTracing`"],
        ),
        ("  enableTracing: false\n  enableAutoMtls: true\n", &[]),
        (
            "  enableAutoMtls: false\n",
            &["warning[PC0247]: `enableAutoMtls`"],
        ),
        ("  outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n", &[]),
        ("  outboundTrafficPolicy: {mode: ALLOW_ANY}\n", &[]),
        (
            "  inboundTrafficPolicy: {mode: LOCALHOST}\n",
            &["warning[PC0247]: `inboundTrafficPolicy`"],
        ),
        (
            "  defaultHttpRetryPolicy: {attempts: 2, retryOn: 5xx, retryRemoteLocalities: true}\n",
            &["warning[PC0213]: `retryRemoteLocalities`"],
        ),
        (
            "  defaultHttpRetryPolicy: {attempts: many}\n",
            &["error[PC0109]"],
        ),
        (
            "  connectTimeout: 10s\n  tcpKeepalive: {probes: 3, time: 10s, interval: 1s}\n",
            &["`connectTimeout`", "`tcpKeepalive`"],
        ),
        (
            "  connectTimeout: 0s\n",
            &["warning[PC0247]", "at least 1ms"],
        ),
        (
            "  localityLbSetting: {distribute: [{from: a, to: {b: 80, c: 20}}]}\n",
            &["warning[PC0247]: `localityLbSetting`"],
        ),
        (
            "  localityLbSetting: {distribute: [{from: a, to: {b: 80}}]}\n",
            &["warning[PC0247]", "the shares add up to 80, not to 100"],
        ),
        (
            "  localityLbSetting: {failover: [{from: a, to: a}]}\n",
            &["warning[PC0247]", "cannot stand in for itself"],
        ),
        (
            "  defaultConfig: {concurrency: 2, holdApplicationUntilProxyStarts: true, tracing: {sampling: 100, zipkin: {address: 'zipkin:9411'}}, discoveryAddress: 'istiod:15012'}\n",
            &["warning[PC0247]: `defaultConfig`"],
        ),
        (
            "  defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}\n",
            &["warning[PC0247]", "error[PC0113]: `gatewayTopology`"],
        ),
        (
            "  defaultConfig: {tracing: {sampling: 101}}\n",
            &["warning[PC0247]", "between 0 and 100"],
        ),
        ("  meshMTLS: {minProtocolVersion: TLSV1_2}\n", &[]),
        (
            "  meshMTLS: {minProtocolVersion: TLSV1_3}\n",
            &["error[PC0113]: `minProtocolVersion`"],
        ),
        (
            "  tlsDefaults: {ecdhCurves: [P-256]}\n",
            &["error[PC0113]: `tlsDefaults`"],
        ),
        (
            "  caCertificates: [{pem: a}]\n",
            &["error[PC0113]: `caCertificates`"],
        ),
        (
            "  compliancePolicy: fips-140-2\n",
            &["error[PC0113]: `compliancePolicy`"],
        ),
        ("  defaultServiceExportTo: ['.', other]\n", &[]),
        (
            "  defaultServiceExportTo: ['a/b']\n",
            &["is not a namespace"],
        ),
        (
            "  proxyListenPort: 15001\n  ingressControllerMode: 'OFF'\n",
            &["`proxyListenPort`", "`ingressControllerMode`"],
        ),
    ]);
}

#[test]
fn extension_providers() {
    let provider = |kind: &str| format!("  extensionProviders: [{{name: a, {kind}}}]\n");
    for good in [
        "envoyExtAuthzHttp: {service: foo/my-ext-authz.foo.svc.cluster.local, port: 8000, timeout: 1s, pathPrefix: /check, failOpen: false, statusOnError: '503', \
         includeRequestHeadersInCheck: [x-a, x-*, '*-b'], includeAdditionalHeadersInCheck: {x-c: d}, includeRequestBodyInCheck: {maxRequestBytes: 1024}, \
         headersToUpstreamOnAllow: [authorization], headersToDownstreamOnDeny: [set-cookie], headersToDownstreamOnAllow: [x-ok]}",
        "envoyExtAuthzGrpc: {service: my-ext-authz.foo.svc.cluster.local, port: 9000, includeRequestBodyInCheck: {maxRequestBytes: 1, packAsBytes: true}}",
        "zipkin: {service: zipkin.istio-system.svc.cluster.local, port: 9411, maxTagLength: 56}",
        "opentelemetry: {service: otel.example.com, port: 443, http: {path: /v1/traces, timeout: 10s, headers: [{name: x-key, value: v}]}, resourceDetectors: {environment: {}}}",
        "prometheus: {}",
        "envoyFileAccessLog: {path: /dev/stdout, logFormat: {labels: {status: '%RESPONSE_CODE%'}}}",
        "envoyOtelAls: {service: otel.example.com, port: 4317, logName: a}",
    ] {
        let findings = findings(&mesh_config(&provider(good)));
        let kind = good.split(':').next().unwrap_or_default();
        if kind.starts_with("envoyExtAuthz") {
            assert!(findings.is_empty(), "{findings:#?}");
            continue;
        }
        assert_eq!(findings.len(), 1, "{findings:#?}");
        let expected =
            format!("warning[PC0248]: `{kind}` of MeshConfig `mesh` is not in force yet");
        assert!(findings[0].contains(&expected), "{findings:#?}");
    }
    for (wrong, expected) in [
        (
            "prometheus: {}, zipkin: {service: a, port: 1}",
            "exclude each other",
        ),
        ("sds: {name: a}", "the provider `sds` is not supported"),
        ("zipkin: {port: 1}", "service` is missing"),
        ("zipkin: {service: a}", "port` is missing"),
        ("zipkin: {service: 'a:9411', port: 1}", "is not a service"),
        ("zipkin: {service: /a, port: 1}", "is not a service"),
        ("zipkin: {service: a/b/c, port: 1}", "is not a service"),
        (
            "envoyExtAuthzHttp: {service: a, port: 999999}",
            "is not a port",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, statusOnError: '999'}",
            "is not an HTTP status",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, pathPrefix: check}",
            "a path that starts with `/`",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, headersToUpstreamOnAllow: ['*']}",
            "is not the name of a header",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, headersToUpstreamOnAllow: ['a*b']}",
            "is not the name of a header",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, headersToDownstreamOnDeny: ['a b']}",
            "is not the name of a header",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, includeAdditionalHeadersInCheck: {Host: a}}",
            "`Host` is no header that a check can carry",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, includeAdditionalHeadersInCheck: {x-a: '%REQ(x)%'}}",
            "Envoy's placeholders are not supported",
        ),
        (
            "envoyExtAuthzGrpc: {service: a, port: 1, includeRequestBodyInCheck: {}}",
            "maxRequestBytes` is missing",
        ),
        (
            "envoyExtAuthzGrpc: {service: a, port: 1, includeRequestBodyInCheck: {maxRequestBytes: 0}}",
            "is not a number of bytes between 1 and 16777216",
        ),
        (
            "envoyExtAuthzHttp: {service: a, port: 1, includeHeadersInCheck: [x]}",
            "warning[PC0220]",
        ),
        (
            "envoyExtAuthzGrpc: {service: a, port: 1, pathPrefix: /}",
            "unknown field `pathPrefix`",
        ),
    ] {
        let findings = findings(&mesh_config(&provider(wrong)));
        assert!(
            findings.iter().any(|found| found.contains(expected)),
            "{wrong}: {findings:#?}"
        );
    }
    let twice = findings(&mesh_config(
        "  extensionProviders: [{name: a, prometheus: {}}, {name: a, prometheus: {}}]\n",
    ));
    assert!(
        twice
            .iter()
            .any(|found| found.contains("the provider `a` is defined twice")),
        "{twice:#?}"
    );
    let none = findings(&mesh_config("  extensionProviders: [{name: a}]\n"));
    assert!(
        none.iter()
            .any(|found| found.contains("expected at least one of `envoyExtAuthzHttp`")),
        "{none:#?}"
    );
}

#[test]
fn of_an_operator_the_mesh_config_is_read() {
    let operator = |spec: &str| {
        format!(
            "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {{name: i, namespace: istio-system}}\nspec:\n{spec}"
        )
    };
    let text = operator(
        "  profile: demo\n  components: {}\n  meshConfig:\n    rootNamespace: policies\n    enableTracing: true\n",
    );
    let loaded = read(&text);
    assert_eq!(loaded.mesh.root_namespace, "policies");
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "mesh.yaml:5:3: warning[PC0241]: of IstioOperator `i` only `meshConfig` is read: `profile`, `components` have no effect",
            "mesh.yaml:9:5: warning[PC0247]: `enableTracing` of IstioOperator `i` is not in force yet: trace headers are passed on, spans are not reported",
        ]
    );
    assert_eq!(loaded.diagnostics[1].path, "spec.meshConfig.enableTracing");
    assert_eq!(
        findings(&operator("  meshConfig: {}\n")),
        Vec::<String>::new()
    );
    let both = findings(&format!(
        "{}---\n{}",
        operator("  meshConfig: {}\n"),
        mesh_config("  {}\n")
    ));
    assert!(
        both.len() == 1 && both[0].contains("error[PC0130]"),
        "{both:#?}"
    );
    let wrong = read(&operator(
        "  meshConfig: {rootNamespace: a.b, pathNormalization: {normalization: NONE}}\n",
    ));
    assert!(wrong.has_errors() && wrong.documents.mesh_configs.is_empty());
}

#[test]
fn an_external_authorizer_has_to_be_declared() {
    let service = "apiVersion: networking.istio.io/v1\n\
        kind: ServiceEntry\n\
        metadata: {name: opa, namespace: my-app}\n\
        spec:\n  \
          hosts: [opa.my-app.svc.cluster.local]\n  \
          location: MESH_INTERNAL\n  \
          resolution: STATIC\n  \
          ports: [{number: 9191, name: grpc, protocol: GRPC}, {number: 9000, name: raw, protocol: TCP}]\n  \
          endpoints: [{address: 10.0.0.9, serviceAccount: opa}]\n\
        ---\n";
    for (service_and_port, expected) in [
        ("service: opa.my-app.svc.cluster.local, port: 9191", None),
        (
            "service: my-app/opa.my-app.svc.cluster.local, port: 9191",
            None,
        ),
        ("service: opa, port: 9191", None),
        (
            "service: oba.my-app.svc.cluster.local, port: 9191",
            Some("error[PC0301]: no document declares the host `oba.my-app.svc.cluster.local`"),
        ),
        (
            "service: other/opa.my-app.svc.cluster.local, port: 9191",
            Some("is a service of namespace `my-app`, not of `other`"),
        ),
        (
            "service: opa.my-app.svc.cluster.local, port: 80",
            Some("error[PC0305]: `opa.my-app.svc.cluster.local` has no port 80"),
        ),
        (
            "service: opa.my-app.svc.cluster.local, port: 9000",
            Some("speaks TCP, an external authorizer needs HTTP"),
        ),
    ] {
        let provider = format!(
            "  extensionProviders: [{{name: opa, envoyExtAuthzGrpc: {{{service_and_port}}}}}]\n"
        );
        let loaded = read(&format!("{service}{}", mesh_config(&provider)));
        assert_eq!(loaded.diagnostics, [], "{service_and_port}");
        let (_, found) = policies::check::check(&loaded.documents, &loaded.mesh);
        let errors: Vec<String> = found
            .iter()
            .filter(|finding| finding.is_error())
            .map(ToString::to_string)
            .collect();
        match expected {
            None => assert!(errors.is_empty(), "{service_and_port}: {errors:#?}"),
            Some(text) => assert!(
                errors.len() == 1 && errors[0].contains(text),
                "{service_and_port}: {errors:#?}"
            ),
        }
    }
}
