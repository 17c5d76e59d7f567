//! Strangers' text made safe for logs: no control characters, bounded length, no secrets in queries.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest piece of a stranger's text that a log line carries, in bytes.
pub const LIMIT: usize = 1024;

/// Escapes control characters (also C1 and the bidirectional controls) as `\u{..}`, backslashes as `\\`, and cuts
/// after `limit` bytes with `…`. Clean text is borrowed.
pub fn escape(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && !text.chars().any(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().min(limit) + 16);
    for c in text.chars() {
        if safe.len() >= limit {
            safe.push('…');
            break;
        }
        if dangerous(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Like [`escape`] for bytes that need not be UTF-8; other bytes appear as `\xNN`.
pub fn escape_bytes(bytes: &[u8], limit: usize) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return escape(text, limit);
    }
    let mut safe = String::new();
    for chunk in bytes.utf8_chunks() {
        if safe.len() >= limit {
            safe.push('…');
            break;
        }
        let left = limit - safe.len();
        safe.push_str(&escape(chunk.valid(), left));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            write!(safe, "\\x{byte:02x}").ok();
        }
    }
    Cow::Owned(safe)
}

/// Escapes ASCII control characters as `\xNN` and leaves every other byte alone: the last guard before a log line.
pub(crate) fn escape_controls(bytes: &[u8]) -> Vec<u8> {
    let mut safe = Vec::with_capacity(bytes.len() + 16);
    for &byte in bytes {
        if byte.is_ascii_control() && byte != b'\t' {
            // Writing to a vector cannot fail.
            std::io::Write::write_fmt(&mut safe, format_args!("\\x{byte:02x}")).ok();
        } else {
            safe.push(byte);
        }
    }
    safe
}

fn dangerous(c: char) -> bool {
    c.is_control() || c == '\\' || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Query parameters whose values never reach a log (compared without case).
const SECRET_PARAMETERS: [&str; 14] = [
    "access_token",
    "api_key",
    "apikey",
    "auth",
    "client_secret",
    "code",
    "id_token",
    "jwt",
    "key",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "token",
];

/// Replaces the values of token-like query parameters in a request target by `***`.
pub fn redact_query(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else {
        return Cow::Borrowed(target);
    };
    let secret = |pair: &str| {
        pair.split_once('=').is_some_and(|(name, value)| {
            !value.is_empty()
                && SECRET_PARAMETERS
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
        })
    };
    if !query.split('&').any(secret) {
        return Cow::Borrowed(target);
    }
    let mut redacted = String::with_capacity(target.len());
    redacted.push_str(path);
    for (index, pair) in query.split('&').enumerate() {
        redacted.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if secret(pair) => {
                redacted.push_str(name);
                redacted.push_str("=***");
            }
            _ => redacted.push_str(pair),
        }
    }
    Cow::Owned(redacted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_text_is_borrowed() {
        assert!(matches!(escape("GET /a?b=ü", 64), Cow::Borrowed(_)));
        assert!(matches!(redact_query("/a?b=1"), Cow::Borrowed(_)));
    }

    #[test]
    fn controls_are_escaped_and_length_is_bounded() {
        assert_eq!(escape("a\n\x1b[31m\\", 64), "a\\n\\u{1b}[31m\\\\");
        assert_eq!(escape("\u{202e}x\u{85}", 64), "\\u{202e}x\\u{85}");
        assert_eq!(escape("abcdef", 3), "abc…");
        assert_eq!(escape_bytes(b"a\xff\n", 64), "a\\xff\\n");
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(escape_controls(b"a\nb\x1b\tc"), b"a\\x0ab\\x1b\tc");
    }

    #[test]
    fn tokens_in_queries_disappear() {
        assert_eq!(
            redact_query("/x?a=1&Access_Token=abc&token=&b"),
            "/x?a=1&Access_Token=***&token=&b"
        );
    }
}
