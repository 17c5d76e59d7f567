//! The schema of one kind, and of a file that may hold any of them.

use serde_json::{Map, Value, json};

use super::docs::Docs;
use super::write::{Null, Writer};
use crate::decode;
use crate::document::Kind;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The schema of documents of one kind.
pub fn of(kind: Kind, docs: &Docs) -> Value {
    let mut schema = definition(kind, docs);
    schema.insert("$schema".to_owned(), DRAFT.into());
    schema.into()
}

/// The schema of documents of any kind, `List` and other systems' kinds included: which schema holds is told by `kind`.
pub fn all(docs: &Docs) -> Value {
    let definitions: Map<String, Value> = Kind::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), definition(*kind, docs).into()))
        .collect();
    let when = |pattern: &str, kind: Value, then: Value| {
        let version = json!({"type": "string", "pattern": pattern});
        let properties = json!({"apiVersion": version, "kind": kind});
        json!({"if": {"required": ["apiVersion", "kind"], "properties": properties}, "then": then})
    };
    let mut rules: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| {
            let then = json!({"$ref": format!("#/definitions/{kind}")});
            when(&groups(*kind), json!({"const": kind.as_str()}), then)
        })
        .collect();
    let mut known: Vec<&str> = decode::kind_names().collect();
    known.push("List");
    let then = json!({"properties": {"kind": {"enum": known}}});
    rules.push(when(decode::OUR_GROUPS, json!({}), then));
    let list = json!({
        "type": "object",
        "properties": {
            "apiVersion": {}, "kind": {}, "metadata": {},
            "items": {"type": ["array", "null"], "items": {"$ref": "#"}},
        },
        "additionalProperties": false,
    });
    let is_list = json!({"required": ["kind"], "properties": {"kind": {"const": "List"}}});
    rules.push(json!({"if": is_list, "then": list}));
    let operator = json!({"const": "IstioOperator"});
    rules.push(when(decode::OUR_GROUPS, operator, istio_operator()));
    let mut offered: Vec<String> = Vec::new();
    for version in Kind::ALL.iter().flat_map(|kind| api_versions(*kind)) {
        if !offered.contains(&version) {
            offered.push(version);
        }
    }
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    json!({
        "$schema": DRAFT,
        "title": "Portcullis policy documents",
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"anyOf": [{"enum": offered}, {"type": ["string", "number", "boolean"]}]},
            "kind": {"anyOf": [{"enum": names}, {"type": ["string", "number", "boolean"]}]},
        },
        "allOf": rules,
        "definitions": definitions,
    })
}

fn definition(kind: Kind, docs: &Docs) -> Map<String, Value> {
    let mut shape = decode::shape(kind);
    if !shape.is_mapping() {
        // A kind that is known by name only.
        return Map::from_iter([("type".to_owned(), "object".into())]);
    }
    if shape.field("spec").needs_fields() {
        // Without a spec the decoder reads an empty one, which lacks these fields.
        shape.required("spec");
    }
    shape.required("apiVersion");
    shape.required("kind");
    let writer = Writer {
        kind: kind.as_str(),
        docs,
    };
    let mut schema = writer.schema(&shape, Null::Refused, "");
    schema.insert("title".to_owned(), kind.as_str().into());
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let versions: Vec<String> = api_versions(kind).collect();
        properties.insert("apiVersion".to_owned(), json!({"enum": versions}));
        properties.insert("kind".to_owned(), json!({"const": kind.as_str()}));
    }
    schema
}

/// Of an IstioOperator `meshConfig` is read and nothing else.
fn istio_operator() -> Value {
    json!({
        "type": "object",
        "properties": {
            "apiVersion": {"const": "install.istio.io/v1alpha1"}, "kind": {}, "status": {},
            "metadata": {"type": ["object", "null"], "properties": {"name": {"type": "string"}}},
            "spec": {"type": ["object", "null"], "properties": {"meshConfig": {
                "allOf": [{"type": "object"}, {"$ref": "#/definitions/MeshConfig/properties/spec"}],
            }}},
        },
        "additionalProperties": false,
    })
}

/// The values that `apiVersion` may have, the newest first, so that editors offer it first.
fn api_versions(kind: Kind) -> impl Iterator<Item = String> {
    let slash = if kind.group().is_empty() { "" } else { "/" };
    let versions = kind.versions().iter().rev();
    versions.map(move |version| format!("{}{slash}{version}", kind.group()))
}

/// The `apiVersion`s with which a document is meant to be of the kind: those of its group, whatever the version, and of
/// other groups that we know.
fn groups(kind: Kind) -> String {
    if kind.group().is_empty() {
        format!("^[^/]*$|{}", decode::OUR_GROUPS)
    } else {
        decode::OUR_GROUPS.to_owned()
    }
}
