//! Findings as rustc shows them: with the line of the source underlined.

use std::fmt::Write as _;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Severity};
use crate::source::SourceFile;

/// Renders findings with source excerpts, in the given order, without colours.
///
/// Files that are not among `sources` are shown by place only.
pub fn render(diagnostics: &[Diagnostic], sources: &[SourceFile]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&diagnostic.render(sources));
    }
    out
}

impl Diagnostic {
    /// Renders this finding with its source excerpt; ends with a line break.
    pub fn render(&self, sources: &[SourceFile]) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let id = self.code.to_string();
        let excerpt = sources
            .iter()
            .find(|source| source.name == self.at.file)
            .and_then(|source| Excerpt::around(&source.text, self.at.line, self.at.column));
        let mut report = Vec::new();
        let title = level.primary_title(self.message.as_str()).id(id.as_str());
        let Some(excerpt) = excerpt else {
            let mut text = String::new();
            // Writing into a string cannot fail.
            let _written = writeln!(text, "{self}");
            return text;
        };
        let mut annotation = AnnotationKind::Primary.span(excerpt.start..excerpt.end);
        if !self.path.is_empty() {
            annotation = annotation.label(self.path.as_str());
        }
        report.push(
            title.element(
                Snippet::source(excerpt.text)
                    .line_start(excerpt.first_line)
                    .path(&*self.at.file)
                    .annotation(annotation),
            ),
        );
        if let Some(help) = &self.help {
            report.push(Group::with_title(
                Level::HELP.secondary_title(help.as_str()),
            ));
        }
        let mut text = Renderer::plain()
            .decor_style(DecorStyle::Ascii)
            .render(&report);
        text.push('\n');
        text
    }
}

/// The lines around a place: rendering a whole large file per finding would be quadratic.
struct Excerpt<'a> {
    text: &'a str,
    first_line: usize,
    start: usize,
    end: usize,
}

impl<'a> Excerpt<'a> {
    fn around(text: &'a str, line: u32, column: u32) -> Option<Self> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let column = usize::try_from(column).ok()?.saturating_sub(1);
        let first = line.saturating_sub(1);
        let mut begin = 0;
        let mut offset = 0;
        let mut at = None;
        for (number, content) in text.split_inclusive('\n').enumerate() {
            if number == first {
                begin = offset;
            }
            if number == line {
                at = Some((offset, content.trim_end_matches(['\n', '\r'])));
                break;
            }
            offset += content.len();
        }
        // A place behind the last line break: the end of the file.
        let (line_at, content) = at.unwrap_or((text.len(), ""));
        let skipped: usize = content.chars().take(column).map(char::len_utf8).sum();
        let rest = content.get(skipped..).unwrap_or_default();
        let marked = rest
            .find([' ', ',', ']', '}'])
            .filter(|length| *length > 0)
            .unwrap_or(rest.len());
        let marked = rest
            .get(..marked)
            .unwrap_or_default()
            .trim_end_matches(':')
            .len();
        Some(Self {
            text: text.get(begin..line_at + content.len())?,
            first_line: if at.is_some() { first + 1 } else { line + 1 },
            start: line_at + skipped - begin,
            end: line_at + skipped + marked - begin,
        })
    }
}
