//! `portcullis explain-code`: the long text about a finding, with a wrong and a right example.

use clap::Args;
use policies::diagnostic::Code;
use policies::diagnostic::page::{Block, Page};
use policies::nearest::nearest;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// How wide prose is set.
const WIDTH: usize = 88;

#[derive(Debug, Args)]
pub(crate) struct ExplainCode {
    /// The code, such as PC0107; without one, every code
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis explain-code PC0107
  portcullis explain-code                  every code with its title
  portcullis explain-code PC0107 -o json";

/// The page about a code of any crate.
pub(crate) fn explanation(code: Code) -> Option<&'static str> {
    policies::diagnostic::codes::explanation(code)
        .or_else(|| authz::codes::explanation(code))
        .or_else(|| ca::codes::explanation(code))
}

/// Every page, in the order of the numbers.
fn pages() -> Vec<Page<'static>> {
    let mut codes: Vec<Code> = [
        policies::diagnostic::codes::ALL,
        authz::codes::ALL,
        ca::codes::ALL,
    ]
    .into_iter()
    .flatten()
    .map(|(code, _)| *code)
    .collect();
    codes.sort_unstable();
    codes
        .into_iter()
        .filter_map(|code| Page::parse(explanation(code)?))
        .collect()
}

/// Prints one page, or the list of all.
pub(crate) fn run(args: &ExplainCode) -> Result<Exit, Failure> {
    let pages = pages();
    let Some(asked) = &args.code else {
        terminal::print(&match args.output {
            Format::Json => {
                let list: Vec<Value> = pages.iter().map(json_of).collect();
                format!("{:#}\n", Value::Array(list))
            }
            Format::Text => {
                let mut rows = vec![vec!["CODE".to_owned(), "MEANING".to_owned()]];
                rows.extend(
                    pages
                        .iter()
                        .map(|page| vec![page.code.to_owned(), page.title.to_owned()]),
                );
                terminal::table(&rows)
            }
        });
        return Ok(Exit::Fine);
    };
    let wanted = canonical(asked);
    let Some(page) = pages.iter().find(|page| page.code == wanted) else {
        let hint = match nearest(&wanted, pages.iter().map(|page| page.code)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`portcullis explain-code` lists every code".to_owned(),
        };
        return Err(Failure::usage(format!("there is no code `{asked}`")).hint(hint));
    };
    terminal::print(&match args.output {
        Format::Json => format!("{:#}\n", json_of(page)),
        Format::Text => text_of(page),
    });
    Ok(Exit::Fine)
}

/// `pc107` and `107` mean `PC0107`.
fn canonical(text: &str) -> String {
    let upper = text.trim().to_uppercase();
    let digits = upper.strip_prefix("PC").unwrap_or(&upper);
    match digits.parse::<u16>() {
        Ok(number) if digits.len() <= 4 => format!("PC{number:04}"),
        _ => upper,
    }
}

fn json_of(page: &Page<'_>) -> Value {
    let prose = page.blocks.iter().filter_map(|block| match block {
        Block::Paragraph(text) => Some(text.replace('\n', " ")),
        Block::Wrong(_) | Block::Right(_) => None,
    });
    json!({
        "code": page.code,
        "title": page.title,
        "text": prose.collect::<Vec<_>>().join("\n\n"),
        "wrong": page.wrong().map(|example| example.text),
        "right": page.right().map(|example| example.text),
    })
}

fn text_of(page: &Page<'_>) -> String {
    let mut text = terminal::heading(&format!("{}: {}", page.code, page.title));
    text.push('\n');
    for block in &page.blocks {
        text.push('\n');
        match block {
            Block::Paragraph(paragraph) => text.push_str(&wrapped(paragraph)),
            Block::Wrong(example) => text.push_str(&indented("Wrong:", example.text)),
            Block::Right(example) => text.push_str(&indented("Right:", example.text)),
        }
    }
    text
}

/// A paragraph in lines of a readable width.
fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in paragraph.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            width = 0;
        }
        if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
    text
}

fn indented(title: &str, example: &str) -> String {
    let mut text = format!("{}\n\n", terminal::heading(title));
    for line in example.lines() {
        let line = format!("    {line}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_understood_however_they_are_typed() {
        for text in ["PC0107", "pc0107", "PC107", "107", " 0107 "] {
            assert_eq!(canonical(text), "PC0107", "{text:?}");
        }
        assert_eq!(canonical("E0308"), "E0308");
        assert_eq!(canonical("PC00107"), "PC00107");
    }

    #[test]
    fn every_page_is_listed_once() {
        let pages = pages();
        let mut codes: Vec<&str> = pages.iter().map(|page| page.code).collect();
        let listed = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), listed);
        let all =
            policies::diagnostic::codes::ALL.len() + authz::codes::ALL.len() + ca::codes::ALL.len();
        assert_eq!(listed, all, "a page has another shape");
    }

    #[test]
    fn paragraphs_are_set_anew() {
        assert_eq!(wrapped("a\nb"), "a b\n");
        let long = "word ".repeat(40);
        assert!(wrapped(&long).lines().all(|line| line.len() <= WIDTH));
    }
}
