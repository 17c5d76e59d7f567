//! Strangers' text made safe to show: nothing in a policy file may steer a terminal or reorder what is read.

/// Whether a character changes how the text around it looks: controls (also C1), line and paragraph separators,
/// embeddings, overrides and isolates of direction, and tags.
pub(crate) fn is_disguise(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(
            character,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with every such character, and every character that nobody sees, written as `\u{…}`.
pub(crate) fn safe(text: String) -> String {
    let clean = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if clean || !text.chars().any(needs_escape) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if needs_escape(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Whether a reader does not see a character at all.
pub(crate) fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{200b}'..='\u{200f}'
            | '\u{2060}'..='\u{2064}'
            | '\u{61c}'
            | '\u{ad}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{3164}'
            | '\u{feff}'
    )
}

fn needs_escape(character: char) -> bool {
    // A finding is one line.
    character == '\n' || is_disguise(character) || is_unseen(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_deceives_is_escaped() {
        for clean in ["plain", "Grüße `日本`", "שלום"] {
            assert_eq!(safe(clean.to_owned()), clean);
        }
        assert_eq!(
            safe("a\n\x1b[31m\u{85}".to_owned()),
            "a\\u{a}\\u{1b}[31m\\u{85}"
        );
        assert_eq!(
            safe("\u{202e}x\u{200b}\u{e0041}".to_owned()),
            "\\u{202e}x\\u{200b}\\u{e0041}"
        );
    }
}
