//! Machine-made fixes: they never break a text, and what was good stays good.

use std::collections::BTreeSet;

use policies::diagnostic::fix::apply;
use policies::diagnostic::{Diagnostic, Fix};
use policies::source::SourceFile;

use super::documents::judge;

/// Lints, applies every fix, lints again.
pub fn fixes(bytes: &[u8]) {
    let file = SourceFile::new("fuzz.yaml", String::from_utf8_lossy(bytes));
    let before = judge(&file);
    let made: Vec<Fix> = before
        .iter()
        .filter_map(|found| found.fix.clone())
        .collect();
    if made.is_empty() {
        return;
    }
    let (text, _) = apply(&file.text, &made);
    let fixed = SourceFile::new("fuzz.yaml", text);
    let after = judge(&fixed);
    assert!(
        broken(&before) || !broken(&after),
        "a fix broke the YAML: {after:#?}\n{}",
        fixed.text
    );
    assert!(
        before.iter().any(Diagnostic::is_error) || !after.iter().any(Diagnostic::is_error),
        "a fix made a good set bad: {after:#?}\n{}",
        fixed.text
    );
    for fix in made {
        let (once, _) = apply(&file.text, std::slice::from_ref(&fix));
        let alone = judge(&SourceFile::new("fuzz.yaml", once.as_str()));
        assert!(
            broken(&before) || !broken(&alone),
            "{} broke the YAML:\n{once}",
            fix.title
        );
    }
}

/// Whether the text is not even YAML that we read.
fn broken(found: &[Diagnostic]) -> bool {
    let codes: BTreeSet<String> = found.iter().map(|found| found.code.to_string()).collect();
    codes.iter().any(|code| code.starts_with("PC000"))
}
