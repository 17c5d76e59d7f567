//! `--fix`: edits in rounds, each of which must not make anything worse.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use policies::diagnostic::{Code, Diagnostic, Fix, fix};
use policies::load::Loader;
use policies::source::SourceFile;

use super::input::Input;
use super::{Findings, Judge};

/// One fix may make room for the next, but not for ever.
const ROUNDS: usize = 32;
/// When a round as a whole makes things worse, at most so many fixes are tried one by one.
const TRIED_ALONE: usize = 64;

/// What fixing came to.
pub(super) struct Done {
    pub(super) files: Vec<SourceFile>,
    /// About the fixed files.
    pub(super) findings: Findings,
    /// How many fixes were made.
    pub(super) fixed: usize,
}

/// Makes every fix that helps, until none is left.
pub(super) fn fix(judge: &Judge, loader: &mut Loader, input: &Input, findings: Findings) -> Done {
    let mut done = Done {
        files: input.files.clone(),
        findings,
        fixed: 0,
    };
    for _ in 0..ROUNDS {
        let fixes = by_file(&done.findings);
        if fixes.values().all(Vec::is_empty) {
            break;
        }
        let mut try_out = |done: &mut Done, fixes: &BTreeMap<Arc<str>, Vec<Fix>>| {
            let (files, fixed) = edited(&done.files, fixes);
            let findings = judge.findings(loader, &files, &input.unreadable);
            let better = fixed > 0 && is_better(&done.findings, &findings);
            if better {
                done.files = files;
                done.findings = findings;
                done.fixed += fixed;
            }
            better
        };
        if try_out(&mut done, &fixes) {
            continue;
        }
        // One of them is to blame. Files do not move each other's places.
        let mut any = false;
        for (file, fixes) in &fixes {
            let own = BTreeMap::from([(Arc::clone(file), fixes.clone())]);
            any |= try_out(&mut done, &own);
        }
        if any {
            continue;
        }
        // Within a file they do: take the first good one, and look again.
        let single = fixes.iter().flat_map(|(file, fixes)| {
            let alone = |fix: &Fix| BTreeMap::from([(Arc::clone(file), vec![fix.clone()])]);
            fixes.iter().map(alone)
        });
        let mut tried = single.take(TRIED_ALONE);
        if !tried.any(|alone| try_out(&mut done, &alone)) {
            break;
        }
    }
    done
}

/// Whether a round cured something of what it set out to cure and left no text unreadable. New findings are no
/// reason against it: a field with its right name is read, and its value may be wrong too.
fn is_better(before: &Findings, after: &Findings) -> bool {
    let unreadable = |findings: &Findings| {
        let hiding = |finding: &&Diagnostic| finding.is_error() && finding.code.number() < 100;
        findings.diagnostics.iter().filter(hiding).count()
    };
    let fixable = before
        .diagnostics
        .iter()
        .filter(|found| found.fix.is_some());
    let meant: HashSet<_> = fixable.clone().map(identity).collect();
    let left = after.diagnostics.iter().map(identity);
    let left = left.filter(|found| meant.contains(found)).count();
    unreadable(after) <= unreadable(before) && left < fixable.count()
}

/// What a finding says, wherever its line has moved to.
fn identity(finding: &Diagnostic) -> (Code, &str, &str, &str) {
    let Diagnostic {
        code,
        at,
        path,
        message,
        ..
    } = finding;
    (*code, &at.file, path, message)
}

/// Every fix that stays within one file, by that file.
fn by_file(findings: &Findings) -> BTreeMap<Arc<str>, Vec<Fix>> {
    let mut fixes: BTreeMap<Arc<str>, Vec<Fix>> = BTreeMap::new();
    for fix in findings
        .diagnostics
        .iter()
        .filter_map(|found| found.fix.as_ref())
    {
        let mut edits = fix.edits.iter();
        if let Some(first) = edits.next()
            && edits.all(|edit| edit.file == first.file)
        {
            fixes
                .entry(Arc::clone(&first.file))
                .or_default()
                .push(fix.clone());
        }
    }
    fixes
}

/// The files after the fixes, and how many were made.
fn edited(files: &[SourceFile], fixes: &BTreeMap<Arc<str>, Vec<Fix>>) -> (Vec<SourceFile>, usize) {
    let mut made = 0;
    let edited = files
        .iter()
        .map(|file| match fixes.get(&file.name) {
            None => file.clone(),
            Some(fixes) => {
                let (text, skipped) = fix::apply(&file.text, fixes);
                made += fixes.len() - skipped;
                SourceFile::new(Arc::clone(&file.name), text)
            }
        })
        .collect();
    (edited, made)
}
