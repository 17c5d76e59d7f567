//! Findings as rustc shows them: with the line of the source underlined, and what a fix would change.

mod excerpt;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::safe_text::safe;
use super::{Diagnostic, Fix, Severity};
use crate::source::{Lines, SourceFile};
use excerpt::{Excerpt, is_honest};

/// How findings are rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Plain text, for files and pipes.
    #[default]
    Plain,
    /// With the colours of a terminal.
    Coloured,
}

/// Renders findings with source excerpts, in the given order, without colours.
///
/// Files that are not among `sources` are shown by place only.
pub fn render(diagnostics: &[Diagnostic], sources: &[SourceFile]) -> String {
    render_with(diagnostics, sources, Paint::Plain)
}

/// As [`render`], in the given style.
pub fn render_with(diagnostics: &[Diagnostic], sources: &[SourceFile], paint: Paint) -> String {
    let texts: HashMap<&str, &str> = sources
        .iter()
        .map(|source| (&*source.name, &*source.text))
        .collect();
    let renderer = match paint {
        Paint::Plain => Renderer::plain(),
        Paint::Coloured => Renderer::styled(),
    }
    .decor_style(DecorStyle::Ascii);
    // Findings come file by file: each text is cut into lines once.
    let mut current: Option<(Arc<str>, Option<Lines<'_>>)> = None;
    let mut out = String::new();
    for diagnostic in diagnostics {
        let file = &diagnostic.at.file;
        if current.as_ref().is_none_or(|(name, _)| name != file) {
            let lines = texts.get(&**file).map(|text| Lines::new(text));
            current = Some((Arc::clone(file), lines));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let lines = current.as_ref().and_then(|(_, lines)| lines.as_ref());
        one(&mut out, diagnostic, lines, &renderer);
    }
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, lines: Option<&Lines<'_>>, renderer: &Renderer) {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let excerpt = lines.and_then(|lines| Excerpt::of(&diagnostic.at, lines));
    let (Some(excerpt), Some(lines)) = (excerpt, lines) else {
        // Writing into a string cannot fail.
        let _written = writeln!(out, "{diagnostic}");
        return;
    };
    let mut annotation = AnnotationKind::Primary.span(excerpt.marked.clone());
    if !diagnostic.path.is_empty() {
        annotation = annotation.label(diagnostic.path.as_str());
    }
    let snippet = Snippet::source(excerpt.text)
        .line_start(excerpt.first_line)
        .path(safe(diagnostic.at.file.to_string()))
        .annotation(annotation);
    let id = diagnostic.code.to_string();
    let title = level.primary_title(diagnostic.message.as_str()).id(id);
    let mut report = vec![title.element(snippet)];
    if let Some(help) = &diagnostic.help {
        let mut group = Group::with_title(Level::HELP.secondary_title(help.as_str()));
        if let Some(patched) = diagnostic.fix.as_ref().and_then(|fix| patches(fix, lines)) {
            group = group.element(patched);
        }
        report.push(group);
    }
    out.push_str(&renderer.render(&report));
    out.push('\n');
}

/// The lines of a fix with what it changes; `None` if that is more than a screen should show.
fn patches<'a>(fix: &'a Fix, lines: &Lines<'a>) -> Option<Snippet<'a, Patch<'a>>> {
    const MOST_LINES: u32 = 24;
    const MOST_EDITS: usize = 12;
    const MOST_BYTES: usize = 8_000;
    if fix.edits.len() > MOST_EDITS {
        return None;
    }
    let first = fix.edits.iter().map(|edit| edit.start.line).min()?;
    let last = fix.edits.iter().map(|edit| edit.end.line).max()?;
    if last.checked_sub(first)? > MOST_LINES {
        return None;
    }
    let begin = lines.start_of(first);
    let end = lines
        .line(last)
        .map_or_else(|| lines.text().len(), |line| line.end);
    let shown = lines.text().get(begin..end)?;
    let honest = is_honest(shown) && fix.edits.iter().all(|edit| is_honest(&edit.text));
    if shown.len() > MOST_BYTES || !honest {
        return None;
    }
    let mut snippet = Snippet::source(shown).line_start(usize::try_from(first).ok()?);
    for edit in &fix.edits {
        let range = lines.range(edit.start, edit.end)?;
        let range = range.start.checked_sub(begin)?..range.end.checked_sub(begin)?;
        snippet = snippet.patch(Patch::new(range, edit.text.as_str()));
    }
    Some(snippet)
}
