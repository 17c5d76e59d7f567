//! Findings as SARIF 2.1.0, the format of code hosting and editors.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use policies::diagnostic::page::{Block, Page};
use policies::diagnostic::{Code, Diagnostic, Edit, Severity};
use policies::source::{Location, Position};
use serde_json::{Map, Value, json};

use crate::explain_code::explanation;

/// One run with every finding.
pub(super) fn log(diagnostics: &[Diagnostic]) -> Value {
    let used: BTreeSet<Code> = diagnostics.iter().map(|finding| finding.code).collect();
    let used: Vec<Code> = used.into_iter().collect();
    let rules: Vec<Value> = used.iter().map(|code| rule(*code)).collect();
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|finding| result(finding, &used))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {
                "driver": {
                    "name": "portcullis",
                    "version": env!("CARGO_PKG_VERSION"),
                    "rules": rules,
                },
            },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(code: Code) -> Value {
    let page = explanation(code).and_then(Page::parse);
    let title = page.as_ref().map_or("", |page| page.title);
    let prose = page.as_ref().map(|page| {
        let paragraphs = page.blocks.iter().filter_map(|block| match block {
            Block::Paragraph(text) => Some(text.replace('\n', " ")),
            Block::Wrong(_) | Block::Right(_) => None,
        });
        paragraphs.collect::<Vec<_>>().join("\n\n")
    });
    json!({
        "id": code.to_string(),
        "shortDescription": { "text": title },
        "fullDescription": { "text": prose.unwrap_or_default() },
    })
}

fn result(finding: &Diagnostic, used: &[Code]) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        message.push_str(". Help: ");
        message.push_str(help);
    }
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&finding.at.file) },
            "region": region_of(&finding.at),
        },
    });
    if !finding.path.is_empty()
        && let Some(location) = location.as_object_mut()
    {
        let path = json!([{ "fullyQualifiedName": finding.path }]);
        location.insert("logicalLocations".to_owned(), path);
    }
    let mut result = json!({
        "ruleId": finding.code.to_string(),
        "ruleIndex": used.binary_search(&finding.code).unwrap_or_default(),
        "level": level,
        "message": { "text": message },
        "locations": [location],
    });
    if let Some(fix) = &finding.fix
        && let Some(result) = result.as_object_mut()
    {
        let fixes = json!([{
            "description": { "text": fix.title },
            "artifactChanges": changes(&fix.edits),
        }]);
        result.insert("fixes".to_owned(), fixes);
    }
    result
}

/// The edits of a fix, file by file.
fn changes(edits: &[Edit]) -> Vec<Value> {
    let files: BTreeSet<&str> = edits.iter().map(|edit| &*edit.file).collect();
    let change = |file: &str| {
        let own = edits.iter().filter(|edit| &*edit.file == file);
        let replacements: Vec<Value> = own
            .map(|edit| {
                json!({
                    "deletedRegion": region(edit.start, Some(edit.end)),
                    "insertedContent": { "text": edit.text },
                })
            })
            .collect();
        json!({ "artifactLocation": { "uri": uri(file) }, "replacements": replacements })
    };
    files.into_iter().map(change).collect()
}

fn region_of(at: &Location) -> Value {
    let known = at.end > at.start();
    region(at.start(), known.then_some(at.end))
}

fn region(start: Position, end: Option<Position>) -> Value {
    let mut region = Map::new();
    region.insert("startLine".to_owned(), start.line.into());
    region.insert("startColumn".to_owned(), start.column.into());
    if let Some(end) = end {
        region.insert("endLine".to_owned(), end.line.into());
        region.insert("endColumn".to_owned(), end.column.into());
    }
    Value::Object(region)
}

/// A file's name as a URI reference: absolute paths with their scheme, others relative, both percent-encoded.
fn uri(name: &str) -> String {
    let mut uri = String::new();
    if name.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in name.strip_prefix("./").unwrap_or(name).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => {
                // Writing into a string cannot fail.
                let _written = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_uris() {
        assert_eq!(uri("./a b/ä.yaml"), "a%20b/%C3%A4.yaml");
        assert_eq!(uri("/etc/p.yaml"), "file:///etc/p.yaml");
        assert_eq!(uri("<stdin>"), "%3Cstdin%3E");
    }

    #[test]
    fn a_region_without_a_known_end_has_none() {
        let at = Location::new("a", 3, 4);
        assert_eq!(region_of(&at), json!({ "startLine": 3, "startColumn": 4 }));
    }
}
