//! Which mode a port has: mesh, namespace, workload and port, as Istio resolves them.

use std::collections::BTreeMap;

use authz::{MtlsMode, MtlsModes};
use policies::{load::load, mesh::Mesh, source::SourceFile, workload::Workload};

fn document(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// The modes, and the codes of the findings.
fn compile(yaml: &str) -> (MtlsModes, Vec<String>) {
    let mesh = Mesh::default();
    let workload = Workload {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "web".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
    };
    let loaded = load(&[SourceFile::new("modes.yaml", yaml)], &mesh);
    assert!(!loaded.has_errors(), "{:#?}\n{yaml}", loaded.diagnostics);
    let (registry, _) = policies::check::check(&loaded.documents, &mesh);
    let findings = authz::check::check(&loaded.documents, &registry, &mesh);
    (
        MtlsModes::compile(&loaded.documents, &workload, &mesh),
        findings
            .iter()
            .map(|finding| finding.code.to_string())
            .collect(),
    )
}

const STRICT: &str = "{mtls: {mode: STRICT}}";
const PERMISSIVE: &str = "{mtls: {mode: PERMISSIVE}}";
const WEB_DISABLE: &str = "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}";

#[test]
fn the_narrowest_level_wins() {
    let mesh = document("m", "istio-system", STRICT);
    let namespace = document("own", "shop", PERMISSIVE);
    let workload = document("w", "shop", WEB_DISABLE);
    for (yaml, expected) in [
        (String::new(), MtlsMode::Permissive),
        (mesh.clone(), MtlsMode::Strict),
        (document("own", "shop", STRICT), MtlsMode::Strict),
        (document("own", "elsewhere", STRICT), MtlsMode::Permissive),
        ([mesh.as_str(), &namespace].concat(), MtlsMode::Permissive),
        (
            [workload.as_str(), &mesh, &namespace].concat(),
            MtlsMode::Disable,
        ),
        ([namespace.as_str(), &mesh].concat(), MtlsMode::Permissive),
        (
            document(
                "w",
                "shop",
                "{selector: {matchLabels: {app: api}}, mtls: {mode: STRICT}}",
            ),
            MtlsMode::Permissive,
        ),
        (
            document("own", "shop", "{selector: {}, mtls: {mode: STRICT}}"),
            MtlsMode::Strict,
        ),
    ] {
        let (modes, findings) = compile(&yaml);
        assert_eq!(
            (modes.for_port(80), findings),
            (expected, Vec::new()),
            "{yaml}"
        );
    }
}

#[test]
fn unset_inherits_from_the_next_wider_level() {
    let mesh = document("m", "istio-system", STRICT);
    for spec in ["{}", "{mtls: {}}", "{mtls: {mode: UNSET}}"] {
        let yaml = [mesh.clone(), document("own", "shop", spec)].concat();
        assert_eq!(compile(&yaml).0.for_port(80), MtlsMode::Strict, "{yaml}");
    }
}

#[test]
fn ports_have_their_own_modes() {
    let yaml = document(
        "w",
        "shop",
        "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, \
         portLevelMtls: {9090: {mode: DISABLE}, 8080: {mode: PERMISSIVE}, 7070: {mode: UNSET}}}",
    );
    let (modes, findings) = compile(&yaml);
    assert_eq!(findings, Vec::<String>::new());
    for (port, expected) in [
        (9090, MtlsMode::Disable),
        (8080, MtlsMode::Permissive),
        (7070, MtlsMode::Strict),
        (80, MtlsMode::Strict),
    ] {
        assert_eq!(modes.for_port(port), expected, "{port}");
    }
    assert_eq!(modes.for_workload(), MtlsMode::Strict);
}

#[test]
fn what_istio_would_ignore_is_refused_and_closes_the_port() {
    for (yaml, code) in [
        (
            document(
                "m",
                "istio-system",
                "{selector: {matchLabels: {app: web}}, mtls: {mode: DISABLE}}",
            ),
            "PC0420",
        ),
        (
            document("own", "shop", "{mtls: {mode: DISABLE}}").replace(
                "{name: own,",
                "{name: own, annotations: {istio.io/dry-run: 'true'},",
            ),
            "PC0411",
        ),
    ] {
        let (modes, findings) = compile(&yaml);
        assert_eq!(findings, [code], "{yaml}");
        assert_eq!(modes.for_port(80), MtlsMode::Strict, "{yaml}");
    }
}

#[test]
fn the_first_of_one_level_counts_and_the_other_is_reported() {
    let yaml = [
        document("a", "shop", STRICT),
        document("b", "shop", PERMISSIVE),
    ]
    .concat();
    let (modes, findings) = compile(&yaml);
    assert_eq!(
        (modes.for_port(80), findings),
        (MtlsMode::Strict, vec!["PC0422".to_owned()])
    );
}
