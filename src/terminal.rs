//! What people see: marks and colours on a terminal, plain lines in a pipe; a closed pipe stops nobody.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use crate::exit::Failure;

/// How one line is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Something is well.
    Good,
    /// Something deserves a look.
    Attention,
    /// Something is broken.
    Bad,
}

impl Mark {
    fn text(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Attention => "!",
            Self::Bad => "✗",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[32m",
            Self::Attention => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }
}

const BOLD: &str = "\u{1b}[1m";
const PLAIN: &str = "\u{1b}[0m";

/// Whether colours fit a stream: a terminal, and neither `NO_COLOR` nor `TERM=dumb` (no-color.org).
fn coloured(terminal: bool) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    terminal && !no_color && !dumb
}

/// Whether colours fit standard output.
pub(crate) fn colours() -> bool {
    coloured(io::stdout().is_terminal())
}

/// Prints text as it stands to standard output.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    // When the pipe is closed nobody is left to tell.
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .ok();
}

/// Prints one line to standard output.
pub(crate) fn line(text: impl Display) {
    print(&format!("{text}\n"));
}

/// Prints one line with a mark and a name in front.
pub(crate) fn marked(mark: Mark, name: &str, text: impl Display) {
    let sign = mark.text();
    if coloured(io::stdout().is_terminal()) {
        line(format_args!(
            " {}{sign}{PLAIN} {BOLD}{name:<27}{PLAIN} {text}",
            mark.colour()
        ));
    } else {
        line(format_args!(" {sign} {name:<27} {text}"));
    }
}

/// Makes a heading bold where that can be seen.
pub(crate) fn heading(text: &str) -> String {
    if coloured(io::stdout().is_terminal()) {
        format!("{BOLD}{text}{PLAIN}")
    } else {
        text.to_owned()
    }
}

/// Prints one line to standard error, for notes beside a program's own output.
pub(crate) fn note(text: impl Display) {
    let mut err = io::stderr().lock();
    // When the pipe is closed nobody is left to tell.
    writeln!(err, "{text}").ok();
}

/// Says on standard error why a verb failed, and what to do next.
pub(crate) fn complain(failure: &Failure) {
    if coloured(io::stderr().is_terminal()) {
        note(format_args!(
            "{}error:{PLAIN} {failure}",
            Mark::Bad.colour()
        ));
    } else {
        note(format_args!("error: {failure}"));
    }
    if let Some(next) = failure.next_step() {
        note(format_args!("  {next}"));
    }
}

/// This command as the person typed it, for what we suggest to type.
pub(crate) fn me() -> String {
    let typed = std::env::args().next().filter(|typed| typed.contains('/'));
    typed.unwrap_or_else(|| "portcullis".to_owned())
}

/// Lays rows out in columns two spaces apart; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = width.saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(padding + 2));
        }
        let line = line.trim_end();
        text.push_str(&if number == 0 {
            heading(line)
        } else {
            line.to_owned()
        });
        text.push('\n');
    }
    text
}

/// A number of bytes as people read it.
pub(crate) fn mebibytes(bytes: u64) -> String {
    // Tenths of a MiB in whole numbers: 2^20 / 10 bytes each.
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// A span of time as people read it, to two units.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(mebibytes(0), "0.0 MiB");
        assert_eq!(mebibytes(8_808_039), "8.4 MiB");
        assert_eq!(span(59), "59 s");
        assert_eq!(span(61), "1 min 1 s");
        assert_eq!(span(3_661), "1 h 1 min");
        assert_eq!(span(90_000), "1 d 1 h");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["A".to_owned(), "B".to_owned()],
            vec!["long".to_owned(), "x".to_owned()],
        ];
        assert_eq!(table(&rows), "A     B\nlong  x\n");
    }
}
