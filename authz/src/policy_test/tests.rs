//! What a subject is made of, and what it judges.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use policies::{
    document::policy_test::{Outcome, PolicyTest},
    load::policy_tests,
    source::SourceFile,
};

use super::{Reason, Subject};

fn read(spec: &str, metadata: &str) -> (SourceFile, Arc<PolicyTest>) {
    let text = format!(
        "apiVersion: portcullis.dev/v1\nkind: PolicyTest\nmetadata: {metadata}\nspec: {spec}\n"
    );
    let file = SourceFile::new("test.yaml", text);
    let (tests, findings) = policy_tests(&file);
    let test = tests.into_iter().next();
    let test = test.unwrap_or_else(|| panic!("{findings:?}"));
    (file, test)
}

fn outcomes(spec: &str, metadata: &str, now: SystemTime) -> Vec<Outcome> {
    let (file, test) = read(spec, metadata);
    let subject = Subject::new(&test, &file, &[]).unwrap();
    let judge = |case: &policies::document::policy_test::TestCase| {
        subject.judge(&case.request, now).outcome
    };
    test.cases.iter().map(judge).collect()
}

const DENY: &str = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: p}, \
                    spec: {action: DENY, rules: [{}]}}";

#[test]
fn documents_without_a_namespace_are_the_tests_or_the_workloads() {
    let spec = format!(
        "{{workload: {{namespace: shop}}, documents: [{DENY}], cases: [{{name: a, expect: deny}}]}}"
    );
    let now = SystemTime::UNIX_EPOCH;
    assert_eq!(outcomes(&spec, "{name: a}", now), [Outcome::Deny]);
    let named = "{name: a, namespace: elsewhere}";
    assert_eq!(outcomes(&spec, named, now), [Outcome::Allow]);
}

#[test]
fn the_test_overrides_the_mesh_config_setting_by_setting() {
    let spec = |mesh: &str| {
        format!(
            "{{mesh: {mesh}, workload: {{namespace: shop}}, documents: [\
             {{apiVersion: portcullis.dev/v1, kind: MeshConfig, metadata: {{name: m}}, spec: {{trustDomain: td1, \
             rootNamespace: root, pathNormalization: {{normalization: MERGE_SLASHES}}}}}}, \
             {{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: p, namespace: root}}, \
             spec: {{rules: [{{from: [{{source: {{principals: [cluster.local/ns/a/sa/b]}}}}], \
             to: [{{operation: {{paths: [/x/y]}}}}]}}]}}}}], \
             cases: [{{name: a, request: {{principal: td1/ns/a/sa/b, path: /x//y}}, expect: allow}}]}}"
        )
    };
    let now = SystemTime::UNIX_EPOCH;
    for (mesh, expected) in [
        ("{}", Outcome::Allow),
        ("{pathNormalization: BASE}", Outcome::Deny),
        ("{trustDomain: td2}", Outcome::Deny),
        (
            "{trustDomain: td2, trustDomainAliases: [td1]}",
            Outcome::Allow,
        ),
        // Nobody's policy then: without an ALLOW policy it passes.
        (
            "{rootNamespace: other, pathNormalization: BASE}",
            Outcome::Allow,
        ),
    ] {
        assert_eq!(
            outcomes(&spec(mesh), "{name: a}", now),
            [expected],
            "{mesh}"
        );
    }
}

#[test]
fn times_of_tokens_are_held_against_the_given_clock() {
    let spec = "{workload: {namespace: shop}, documents: [{apiVersion: security.istio.io/v1, \
                kind: RequestAuthentication, metadata: {name: t}, spec: {jwtRules: [{issuer: i, jwksUri: \"https://i/k\"}]}}], \
                cases: [{name: a, request: {claims: {iss: i, sub: s, exp: 1000}}, expect: allow}]}";
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(outcomes(spec, "{name: a}", at(999)), [Outcome::Allow]);
    let late = outcomes(spec, "{name: a}", at(2000));
    assert_eq!(late, [Outcome::Unauthenticated]);
}

#[test]
fn what_no_process_would_put_in_force_is_not_tested() {
    let document = DENY.replace("rules: [{}]", "rules: []");
    let spec = format!(
        "{{workload: {{namespace: shop}}, documents: [{document}], cases: [{{name: a, expect: deny}}]}}"
    );
    let (file, test) = read(&spec, "{name: a}");
    assert!(Subject::new(&test, &file, &[]).is_err());
}

#[test]
fn reasons_name_what_decided() {
    let spec = "{workload: {namespace: shop}, cases: [{name: a, request: {path: /%00}, expect: deny}, \
                {name: b, expect: allow}]}";
    let (file, test) = read(spec, "{name: a}");
    let subject = Subject::new(&test, &file, &[]).unwrap();
    let judge = |case: usize| subject.judge(&test.cases[case].request, SystemTime::UNIX_EPOCH);
    let path = judge(0);
    assert!(matches!(path.reason, Reason::Path(_)));
    assert_eq!(path.by, None);
    assert_eq!(judge(1).reason, Reason::NoAllowPolicy);
    assert!(
        subject
            .explain(&test.cases[0].request, SystemTime::UNIX_EPOCH)
            .is_none()
    );
}
