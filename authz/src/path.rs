//! One canonical request path: what is judged, routed and forwarded is the same text.
//!
//! The four modes are Istio's `pathNormalization.normalization`. Where Istio's behaviour is not settled, ours is:
//! a NUL or another control character is refused in every mode; `..;x` is a name like any other, not a parent
//! segment; a stray `%` stays, unless decoding its neighbours would turn it into an escape that was never sent,
//! in which case it becomes `%25`. So the result is stable: normalizing it again changes nothing.

use std::borrow::Cow;

use policies::mesh::PathNormalization;

#[cfg(test)]
mod tests;

/// Why a request path has no canonical form. The client gets 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path holds a NUL, raw or as `%00`.
    #[error("the path holds a NUL character")]
    Nul,
    /// The path holds another control character, which no HTTP parser should have let through.
    #[error("the path holds the control character 0x{0:02x}")]
    ControlCharacter(u8),
    /// The path neither begins with `/` nor is `*` (RFC 9112 §3.2).
    #[error("the path does not begin with `/`")]
    NotAbsolute,
}

/// Splits a request target as received (`:path`) into path and query, without the fragment.
///
/// Clients must not send a fragment (RFC 9110 §7.1); where one does, it ends path and query alike,
/// so that `/public#/../admin?x` is `/public` for everybody.
pub fn split_target(target: &str) -> (&str, Option<&str>) {
    let without_fragment = target.split_once('#').map_or(target, |(before, _)| before);
    match without_fragment.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (without_fragment, None),
    }
}

/// Brings a raw path, without its query, into canonical form.
///
/// A fragment (and a query, if one was left on) is cut off. An empty path is `/` (RFC 9110 §4.2.3);
/// `*` (RFC 9112 §3.2.4) stays. Nothing is allocated when the path is canonical already.
///
/// # Errors
/// A path that no service could read safely: see [`PathError`].
pub fn normalize(raw: &str, mode: PathNormalization) -> Result<Cow<'_, str>, PathError> {
    let (path, _) = split_target(raw);
    if path.is_empty() {
        return Ok(Cow::Borrowed("/"));
    }
    refuse_control_characters(path)?;
    if path == "*" {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let steps = Steps::of(mode);
    if !steps.base || is_canonical(path, steps) {
        return Ok(Cow::Borrowed(path));
    }
    Ok(Cow::Owned(resolve_segments(&decode(path, steps), steps)))
}

/// Brings the path that a route's rewrite made into canonical form; a query in it stays.
///
/// A prefix is replaced as plain text, so that `/api../x` under `/api` to `/v1/` becomes `/v1/../x`: forwarded as it
/// is, it would leave the directory that the route leads to.
///
/// # Errors
/// As [`normalize`].
pub fn normalize_rewritten(
    rewritten: String,
    mode: PathNormalization,
) -> Result<String, PathError> {
    let (path, query) = split_target(&rewritten);
    Ok(match (normalize(path, mode)?, query) {
        (Cow::Borrowed(same), None) if same.len() == rewritten.len() => rewritten,
        (path, None) => path.into_owned(),
        (path, Some(query)) => format!("{path}?{query}"),
    })
}

/// What a mode does, each step as its own switch.
#[derive(Clone, Copy)]
struct Steps {
    base: bool,
    merge: bool,
    decode_slashes: bool,
}

impl Steps {
    const fn of(mode: PathNormalization) -> Self {
        let (base, merge, decode_slashes) = match mode {
            PathNormalization::None => (false, false, false),
            PathNormalization::Base => (true, false, false),
            PathNormalization::MergeSlashes => (true, true, false),
            PathNormalization::DecodeAndMergeSlashes => (true, true, true),
        };
        Self {
            base,
            merge,
            decode_slashes,
        }
    }
}

fn refuse_control_characters(path: &str) -> Result<(), PathError> {
    match path.bytes().find(u8::is_ascii_control) {
        Some(0) => Err(PathError::Nul),
        Some(byte) => Err(PathError::ControlCharacter(byte)),
        None if path.contains("%00") => Err(PathError::Nul),
        None => Ok(()),
    }
}

/// Whether nothing in `path` could need work; may say no for a path that turns out unchanged.
fn is_canonical(path: &str, steps: Steps) -> bool {
    let mut after_slash = false;
    for byte in path.bytes() {
        match byte {
            b'%' | b'\\' => return false,
            b'.' if after_slash => return false,
            b'/' if after_slash && steps.merge => return false,
            _ => after_slash = byte == b'/',
        }
    }
    true
}

/// Decodes escapes of unreserved characters (RFC 3986 §2.3) once, and of slashes where the mode says so.
fn decode(path: &str, steps: Steps) -> String {
    let mut out = String::with_capacity(path.len());
    let mut stray = None;
    let mut characters = path.char_indices();
    while let Some((at, character)) = characters.next() {
        match (character, escaped_byte(path, at)) {
            ('%', Some(byte)) => {
                // The two digits are ASCII: two characters to skip.
                let digits = (characters.next(), characters.next());
                if is_unreserved(byte) {
                    out.push(char::from(byte));
                } else if steps.decode_slashes && matches!(byte, b'/' | b'\\') {
                    out.push('/');
                } else {
                    out.push('%');
                    for (_, digit) in [digits.0, digits.1].into_iter().flatten() {
                        out.push(digit);
                    }
                }
            }
            ('%', None) => {
                stray = Some(out.len());
                out.push('%');
            }
            ('\\', _) => out.push('/'),
            (other, _) => out.push(other),
        }
        if let Some(percent) = stray
            && escaped_byte(&out, percent).is_some()
        {
            // `%%34%31` must not become `%41`: that would mean `A` to whoever decodes next.
            out.insert_str(percent + 1, "25");
            stray = None;
        }
    }
    out
}

/// The byte that the escape at `at` stands for, if there is a whole one.
fn escaped_byte(text: &str, at: usize) -> Option<u8> {
    let digits = match text.as_bytes().get(at..at + 3)? {
        [b'%', high, low] => [char::from(*high), char::from(*low)],
        _ => return None,
    };
    let [high, low] = digits.map(|digit| digit.to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Resolves `.` and `..` (RFC 3986 §5.2.4; above the root there is only the root), then merges slashes.
fn resolve_segments(path: &str, steps: Steps) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            name => kept.push(name),
        }
    }
    let last = kept.len().saturating_sub(1);
    let mut out = String::with_capacity(path.len());
    for (index, segment) in kept.iter().enumerate() {
        if steps.merge && segment.is_empty() && index != last {
            continue;
        }
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}
