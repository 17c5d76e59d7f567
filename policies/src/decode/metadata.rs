//! `metadata`: what policies use of it, and what API servers add to it.

use std::collections::BTreeMap;

use super::{Cursor, Decode, Fields, is_host_name};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Kind, Meta, Spanned};
use crate::schema::TextFormat;

/// Set by API servers and tools; tolerated so that `kubectl get -o yaml` output can be used as it is.
const SERVER_SET: &[&str] = &[
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
    "clusterName",
];

const OBJECT_NAME: TextFormat = TextFormat {
    pattern: r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    expected: "a name of lower-case letters, digits, `-` and `.`",
    longest: Some(253),
};

/// Reads `metadata` of a document.
pub(crate) fn metadata(kind: Kind, fields: &mut Fields<'_>) -> Option<Meta> {
    let document = fields.cursor().clone();
    let Metadata {
        name,
        namespace,
        labels,
        annotations,
    } = fields.required("metadata")?;
    let namespace = match namespace {
        _ if !kind.is_namespaced() => {
            if let Some(namespace) = namespace {
                let message = format!("a {kind} belongs to no namespace, and none may be given");
                document.context.report(
                    Diagnostic::error(codes::INVALID_VALUE, namespace.at, namespace.path, message)
                        .with_help("remove `namespace`"),
                );
            }
            String::new()
        }
        Some(namespace) => namespace.value.0,
        None => document.context.mesh.default_namespace.clone(),
    };
    Some(Meta {
        kind,
        name,
        namespace,
        labels,
        annotations,
        at: document.at(),
    })
}

struct Metadata {
    name: String,
    namespace: Option<Spanned<ObjectName>>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Decode for Metadata {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<ObjectName>("name");
            let namespace = f.optional("namespace");
            let labels = f.map("labels");
            let annotations = f.map("annotations");
            for field in SERVER_SET {
                f.get(field);
            }
            Some(Self {
                name: name?.0,
                namespace,
                labels,
                annotations,
            })
        })
    }
}

/// A name of a Kubernetes object: an RFC 1123 subdomain in lower case.
struct ObjectName(String);

impl Decode for ObjectName {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(OBJECT_NAME));
        let text = cursor.text()?;
        if is_host_name(text) && !text.contains(|c: char| c.is_ascii_uppercase() || c == '_') {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a name",
            Some("use lower-case letters, digits, `-` and `.`".to_owned()),
        )
    }
}
