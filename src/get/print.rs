//! The forms in which documents are shown.

use policies::document::Kind;
use policies::raw;
use serde_json::{Value, json};

use super::columns::{self, cell};
use super::{Query, Shown};
use crate::cli::GetFormat;
use crate::exit::{Context as _, Failure};
use crate::terminal::table;

/// The documents in the form that is asked for.
pub(super) fn print(found: &[Shown], format: GetFormat, query: &Query) -> Result<String, Failure> {
    match format {
        GetFormat::Yaml => Ok(yaml(found)),
        GetFormat::Json => json_text(found, query),
        GetFormat::Name => Ok(found.iter().map(|shown| name(shown) + "\n").collect()),
        GetFormat::Table | GetFormat::Wide => Ok(tables(found, format, query)),
    }
}

/// Documents that can be applied again; a comment says where each is from.
fn yaml(found: &[Shown]) -> String {
    let documents: Vec<String> = found
        .iter()
        .map(|shown| format!("# {}\n{}", shown.at, raw::to_yaml(&shown.value)))
        .collect();
    documents.join("---\n")
}

/// As kubectl: one document as itself, several as a `List`. Where each is from stands in its `status`, which is no part of
/// a document.
fn json_text(found: &[Shown], query: &Query) -> Result<String, Failure> {
    let mut documents = found.iter().map(|shown| {
        let mut value = shown.value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("status".to_owned(), json!({"at": shown.at}));
        }
        value
    });
    let single = found.len() == 1 && query.names.len() == 1;
    let value = match documents.next() {
        Some(only) if single => only,
        first => {
            let items: Vec<Value> = first.into_iter().chain(documents).collect();
            json!({"apiVersion": "v1", "kind": "List", "items": items})
        }
    };
    let text = serde_json::to_string_pretty(&value).context(|| "cannot print".to_owned())?;
    Ok(text + "\n")
}

/// `virtualservice.networking.istio.io/product-service`.
fn name(shown: &Shown) -> String {
    let kind = shown.identity.kind.to_lowercase();
    let dot = if shown.identity.group.is_empty() {
        ""
    } else {
        "."
    };
    format!(
        "{kind}{dot}{}/{}",
        shown.identity.group, shown.identity.name
    )
}

/// One table per kind, since each has columns of its own.
fn tables(found: &[Shown], format: GetFormat, query: &Query) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for shown in found {
        if !kinds.contains(&shown.identity.kind.as_str()) {
            kinds.push(&shown.identity.kind);
        }
    }
    // The order in which the kinds are listed everywhere.
    let rank = |kind: &&str| Kind::ALL.iter().position(|known| known.as_str() == *kind);
    kinds.sort_by_key(|kind| rank(kind).unwrap_or(usize::MAX));
    let several = kinds.len() > 1;
    let tables: Vec<String> = kinds
        .iter()
        .map(|kind| {
            let of_kind = found.iter().filter(|shown| shown.identity.kind == **kind);
            table(&rows(of_kind, kind, format, query, several))
        })
        .collect();
    tables.join("\n")
}

fn rows<'a>(
    found: impl Iterator<Item = &'a Shown>,
    kind: &str,
    format: GetFormat,
    query: &Query,
    several: bool,
) -> Vec<Vec<String>> {
    let known = Kind::ALL.iter().find(|known| known.as_str() == kind);
    let columns = known.map(|kind| columns::of(*kind)).unwrap_or_default();
    let everywhere = query.namespace.is_none();
    let wide = format == GetFormat::Wide;
    let mut heading: Vec<String> = Vec::new();
    heading.extend(everywhere.then(|| "NAMESPACE".to_owned()));
    heading.push("NAME".to_owned());
    heading.extend(columns.iter().map(|(heading, _)| (*heading).to_owned()));
    heading.extend(wide.then(|| "API VERSION".to_owned()));
    heading.extend(wide.then(|| "LABELS".to_owned()));
    heading.push("WRITTEN AT".to_owned());
    let mut rows = vec![heading];
    for shown in found {
        let mut row: Vec<String> = Vec::new();
        row.extend(everywhere.then(|| shown.identity.namespace.clone()));
        row.push(if several {
            name(shown)
        } else {
            shown.identity.name.clone()
        });
        row.extend(columns.iter().map(|column| cell(shown, column)));
        row.extend(wide.then(|| shown.api_version.clone()));
        row.extend(wide.then(|| labels(shown)));
        row.push(shown.at.clone());
        rows.push(row);
    }
    rows
}

fn labels(shown: &Shown) -> String {
    let labels = shown
        .value
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let pairs: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

#[cfg(test)]
mod tests {
    use policies::source::SourceFile;

    use super::*;

    const TEXT: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: x, labels: {app: web}}
spec:
  hosts: [a.test, b.test]
  gateways: [g]
  http: [{match: [{headers: {x-canary: {exact: \"true\"}}}], directResponse: {status: 200}, timeout: 0.5s}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: x}
spec: {}
";

    fn shown(text: &str) -> Vec<Shown> {
        let found = raw::documents(&[SourceFile::new("a.yaml", text)]);
        let shown = found.into_iter().map(|document| Shown {
            identity: document.identity("my-app"),
            at: document.at.to_string(),
            api_version: document.api_version,
            redacted: false,
            value: document.value,
        });
        shown.collect()
    }

    fn query() -> Query {
        Query {
            kinds: None,
            names: Vec::new(),
            namespace: None,
        }
    }

    #[test]
    fn yaml_and_json_can_be_read_again() {
        let before = shown(TEXT);
        for format in [GetFormat::Yaml, GetFormat::Json] {
            let text = print(&before, format, &query()).unwrap();
            let loaded = policies::load::load(
                &[SourceFile::new("again.yaml", text.as_str())],
                &policies::mesh::Mesh::default(),
            );
            assert!(!loaded.has_errors(), "{:?}\n{text}", loaded.diagnostics);
            let after = shown(&text);
            for (before, after) in before.iter().zip(&after) {
                let mut after = after.value.clone();
                after.as_object_mut().unwrap().remove("status");
                assert_eq!(before.value, after, "{text}");
            }
            assert_eq!(before.len(), after.len());
            assert!(text.contains("a.yaml:9:1"), "{text}");
        }
    }

    #[test]
    fn tables_have_the_columns_of_each_kind() {
        let text = print(&shown(TEXT), GetFormat::Wide, &query()).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[0],
            [
                "NAMESPACE",
                "NAME",
                "GATEWAYS",
                "HOSTS",
                "API",
                "VERSION",
                "LABELS",
                "WRITTEN",
                "AT"
            ]
        );
        assert_eq!(
            lines[1],
            [
                "x",
                "virtualservice.networking.istio.io/a",
                "g",
                "a.test,b.test",
                "networking.istio.io/v1",
                "app=web",
                "a.yaml:1:1"
            ]
        );
        assert_eq!(lines[4][2], "ALLOW");
        let names = print(&shown(TEXT), GetFormat::Name, &query()).unwrap();
        assert_eq!(
            names,
            "virtualservice.networking.istio.io/a\nauthorizationpolicy.security.istio.io/p\n"
        );
    }
}
