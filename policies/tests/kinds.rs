//! WorkloadGroup, Sidecar, ProxyConfig, RequestAuthentication, Telemetry: accepted and refused as Istio does. The cases follow those
//! of Istio's own validation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::time::Duration;

use policies::document::{Metric, OutboundTrafficMode, ProbeMethod, TagOverride, WorkloadMode};
use policies::load::{Loaded, load};
use policies::mesh::Mesh;
use policies::source::SourceFile;

fn read(text: &str) -> Loaded {
    load(&[SourceFile::new("a.yaml", text)], &Mesh::default())
}

fn findings(text: &str) -> Vec<String> {
    let loaded = read(text);
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

/// A document of a kind with an indented spec.
fn document(kind: &str, spec: &str) -> String {
    let api_version = match kind {
        "RequestAuthentication" => "security.istio.io/v1",
        "Telemetry" => "telemetry.istio.io/v1",
        "ProxyConfig" => "networking.istio.io/v1beta1",
        _ => "networking.istio.io/v1",
    };
    format!(
        "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x, namespace: my-app}}\nspec:\n{spec}\n"
    )
}

/// The first finding is that the kind is not in force (`code`), the others contain these texts.
fn expect(kind: &str, code: &str, cases: &[(&str, &[&str])]) {
    for (spec, expected) in cases {
        let mut findings = findings(&document(kind, spec));
        // A kind that is in force has nothing to say about itself.
        if !code.is_empty() {
            let standing = findings.remove(0);
            assert!(standing.contains(code), "{spec}: {standing}");
        }
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
fn workload_groups() {
    expect(
        "WorkloadGroup",
        "a.yaml:2:7: warning[PC0244]: WorkloadGroup `my-app/x` is not in force yet",
        &[
            ("  template: {}", &[]),
            (
                "  metadata: {labels: {a: b}, annotations: {c: d}}\n  template: {serviceAccount: sa, network: net, ports: {http: 80}}",
                &[],
            ),
            (
                "  template: {}\n  probe: {initialDelaySeconds: 1, httpGet: {port: 80}}",
                &[],
            ),
            (
                "  template: {}\n  probe: {grpc: {port: 80, service: a.B}}",
                &[],
            ),
            ("  template: {}\n  probe: {exec: {command: [a, b]}}", &[]),
            ("  {}", &["`spec.template` is missing"]),
            (
                "  template: {address: 1.2.3.4}",
                &["a template has no address"],
            ),
            (
                "  template: {ports: {http: 0}}",
                &["not a port between 1 and 65535"],
            ),
            (
                "  template: {}\n  probe: {tcpSocket: {port: 65536}}",
                &["`65536` is not a port"],
            ),
            (
                "  template: {}\n  probe: {httpGet: {port: 80, httpHeaders: [{name: '**'}]}}",
                &["is not the name of a header"],
            ),
            (
                "  template: {}\n  probe: {httpGet: {port: 80, scheme: FTP}}",
                &["`FTP` is not one of HTTP, HTTPS"],
            ),
            (
                "  template: {}\n  probe: {httpGet: {port: 80, path: a}}",
                &["a path that starts with `/`"],
            ),
            (
                "  template: {}\n  probe: {httpGet: {port: 80}, exec: {command: [a]}}",
                &["exclude each other"],
            ),
            (
                "  template: {}\n  probe: {periodSeconds: 3}",
                &["expected at least one of `httpGet`"],
            ),
            (
                "  template: {}\n  probe: {exec: {command: []}}",
                &["is empty"],
            ),
            (
                "  template: {}\n  probe: {timeoutSeconds: -1, tcpSocket: {port: 1}}",
                &["`-1` is not"],
            ),
        ],
    );
    let loaded = read(&document(
        "WorkloadGroup",
        "  template: {serviceAccount: sa}\n  probe: {httpGet: {port: 80}}",
    ));
    let group = &loaded.documents.workload_groups[0];
    assert_eq!(group.template.service_account.as_deref(), Some("sa"));
    assert!(
        matches!(&group.probe.as_ref().unwrap().method.value, ProbeMethod::Http { path, .. } if path == "/")
    );
}

#[test]
fn proxy_configs() {
    expect(
        "ProxyConfig",
        "warning[PC0246]",
        &[
            (
                "  concurrency: 0\n  image: {imageType: debug}\n  environmentVariables: {A: b}",
                &[],
            ),
            ("  selector: {matchLabels: {a: b}}", &[]),
            ("  concurrency: -1", &["`-1` is not between 0 and"]),
            (
                "  selector: {matchLabels: {a: b}}\n  targetRef: {kind: Gateway, name: w, group: gateway.networking.k8s.io}",
                &["exclude each other"],
            ),
            ("  threads: 2", &["unknown field `threads`"]),
        ],
    );
}

#[test]
fn sidecars() {
    expect(
        "Sidecar",
        "",
        &[
            (
                "  egress: [{hosts: ['*/*', './*', '~/*', 'prod/*.example.com', 'prod/a.example.com']}]",
                &[],
            ),
            (
                "  egress:\n  - {port: {number: 9080, protocol: HTTP, name: e}, hosts: ['prod/*']}\n  - {hosts: ['istio-system/*']}",
                &[],
            ),
            (
                "  egress: [{port: {number: 0, protocol: TCP}, bind: 'unix:///var/run/a.sock', hosts: ['*/a.com']}]",
                &["`bind` of Sidecar `my-app/x` is not in force yet"],
            ),
            (
                "  ingress: [{port: {number: 9080, protocol: HTTP}, defaultEndpoint: 'unix:///var/run/someuds.sock'}]",
                &["`ingress` of Sidecar `my-app/x` is not in force yet"],
            ),
            (
                "  ingress: [{port: {number: 9080, protocol: HTTP}, bind: 1.1.1.1, defaultEndpoint: '127.0.0.1:80'}]",
                &["`ingress` of Sidecar `my-app/x` is not in force yet"],
            ),
            (
                "  ingress: [{port: {number: 9080, protocol: HTTP}, defaultEndpoint: '[::1]:80', connectionPool: {http: {http2MaxRequests: 3}}}]",
                &["`ingress` of Sidecar `my-app/x` is not in force yet"],
            ),
            (
                "  inboundConnectionPool: {tcp: {maxConnections: 3}}",
                &["`inboundConnectionPool` of Sidecar `my-app/x` is not in force yet"],
            ),
            (
                "  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: foo.bar, port: {number: 80}}}",
                &["`egressProxy` is not in force"],
            ),
            (
                "  workloadSelector: {labels: {app: a}}\n  egress: [{hosts: ['*/*']}]",
                &[],
            ),
            // What Istio refuses.
            (
                "  workloadSelector: {labels: {app: a}}",
                &["expected at least one of `ingress`"],
            ),
            (
                "  egress: [{port: {number: 80, protocol: HTTP}}]",
                &["hosts` is missing"],
            ),
            ("  egress: [{hosts: []}]", &["`hosts` is empty"]),
            (
                "  egress: [{hosts: [a.com]}]",
                &["write `./a.com` for the own namespace"],
            ),
            (
                "  egress: [{hosts: ['foo.bar/a.com']}]",
                &["is not a namespace and a host"],
            ),
            (
                "  egress: [{hosts: ['*/*']}, {hosts: ['a/*']}]",
                &["it has to be the last one"],
            ),
            (
                "  egress: [{bind: 1.1.1.1, hosts: ['*/*']}]",
                &[
                    "`bind` of Sidecar `my-app/x` is not in force yet",
                    "`bind` needs a `port`",
                ],
            ),
            (
                "  egress: [{port: {number: 0, protocol: TCP}, hosts: ['*/*']}]",
                &["needs a Unix socket"],
            ),
            (
                "  egress: [{port: {number: 0, protocol: TCP}, bind: 127.0.0.1, hosts: ['*/*']}]",
                &[
                    "`bind` of Sidecar `my-app/x` is not in force yet",
                    "needs a Unix socket",
                ],
            ),
            (
                "  egress: [{port: {number: 8, protocol: TCP}, bind: 'unix:///a', hosts: ['*/*']}]",
                &[
                    "`bind` of Sidecar `my-app/x` is not in force yet",
                    "is an IP address",
                ],
            ),
            (
                "  egress: [{port: {number: 0, protocol: TCP}, bind: 'unix:///a', captureMode: IPTABLES, hosts: ['*/*']}]",
                &[
                    "`bind` of Sidecar `my-app/x` is not in force yet",
                    "`captureMode` of Sidecar `my-app/x` is not in force yet",
                    "cannot be captured",
                ],
            ),
            (
                "  egress:\n  - {port: {number: 8, protocol: TCP}, hosts: ['*/a']}\n  - {port: {number: 8, protocol: TCP}, hosts: ['*/b']}",
                &["the port 8 has two listeners"],
            ),
            (
                "  egress: [{port: {number: 99999, protocol: TCP}, hosts: ['*/*']}]",
                &["not a port between 0 and 65535"],
            ),
            (
                "  egress: [{port: {number: 80, protocol: FOO}, hosts: ['*/*']}]",
                &["`FOO` is not one of"],
            ),
            (
                "  egress: [{port: {number: 80, protocol: HTTP, name: UP_}, hosts: ['*/*']}]",
                &["is not the name of a port"],
            ),
            (
                "  egress: [{port: {number: 80, protocol: HTTP, targetPort: 80}, hosts: ['*/*']}]",
                &["`targetPort` has no effect"],
            ),
            (
                "  ingress: [{defaultEndpoint: '127.0.0.1:80'}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "port` is missing",
                ],
            ),
            (
                "  ingress: [{port: {number: 0, protocol: HTTP}}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "`0` is not a port between 1 and 65535",
                ],
            ),
            (
                "  ingress: [{port: {number: 9, protocol: HTTP}, bind: 'unix:///a'}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "is not an IP address",
                ],
            ),
            (
                "  ingress: [{port: {number: 9, protocol: HTTP}, defaultEndpoint: '1.1.1.1:80'}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "is not an endpoint of the workload",
                ],
            ),
            (
                "  ingress: [{port: {number: 9, protocol: HTTP}, defaultEndpoint: '127.0.0.1:hi'}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "is not an endpoint of the workload",
                ],
            ),
            (
                "  ingress: [{port: {number: 9, protocol: HTTP}}, {port: {number: 9, protocol: TCP}}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "the port 9 has two listeners",
                ],
            ),
            (
                "  outboundTrafficPolicy: {mode: REGISTRY_ONLY, egressProxy: {host: foo.bar, port: {number: 80}}}",
                &[
                    "`egressProxy` is not in force",
                    "belongs to the mode ALLOW_ANY",
                ],
            ),
            // A security field stays an error.
            (
                "  ingress: [{port: {number: 9, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: a}}]",
                &[
                    "`ingress` of Sidecar `my-app/x` is not in force yet",
                    "error[PC0113]: `tls` is not in force",
                ],
            ),
        ],
    );
    let loaded = read(&document(
        "Sidecar",
        "  egress: [{hosts: ['~/*']}]\n  outboundTrafficPolicy: {}",
    ));
    let sidecar = &loaded.documents.sidecars[0];
    assert_eq!(sidecar.egress[0].hosts[0].namespace, "~");
    assert_eq!(
        sidecar.outbound_traffic_policy.as_ref().unwrap().mode,
        OutboundTrafficMode::RegistryOnly
    );
}

#[test]
fn one_without_a_selector_for_a_namespace() {
    let one = document("Sidecar", "  egress: [{hosts: ['*/*']}]");
    let selective = document(
        "Sidecar",
        "  workloadSelector: {labels: {a: b}}\n  egress: [{hosts: ['*/*']}]",
    )
    .replace("name: x", "name: other");
    let clean = read(&format!("{one}---\n{selective}"));
    assert!(!clean.has_errors(), "{:?}", clean.diagnostics);
    let second = read(&format!(
        "{one}---\n{}",
        one.replace("name: x", "name: other")
    ));
    let error = second
        .diagnostics
        .iter()
        .find(|found| found.is_error())
        .unwrap();
    assert_eq!(
        error.to_string(),
        "a.yaml:7:1: error[PC0134]: the namespace `my-app` has a second Sidecar without a selector, the first is `x` at a.yaml:1:1 \
         (help: give one of them a selector, or join them)"
    );
}

#[test]
fn request_authentications() {
    expect(
        "RequestAuthentication",
        "",
        &[
            ("  {}", &[]),
            (
                "  targetRefs: [{group: '', kind: Service, name: foo}]\n  jwtRules:\n  - {issuer: example.com, jwksUri: 'https://example.com/.well-known/jwks.json', \
                 forwardOriginalToken: true, fromCookies: [foo], fromHeaders: [{name: foo, prefix: baz}], outputClaimToHeaders: [{claim: abc, header: def}], \
                 timeout: 5s, outputPayloadToHeader: header, spaceDelimitedClaims: [custom_scope], audiences: [a], fromParams: [b]}",
                &[],
            ),
            (
                "  jwtRules: [{issuer: a, jwks: '{\"keys\": [{\"kty\": \"RSA\"}]}'}]",
                &[],
            ),
            ("  jwtRules: [{jwksUri: 'http://a.example/keys'}]", &[]),
            (
                "  selector: {matchLabels: {a: b}}\n  targetRef: {group: '', kind: Service, name: foo}",
                &["exclude each other"],
            ),
            (
                "  targetRefs: [{kind: Service, name: foo}]\n  targetRef: {kind: Service, name: foo}",
                &["exclude each other"],
            ),
            ("  targetRef: {kind: Service}", &["name` is missing"]),
            (
                "  targetRef: {kind: Service, name: foo, namespace: bar}",
                &["a resource of the document's own namespace"],
            ),
            (
                "  targetRef: {group: '__', kind: Serv_ice, name: foo}",
                &["is not an API group", "is not a kind"],
            ),
            ("  jwtRules: [~]", &["expected a mapping"]),
            (
                "  jwtRules: [{audiences: [a]}]",
                &["expected at least one of `issuer`"],
            ),
            (
                "  jwtRules: [{issuer: '', jwksUri: 'https://a'}]",
                &["it is empty"],
            ),
            (
                "  jwtRules: [{issuer: a, audiences: ['']}]",
                &["it is empty"],
            ),
            (
                "  jwtRules: [{issuer: a, jwksUri: 'hTPp\\\\\\blah'}]",
                &["is not a URL"],
            ),
            (
                "  jwtRules: [{issuer: a, jwksUri: 'ftp://a'}]",
                &["is not a URL"],
            ),
            (
                "  jwtRules: [{issuer: a, jwksUri: 'https://a:port/'}]",
                &["is not a URL"],
            ),
            (
                "  jwtRules: [{issuer: a, jwks: '{}'}]",
                &["not a JSON Web Key Set"],
            ),
            (
                "  jwtRules: [{issuer: a, jwks: '{\"keys\": []}', jwksUri: 'https://a'}]",
                &["exclude each other"],
            ),
            (
                "  jwtRules: [{issuer: a, fromHeaders: [{prefix: baz}]}]",
                &["name` is missing"],
            ),
            (
                "  jwtRules: [{issuer: a, fromHeaders: [{name: ''}]}]",
                &["is not the name of a header"],
            ),
            (
                "  jwtRules: [{issuer: a, fromParams: ['']}]",
                &["it is empty"],
            ),
            (
                "  jwtRules: [{issuer: a, fromCookies: ['']}]",
                &["it is empty"],
            ),
            (
                "  jwtRules: [{issuer: a, outputClaimToHeaders: [~]}]",
                &["expected a mapping"],
            ),
            (
                "  jwtRules: [{issuer: a, outputClaimToHeaders: [{claim: '', header: h}]}]",
                &["it is empty"],
            ),
            (
                "  jwtRules: [{issuer: a, outputClaimToHeaders: [{claim: c, header: ''}]}]",
                &["is not the name of a header"],
            ),
            (
                "  jwtRules: [{issuer: a, outputClaimToHeaders: [{claim: c, header: ':authority'}]}]",
                &["is not the name of a header"],
            ),
            (
                "  jwtRules: [{issuer: a, timeout: apple}]",
                &["`apple` is not a duration"],
            ),
            (
                "  jwtRules: [{issuer: a, spaceDelimitedClaims: ['']}]",
                &["it is empty"],
            ),
        ],
    );
    let loaded = read(&document(
        "RequestAuthentication",
        "  jwtRules: [{issuer: a}]",
    ));
    assert_eq!(loaded.documents.request_authentications.len(), 1);
}

#[test]
fn telemetries() {
    expect(
        "Telemetry",
        "warning[PC0245]",
        &[
            (
                "  metrics:\n  - providers: [{name: prometheus}]\n    reportingInterval: 5s\n    overrides:\n    - tagOverrides: {request_method: {value: request.method}}\n      \
                 match: {customMetric: foo}\n      disabled: false\n    - match: {metric: GRPC_REQUEST_MESSAGES}\n      disabled: true\n  accessLogging:\n  \
                 - {disabled: false, filter: {expression: 'true'}, match: {mode: CLIENT}, providers: [{name: stdout}]}\n  tracing:\n  \
                 - {providers: [{name: otlp}], match: {mode: CLIENT_AND_SERVER}, randomSamplingPercentage: 54.54, useRequestIdForTraceSampling: true, \
                 disableSpanReporting: false, customTags: {env: {environment: {name: NAME, defaultValue: d}}, header: {header: {name: x-name}}, literal: {literal: {value: v}}}}",
                &[],
            ),
            (
                "  metrics: [{overrides: [{tagOverrides: {foo: {operation: REMOVE}}}]}]",
                &[],
            ),
            ("  metrics: [{providers: [{name: ''}]}]", &["it is empty"]),
            (
                "  metrics: [{overrides: [{match: {customMetric: ''}}]}]",
                &["it is empty"],
            ),
            (
                "  metrics: [{overrides: [{match: {metric: REQUESTS}}]}]",
                &["`REQUESTS` is not one of ALL_METRICS"],
            ),
            (
                "  metrics: [{overrides: [{match: {metric: ALL_METRICS, customMetric: a}}]}]",
                &["exclude each other"],
            ),
            (
                "  metrics: [{overrides: [{tagOverrides: {foo: {operation: UPSERT}}}]}]",
                &["value` is missing"],
            ),
            (
                "  metrics: [{overrides: [{tagOverrides: {foo: {operation: REMOVE, value: oops}}}]}]",
                &["belongs to the operation UPSERT"],
            ),
            ("  metrics: [{reportingInterval: 0s}]", &["at least 1ms"]),
            (
                "  tracing: [{randomSamplingPercentage: 101}]",
                &["between 0 and 100"],
            ),
            (
                "  tracing: [{randomSamplingPercentage: -1}]",
                &["between 0 and 100"],
            ),
            (
                "  tracing: [{customTags: {a: {literal: {value: ''}}}}]",
                &["it is empty"],
            ),
            (
                "  tracing: [{customTags: {a: {header: {name: ''}}}}]",
                &["is not the name of a header"],
            ),
            (
                "  tracing: [{customTags: {a: {environment: {name: ''}}}}]",
                &["it is empty"],
            ),
            (
                "  tracing: [{customTags: {a: {}}}]",
                &["expected at least one of `literal`"],
            ),
            (
                "  accessLogging: [{filter: {}}]",
                &["expression` is missing"],
            ),
            (
                "  accessLogging: [{match: {mode: BOTH}}]",
                &["`BOTH` is not one of CLIENT_AND_SERVER"],
            ),
        ],
    );
    let text = document(
        "Telemetry",
        "  metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: SERVER}, tagOverrides: {a: {operation: REMOVE}}}]}]",
    );
    let loaded = read(&text);
    let change = &loaded.documents.telemetries[0].metrics[0].overrides[0];
    assert_eq!(change.metric, Some(Metric::Istio("REQUEST_COUNT")));
    assert_eq!(change.mode, WorkloadMode::Server);
    assert_eq!(change.tag_overrides["a"], TagOverride::Remove);
    assert_eq!(
        loaded.documents.telemetries[0].metrics[0].reporting_interval,
        None::<Duration>
    );
}

#[test]
fn the_gateway_api_is_never_silent() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {}\n";
    assert_eq!(
        findings(text),
        [
            "a.yaml:2:7: warning[PC0240]: `HTTPRoute` of the Gateway API is not read, and has no effect \
          (help: write a VirtualService of `networking.istio.io/v1` with `http` routes)"
        ]
    );
}

#[test]
fn namespaces_are_kept() {
    let loaded = read(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: my-app, labels: {istio-injection: enabled}}\nstatus: {phase: Active}\n",
    );
    assert_eq!(loaded.diagnostics, []);
    let namespace = &loaded.documents.namespaces[0];
    assert_eq!(namespace.meta.to_string(), "Namespace my-app");
    assert_eq!(namespace.meta.labels["istio-injection"], "enabled");
}
