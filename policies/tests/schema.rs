//! The JSON Schema of every kind, held against the loader by an independent validator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use policies::diagnostic::Diagnostic;
use policies::document::Kind;
use policies::load::load;
use policies::mesh::Mesh;
use policies::schema::{Docs, all, of};
use policies::source::SourceFile;
use proptest::prelude::*;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every YAML file below a folder of the repository, in the order of the names.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The documents of a YAML text as another YAML reader than ours sees them.
fn values(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Every document of the repository that is meant to be good, one by one.
fn corpus() -> Vec<Value> {
    let folders = [
        "policies/examples",
        "deploy/demo/policies",
        "deploy/demo/entries",
        "tests/corpus/seeds",
        "tests/corpus/services",
    ];
    let files = folders.iter().flat_map(|folder| files(folder));
    files
        .flat_map(|path| values(&std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// The examples of the pages of the diagnostic codes: page, `wrong` or `right`, documents.
fn pages() -> Vec<(String, &'static str, Vec<Value>)> {
    let mut found = Vec::new();
    for folder in ["policies/codes", "authz/codes"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let page = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            for which in ["wrong", "right"] {
                let fence = format!("\n```yaml {which}\n");
                for example in text.split(&fence).skip(1) {
                    let example = example.split("\n```").next().unwrap();
                    // Some are wrong as YAML.
                    if let Ok(documents) = serde_saphyr::from_multiple(example) {
                        found.push((page.clone(), which, documents));
                    }
                }
            }
        }
    }
    assert!(found.len() > 100, "the pages have moved");
    found
}

/// Whatever else documents look like, good or bad: shapes of Istio's samples, fragments of the seeds.
fn samples() -> Vec<Value> {
    let texts = files("tests/corpus").into_iter();
    let texts = texts.filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .filter_map(|text| serde_saphyr::from_multiple(&text).ok())
        .flat_map(|documents: Vec<Value>| documents)
        .collect()
}

fn bundle() -> Validator {
    jsonschema::draft7::new(&all(&Docs::default())).unwrap()
}

fn problems(validator: &Validator, document: &Value) -> Vec<String> {
    let errors = validator.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// JSON is YAML, so that the loader reads what the validator sees.
fn findings(document: &Value) -> Vec<Diagnostic> {
    let mesh = Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    };
    let file = SourceFile::new("test.yaml", document.to_string());
    load(&[file], &mesh).diagnostics
}

#[test]
fn every_schema_is_a_schema() {
    for kind in Kind::ALL {
        let schema = of(*kind, &Docs::default());
        assert!(jsonschema::draft7::meta::is_valid(&schema), "{kind}");
        jsonschema::draft7::new(&schema).unwrap();
    }
    assert!(jsonschema::draft7::meta::is_valid(&all(&Docs::default())));
}

/// Places of a schema where anything may stand.
fn shapeless(schema: &Value, at: &str, found: &mut Vec<String>) {
    if !["type", "anyOf", "enum", "const"]
        .iter()
        .any(|word| schema.get(word).is_some())
    {
        found.push(at.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        shapeless(property, &format!("{at}.{name}"), found);
    }
    for (word, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[word].is_object() {
            shapeless(&schema[word], &format!("{at}{mark}"), found);
        }
    }
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        shapeless(alternative, at, found);
    }
}

#[test]
fn decoders_leave_no_field_without_a_shape() {
    for kind in Kind::ALL {
        let mut found = Vec::new();
        shapeless(&of(*kind, &Docs::default()), "", &mut found);
        found.retain(|at| !at.starts_with(".status") && !at.starts_with(".metadata."));
        if *kind == Kind::MeshConfig {
            // What configures Envoy and istiod is only named.
            found.retain(String::is_empty);
        }
        if *kind == Kind::PolicyTest {
            // Claims are any JSON, and inline documents are read by the decoders of their own kinds.
            found.retain(|at| !at.ends_with(".claims.*") && !at.ends_with(".documents[].*"));
        }
        assert_eq!(found, Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn good_documents_are_valid() {
    let bundle = bundle();
    for document in corpus() {
        let problems = problems(&bundle, &document);
        assert!(problems.is_empty(), "{problems:#?}\n{document:#}");
    }
}

#[test]
fn samples_that_load_are_valid() {
    let bundle = bundle();
    let mut loaded = 0;
    for document in samples() {
        if !findings(&document).iter().any(Diagnostic::is_error) {
            loaded += 1;
            assert_eq!(
                problems(&bundle, &document),
                Vec::<String>::new(),
                "{document:#}"
            );
        }
    }
    assert!(loaded > 10, "the samples have moved");
}

#[test]
fn right_examples_of_pages_are_valid_and_wrong_shapes_are_not() {
    let bundle = bundle();
    for (page, which, documents) in pages() {
        let problems: Vec<String> = documents
            .iter()
            .flat_map(|document| problems(&bundle, document))
            .collect();
        if which == "right" {
            assert_eq!(problems, Vec::<String>::new(), "{page}");
        } else if SHAPE.contains(&page.as_str())
            || ["PC0102", "PC0110", "PC0112"].contains(&page.as_str())
        {
            assert_ne!(problems, Vec::<String>::new(), "{page}");
        }
    }
}

#[test]
fn documents_of_a_wrong_shape_are_not() {
    let bundle = bundle();
    let service = |spec: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "a"}, "spec": spec,
        })
    };
    let route = json!([{"destination": {"host": "a"}}]);
    let good = service(json!({"hosts": ["a"], "http": [{"route": route, "timeout": "10s"}]}));
    assert_eq!(problems(&bundle, &good), Vec::<String>::new());
    for (what, wrong) in [
        (
            "unknown field",
            service(json!({"hosts": ["a"], "http": [{"route": route, "timeuot": "10s"}]})),
        ),
        (
            "wrong type",
            service(json!({"hosts": "a", "http": [{"route": route}]})),
        ),
        (
            "number for a duration",
            service(json!({"hosts": ["a"], "http": [{"route": route, "timeout": 10}]})),
        ),
        (
            "no duration",
            service(json!({"hosts": ["a"], "http": [{"route": route, "timeout": "10 s"}]})),
        ),
        (
            "missing",
            service(json!({"hosts": ["a"], "http": [{"route": [{}]}]})),
        ),
        (
            "empty",
            service(json!({"hosts": [], "http": [{"route": route}]})),
        ),
        (
            "exclusive",
            service(json!({"hosts": ["a"], "http": [{"route": route, "redirect": {"uri": "/"}}]})),
        ),
        (
            "none of several",
            service(json!({"hosts": ["a"], "http": [{"name": "a"}]})),
        ),
        (
            "no version of ours",
            json!({"apiVersion": "networking.istio.io/v2", "kind": "Gateway"}),
        ),
        (
            "no kind of ours",
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualServices"}),
        ),
        (
            "no name",
            json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {}}),
        ),
        (
            "within a list",
            json!({"apiVersion": "v1", "kind": "List", "items": [service(json!({}))]}),
        ),
        (
            "unknown name",
            json!({
                "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "a"},
                "spec": {"mtls": {"mode": "STRIKT"}},
            }),
        ),
    ] {
        assert_ne!(
            problems(&bundle, &wrong),
            Vec::<String>::new(),
            "{what}: {wrong:#}"
        );
        assert!(
            findings(&wrong).iter().any(Diagnostic::is_error),
            "{what}: {wrong:#}"
        );
    }
}

