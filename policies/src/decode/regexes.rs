//! Regular expressions: each distinct text of a set is compiled once, and all of them within a budget.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use super::{Cursor, Decode};
use crate::diagnostic::codes;
use crate::schema::TextFormat;
use crate::source::Location;
use crate::yaml::shortened;

/// Longest regular expression, in bytes (Istio's limit).
const MAX_REGEX: usize = 1024;
/// Largest compiled regular expression, in bytes.
pub(crate) const MAX_REGEX_SIZE: usize = 1 << 20;
/// How large the distinct regular expressions of a set may be together when compiled, in bytes.
pub(crate) const MAX_REGEX_SUM: usize = 128 << 20;
/// What a thread may use to remember how one regular expression goes on, in bytes.
const MAX_REGEX_CACHE: usize = 256 << 10;

const REGEX: TextFormat = TextFormat {
    pattern: "",
    expected: "a regular expression in RE2's syntax",
    longest: Some(MAX_REGEX),
};

/// A regular expression of RE2's syntax within the limits, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegexText(pub(crate) String);

/// A compiled regular expression that must match the whole text.
#[derive(Clone, Debug)]
pub(crate) struct WholeText {
    pub(crate) regex: Arc<Regex>,
    /// About how large it is, in bytes.
    pub(crate) weight: usize,
}

/// What the files of a load have in common: what has been compiled before, and how much is left to compile.
#[derive(Debug, Default)]
pub(crate) struct Regexes {
    known: RefCell<HashMap<Arc<str>, WholeText>>,
    /// What was compiled in this load.
    spent: Cell<usize>,
}

/// The regular expressions of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegexesOfFile {
    /// The distinct ones, with the place of their first use.
    pub(crate) compiled: HashMap<Arc<str>, (WholeText, Location)>,
    /// Whether the budget was spent before the file was read to its end.
    pub(crate) cut: bool,
}

impl Regexes {
    /// What has been compiled before need not be compiled again.
    pub(crate) fn knowing(known: impl IntoIterator<Item = (Arc<str>, WholeText)>) -> Self {
        Self {
            known: RefCell::new(known.into_iter().collect()),
            spent: Cell::new(0),
        }
    }

    /// The compiled expression; `None` if its syntax is right but the budget is spent, so that the set is refused anyway.
    fn compiled(&self, text: &str) -> Result<Option<(Arc<str>, WholeText)>, regex::Error> {
        if let Some((text, known)) = self.known.borrow().get_key_value(text) {
            return Ok(Some((Arc::clone(text), known.clone())));
        }
        // By itself first: `a)|(b` would only make sense between the anchors' parentheses. Size does not matter here.
        match RegexBuilder::new(text).size_limit(0).build() {
            Ok(_) | Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => return Err(error),
        }
        if self.spent.get() > MAX_REGEX_SUM {
            return Ok(None);
        }
        let compiled = weighed(text);
        // Finding that one is too large was as much work as compiling it.
        let weight = compiled
            .as_ref()
            .map_or(MAX_REGEX_SIZE, |found| found.weight);
        self.spent.set(self.spent.get().saturating_add(weight));
        let compiled = compiled?;
        let text: Arc<str> = text.into();
        self.known
            .borrow_mut()
            .insert(Arc::clone(&text), compiled.clone());
        Ok(Some((text, compiled)))
    }
}

impl Decode for RegexText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(REGEX));
        let text = cursor.text()?;
        if text.is_empty() {
            let message = "the regular expression is empty";
            cursor.error(codes::INVALID_REGEX, message, None);
            return None;
        }
        if text.len() > MAX_REGEX {
            let message = format!("the regular expression is longer than {MAX_REGEX} bytes");
            cursor.error(codes::INVALID_REGEX, message, None);
            return None;
        }
        match cursor.context.shared.regexes.compiled(text) {
            Ok(compiled) => {
                let mut own = cursor.context.regexes.borrow_mut();
                match compiled {
                    Some((text, compiled)) => {
                        let place = || (compiled, cursor.at());
                        own.compiled.entry(text).or_insert_with(place);
                    }
                    None => own.cut = true,
                }
                Some(Self(text.to_owned()))
            }
            Err(error) => {
                let reason = match &error {
                    regex::Error::CompiledTooBig(_) => {
                        "it grows too large when compiled".to_owned()
                    }
                    other => last_line(&other.to_string()),
                };
                let message = format!(
                    "`{}` is not a regular expression: {reason}",
                    shortened(text)
                );
                cursor.error(codes::INVALID_REGEX, message, None);
                None
            }
        }
    }
}

/// A compiled expression; it weighs the first of these limits that it keeps.
fn weighed(text: &str) -> Result<WholeText, regex::Error> {
    for limit in [2 << 10, 8 << 10, 32 << 10, 128 << 10] {
        match sized_regex(text, limit) {
            Err(regex::Error::CompiledTooBig(_)) => {}
            other => {
                return other.map(|regex| WholeText {
                    regex: regex.into(),
                    weight: limit,
                });
            }
        }
    }
    sized_regex(text, MAX_REGEX_SIZE).map(|regex| WholeText {
        regex: regex.into(),
        weight: MAX_REGEX_SIZE,
    })
}

/// A regular expression that must match the whole text.
fn sized_regex(pattern: &str, limit: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("\\A(?:{pattern})\\z"))
        .size_limit(limit)
        .dfa_size_limit(MAX_REGEX_CACHE)
        .build()
}

/// The reason at the end of the several lines that the regex crate writes.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
