//! What the reference says about fields, so that editors show the same words.

use std::collections::HashMap;

/// The tables of `docs/policies.md`: one section for each kind, one row for each field, its name in the first column.
#[derive(Clone, Debug, Default)]
pub struct Docs {
    fields: HashMap<(String, String), String>,
}

impl Docs {
    /// Reads the reference.
    pub fn parse(markdown: &str) -> Self {
        let mut docs = Self::default();
        let mut kind = "";
        let mut headings: Vec<&str> = Vec::new();
        for line in markdown.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                kind = title.trim().trim_matches('`');
                headings.clear();
            } else if !line.starts_with('|') {
                headings.clear();
            } else if headings.is_empty() {
                headings = cells(line);
            } else {
                docs.row(kind, &headings, &cells(line));
            }
        }
        docs
    }

    fn row(&mut self, kind: &str, headings: &[&str], cells: &[&str]) {
        let Some((name, rest)) = cells.split_first() else {
            return;
        };
        let said = headings.iter().skip(1).zip(rest);
        let text = said
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(heading, cell)| format!("{heading}: {cell}"))
            .collect::<Vec<_>>()
            .join("\n\n");
        for path in name.split('`').skip(1).step_by(2) {
            let key = (kind.to_owned(), plain(path));
            self.fields.insert(key, text.clone());
        }
    }

    /// What it says about a field, such as `spec.http[].timeout`.
    pub(super) fn field(&self, kind: &str, path: &str) -> Option<&str> {
        let key = (kind.to_owned(), plain(path));
        self.fields.get(&key).map(String::as_str)
    }
}

/// Tables leave out `spec.` and the marks of lists.
fn plain(path: &str) -> String {
    let path = path.strip_prefix("spec.").unwrap_or(path);
    path.replace("[]", "")
}

fn cells(line: &str) -> Vec<&str> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_belong_to_the_kind_of_their_section() {
        let docs = Docs::parse(
            "## VirtualService\n\n| field | type, default | in force |\n| --- | --- | --- |\n\
             | `http[].timeout` | duration, none | yes |\n| `a`, `b` | text | |\n\n\
             ## Other\n| `http[].timeout` |\n",
        );
        let found = docs.field("VirtualService", "spec.http[].timeout");
        assert_eq!(
            found,
            Some("type, default: duration, none\n\nin force: yes")
        );
        assert_eq!(
            docs.field("VirtualService", "spec.b"),
            Some("type, default: text")
        );
        assert_eq!(docs.field("Other", "spec.http[].timeout"), None);
    }
}