/// What somebody may have typed instead.
fn slips() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(80),
        json!(70_000),
        json!(""),
        json!("1"),
        json!("a"),
        json!("*"),
        json!("10s"),
        json!("0s"),
        json!("STRICT"),
        json!("HTTP"),
        json!("10.0.0.0/8"),
        json!([]),
        json!(["a"]),
        json!([{}]),
        json!({}),
        json!({"a": "b"}),
        json!({"exact": "a"}),
    ]
}

/// Where values stand, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Takes away, adds, renames or replaces one value somewhere.
fn damaged(mut document: Value, place: usize, how: u8, slip: usize) -> Value {
    let mut found = Vec::new();
    places(&document, "", &mut found);
    let below = &found[1..];
    if below.is_empty() {
        return document;
    }
    let pointer = below[place % below.len()].clone();
    let slip = slips()[slip % slips().len()].clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    match (how % 5, document.pointer_mut(parent).unwrap()) {
        (0, Value::Object(fields)) => drop(fields.remove(name)),
        (1, Value::Object(fields)) => {
            let value = fields.remove(name).unwrap_or(slip);
            fields.insert(format!("{name}s"), value);
        }
        (2, Value::Object(fields)) => drop(fields.insert("unheard".to_owned(), slip)),
        (3, Value::Array(items)) => items.push(slip),
        _ => *document.pointer_mut(&pointer).unwrap() = slip,
    }
    document
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// What the loader accepts the schema accepts, and what has the wrong shape for the loader has it for the schema.
    #[test]
    fn schema_and_loader_agree(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec((any::<usize>(), any::<u8>(), any::<usize>()), 0..3),
    ) {
        thread_local! {
            static BUNDLE: Validator = bundle();
            static CORPUS: Vec<Value> = {
                let pages = pages().into_iter().flat_map(|(_, _, documents)| documents);
                corpus().into_iter().chain(pages).chain(samples()).collect()
            };
        }
        let mut document = CORPUS.with(|corpus| which.get(corpus).clone());
        for (place, how, slip) in damages {
            document = damaged(document, place, how, slip);
        }
        let problems = BUNDLE.with(|bundle| problems(bundle, &document));
        let findings = findings(&document);
        if !findings.iter().any(Diagnostic::is_error) {
            prop_assert_eq!(problems, Vec::<String>::new(), "the schema is too strict: {:#}", document);
            return Ok(());
        }
        // Of EnvoyFilters two shapes are read, which only values tell apart: they have no schema.
        let shape = findings.iter().find(|finding| SHAPE.contains(&finding.code.to_string().as_str()));
        if let Some(finding) = shape.filter(|_| !document.to_string().contains("EnvoyFilter")) {
            prop_assert!(!problems.is_empty(), "the schema lets pass {}\n{:#}", finding, document);
        }
    }
}

/// Unknown fields and wrong types.
const SHAPE: &[&str] = &["PC0107", "PC0109"];
