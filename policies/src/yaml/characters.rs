//! Characters that make a text look different from what it means: controls, reversed direction, nothing at all.

use super::Position;
use super::builder::Problem;
use crate::diagnostic::{codes, is_disguise, is_unseen};
use crate::source::Lines;

/// How many findings one text gets; the first ones say what is the matter.
const MAX_FINDINGS: usize = 20;

/// How a character deceives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deceit {
    /// YAML forbids it, or it reorders what a reader sees.
    Forbidden,
    /// A reader does not see it.
    Invisible,
}

/// Every such character that stands unescaped in a text, comments included: what a reviewer sees must be what is read.
///
/// The result tells errors (forbidden) from warnings (invisible).
pub(super) fn deceptive(text: &str) -> Vec<(Problem, bool)> {
    // Nearly every text is plain, and this is the cheap way to know it.
    if text
        .bytes()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b' '..=b'~'))
    {
        return Vec::new();
    }
    let mut found = Vec::new();
    let lines = Lines::new(text);
    let mut before = '\n';
    for (offset, character) in text.char_indices() {
        if found.len() == MAX_FINDINGS {
            break;
        }
        let behind = text.get(offset..).unwrap_or_default();
        if let Some(deceit) = judge(before, character).filter(|_| !behind.starts_with("\r\n")) {
            let position = lines.position(offset);
            let forbidden = deceit == Deceit::Forbidden;
            found.push((problem(character, deceit, position), forbidden));
        }
        before = character;
    }
    found
}

fn judge(before: char, character: char) -> Option<Deceit> {
    match character {
        '\t' | '\n' => None,
        // A byte order mark in the middle comes from files put together; it would be part of a key.
        '\u{feff}' => Some(Deceit::Forbidden),
        // Emoji and some scripts join characters with these.
        '\u{200c}' | '\u{200d}' if !before.is_ascii() => None,
        other if is_unseen(other) => Some(Deceit::Invisible),
        other => is_disguise(other).then_some(Deceit::Forbidden),
    }
}

fn problem(character: char, deceit: Deceit, position: Position) -> Problem {
    let name = format!("U+{:04X}", u32::from(character));
    let (code, message) = match (deceit, character) {
        (Deceit::Invisible, _) => (
            codes::INVISIBLE_CHARACTER,
            format!("the text has a character that nobody sees: {name}"),
        ),
        (Deceit::Forbidden, '\r') => (
            codes::UNSAFE_CHARACTER,
            "a carriage return stands alone: some programs see a new line here, others do not"
                .to_owned(),
        ),
        (Deceit::Forbidden, '\u{feff}') => (
            codes::UNSAFE_CHARACTER,
            format!("a byte order mark ({name}) stands inside the text"),
        ),
        (Deceit::Forbidden, _) => (
            codes::UNSAFE_CHARACTER,
            format!("the text has {name}, a control character that changes how it looks"),
        ),
    };
    let help = match character {
        '\r' => "end lines with a line feed".to_owned(),
        '\u{feff}' => "remove it; it may only stand at the very beginning of a file".to_owned(),
        _ => format!(
            "remove it, or write `{}` in double quotes if it is meant",
            yaml_escape(character)
        ),
    };
    Problem {
        help: Some(help),
        ..Problem::new(code, position, message)
    }
}

/// The escape of YAML's double-quoted texts.
fn yaml_escape(character: char) -> String {
    match u32::from(character) {
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(u32, u32, bool)> {
        deceptive(text)
            .iter()
            .map(|(problem, error)| (problem.position.line, problem.position.column, *error))
            .collect()
    }

    #[test]
    fn honest_texts_pass() {
        for text in [
            "a: 1\r\nb: \"\\u202e\"\n",
            "# Grüße, Ελλάδα, 日本, שלום\n",
            "body: \"👨\u{200d}👩\u{200d}👧 می\u{200c}خواهم\"\n",
            "a:\t1\r\n",
        ] {
            assert_eq!(found(text), [], "{text:?}");
        }
    }

    #[test]
    fn disguises_are_found_where_they_stand() {
        assert_eq!(found("a: 1\nb: ü\u{202e}x\n"), [(2, 5, true)]);
        assert_eq!(found("# \u{2066}\n"), [(1, 3, true)]);
        assert_eq!(found("a\0: \u{1b}[31m\u{7f}\u{85}\n").len(), 4);
        assert_eq!(found("a: 1\rb: 2\n"), [(1, 5, true)]);
        assert_eq!(found("a: 1\n\u{feff}b: 2\n"), [(2, 1, true)]);
        assert_eq!(found("admin\u{200b}: x\n"), [(1, 6, false)]);
        assert_eq!(found("admin\u{200d}: x\n"), [(1, 6, false)]);
        assert_eq!(found(&"\u{202e}".repeat(1000)).len(), MAX_FINDINGS);
    }
}
