//! Tables and properties of the canonical path, and a naive reference that follows the text step by step.

use proptest::prelude::*;

use super::*;

const MODES: [PathNormalization; 4] = [
    PathNormalization::None,
    PathNormalization::Base,
    PathNormalization::MergeSlashes,
    PathNormalization::DecodeAndMergeSlashes,
];

/// Raw path, then what NONE, BASE, MERGE_SLASHES and DECODE_AND_MERGE_SLASHES make of it.
const TABLE: &[(&str, [&str; 4])] = &[
    ("/", ["/", "/", "/", "/"]),
    ("", ["/", "/", "/", "/"]),
    ("*", ["*", "*", "*", "*"]),
    ("/a/b", ["/a/b", "/a/b", "/a/b", "/a/b"]),
    ("/a#b", ["/a", "/a", "/a", "/a"]),
    ("/a#b?c", ["/a", "/a", "/a", "/a"]),
    ("/a?b#c", ["/a", "/a", "/a", "/a"]),
    ("/%61", ["/%61", "/a", "/a", "/a"]),
    ("/%7E%2d%5F", ["/%7E%2d%5F", "/~-_", "/~-_", "/~-_"]),
    ("/a%20b", ["/a%20b", "/a%20b", "/a%20b", "/a%20b"]),
    ("/a/.", ["/a/.", "/a/", "/a/", "/a/"]),
    ("/a/b/..", ["/a/b/..", "/a/", "/a/", "/a/"]),
    ("/a/../b", ["/a/../b", "/b", "/b", "/b"]),
    ("/../../b", ["/../../b", "/b", "/b", "/b"]),
    ("/..", ["/..", "/", "/", "/"]),
    ("/a/%2e%2E/b", ["/a/%2e%2E/b", "/b", "/b", "/b"]),
    ("/a/.%2e/b", ["/a/.%2e/b", "/b", "/b", "/b"]),
    ("/a\\..\\b", ["/a\\..\\b", "/b", "/b", "/b"]),
    ("/a//b", ["/a//b", "/a//b", "/a/b", "/a/b"]),
    ("///", ["///", "///", "/", "/"]),
    ("/a//../b", ["/a//../b", "/a/b", "/a/b", "/a/b"]),
    ("/a%2Fb", ["/a%2Fb", "/a%2Fb", "/a%2Fb", "/a/b"]),
    ("/a%5cb", ["/a%5cb", "/a%5cb", "/a%5cb", "/a/b"]),
    (
        "/a%2f%2e%2e%2fb",
        ["/a%2f%2e%2e%2fb", "/a%2f..%2fb", "/a%2f..%2fb", "/b"],
    ),
    ("/a%2f%2Fb", ["/a%2f%2Fb", "/a%2f%2Fb", "/a%2f%2Fb", "/a/b"]),
    ("/a%252fb", ["/a%252fb", "/a%252fb", "/a%252fb", "/a%252fb"]),
    ("/%2561", ["/%2561", "/%2561", "/%2561", "/%2561"]),
    ("/100%", ["/100%", "/100%", "/100%", "/100%"]),
    ("/%zz", ["/%zz", "/%zz", "/%zz", "/%zz"]),
    ("/%%34%31", ["/%%34%31", "/%2541", "/%2541", "/%2541"]),
    ("/%%32%66", ["/%%32%66", "/%252f", "/%252f", "/%252f"]),
    ("/%2%66", ["/%2%66", "/%252f", "/%252f", "/%252f"]),
    (
        "/a/..;x/b",
        ["/a/..;x/b", "/a/..;x/b", "/a/..;x/b", "/a/..;x/b"],
    ),
    ("/a;v=1/b", ["/a;v=1/b", "/a;v=1/b", "/a;v=1/b", "/a;v=1/b"]),
    ("/...", ["/...", "/...", "/...", "/..."]),
    (
        "/.well-known/x",
        [
            "/.well-known/x",
            "/.well-known/x",
            "/.well-known/x",
            "/.well-known/x",
        ],
    ),
    ("/%ff%FE", ["/%ff%FE", "/%ff%FE", "/%ff%FE", "/%ff%FE"]),
    ("/päth/ü", ["/päth/ü", "/päth/ü", "/päth/ü", "/päth/ü"]),
];

#[test]
fn every_row_of_the_table_holds() {
    for (raw, expected) in TABLE {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            assert_eq!(
                normalize(raw, mode).as_deref(),
                Ok(*expected),
                "{raw} in {mode:?}"
            );
        }
    }
}

#[test]
fn a_canonical_path_is_borrowed() {
    for mode in MODES {
        assert!(matches!(
            normalize("/api/products/1.0/x..y", mode),
            Ok(Cow::Borrowed(_))
        ));
    }
}

#[test]
fn what_no_service_could_read_safely_is_refused_in_every_mode() {
    for mode in MODES {
        assert_eq!(normalize("/a%00b", mode), Err(PathError::Nul));
        assert_eq!(normalize("/a\0b", mode), Err(PathError::Nul));
        assert_eq!(
            normalize("/a\nb", mode),
            Err(PathError::ControlCharacter(b'\n'))
        );
        assert_eq!(normalize("a", mode), Err(PathError::NotAbsolute));
        assert_eq!(normalize("\\a", mode), Err(PathError::NotAbsolute));
        assert_eq!(normalize("%2Fa", mode), Err(PathError::NotAbsolute));
        assert_eq!(normalize("**", mode), Err(PathError::NotAbsolute));
    }
}

#[test]
fn the_fragment_ends_the_query_too() {
    assert_eq!(split_target("/a?b=c"), ("/a", Some("b=c")));
    assert_eq!(split_target("/a?b#c?d"), ("/a", Some("b")));
    assert_eq!(split_target("/a#b?c"), ("/a", None));
    assert_eq!(split_target("/a?"), ("/a", Some("")));
    assert_eq!(split_target("/a"), ("/a", None));
}

/// The rules of RFC 3986 §5.2.4 to the letter: an input buffer, an output buffer, five cases.
fn remove_dot_segments(path: &str) -> String {
    let mut input = path.to_owned();
    let mut output = String::new();
    while !input.is_empty() {
        if input.starts_with("/./") {
            input = input.replacen("/./", "/", 1);
        } else if input == "/." {
            input = "/".to_owned();
        } else if input.starts_with("/../") {
            input = input.replacen("/../", "/", 1);
            output.truncate(output.rfind('/').unwrap_or(0));
        } else if input == "/.." {
            input = "/".to_owned();
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            // The first character is a slash: the segment ends before the second one.
            let end = input
                .match_indices('/')
                .nth(1)
                .map_or(input.len(), |(at, _)| at);
            let rest = input.split_off(end);
            output.push_str(&input);
            input = rest;
        }
    }
    output
}

/// One replacement at a time, for inputs whose every `%` begins an escape.
fn reference(raw: &str, mode: PathNormalization) -> String {
    let mut path = raw.split(['#', '?']).next().unwrap_or_default().to_owned();
    if mode == PathNormalization::None {
        return path;
    }
    if mode == PathNormalization::DecodeAndMergeSlashes {
        for escape in ["%2f", "%2F"] {
            path = path.replace(escape, "/");
        }
        for escape in ["%5c", "%5C"] {
            path = path.replace(escape, "\\");
        }
    }
    // `%25` is set aside: what stands behind it is not an escape.
    path = path.replace("%25", "\u{1}");
    for byte in 0..=127_u8 {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-._~".contains(character) {
            for escape in [format!("%{byte:02x}"), format!("%{byte:02X}")] {
                path = path.replace(&escape, &character.to_string());
            }
        }
    }
    path = path.replace('\u{1}', "%25").replace('\\', "/");
    path = remove_dot_segments(&path);
    if mode != PathNormalization::Base {
        while path.contains("//") {
            path = path.replace("//", "/");
        }
    }
    path
}

fn pieces(with_strays: bool) -> impl Strategy<Value = String> {
    let mut alphabet = vec![
        "/", "/", ".", "..", "\\", "a", "b2", ";", "%2e", "%2E", "%2f", "%2F", "%5c", "%5C", "%25",
        "%61", "%41", "%7e", "%20", "%c3", "#", "é", "*",
    ];
    if with_strays {
        alphabet.extend([
            "%", "%2", "4", "1", "%34", "%31", "%32", "%66", "%00", "\0", "f", "?",
        ]);
    }
    proptest::collection::vec(proptest::sample::select(alphabet), 0..14)
        .prop_map(|parts| format!("/{}", parts.concat()))
}

fn any_mode() -> impl Strategy<Value = PathNormalization> {
    proptest::sample::select(MODES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn agrees_with_the_reference(raw in pieces(false), mode in any_mode()) {
        let path = normalize(&raw, mode);
        prop_assert_eq!(path.map(Cow::into_owned), Ok(reference(&raw, mode)));
    }

    #[test]
    fn normalizing_twice_changes_nothing(raw in pieces(true), mode in any_mode()) {
        if let Ok(once) = normalize(&raw, mode) {
            prop_assert_eq!(normalize(&once, mode), Ok(once.clone()));
        }
    }

    #[test]
    fn the_result_is_safe_to_judge_and_to_forward(raw in pieces(true), mode in any_mode()) {
        if let Ok(path) = normalize(&raw, mode) {
            prop_assert!(path.starts_with('/'));
            prop_assert!(!path.contains(['#', '?', '\0']));
            if mode != PathNormalization::None {
                prop_assert!(!path.contains('\\'));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                for escape in ["%2e", "%2E", "%61", "%41", "%7e"] {
                    prop_assert!(!path.contains(escape), "{escape} left in {path}");
                }
            }
            if matches!(mode, PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes) {
                prop_assert!(!path.contains("//"));
            }
            if mode == PathNormalization::DecodeAndMergeSlashes {
                prop_assert!(!path.to_ascii_lowercase().contains("%2f"));
            }
        }
    }

    #[test]
    fn any_text_at_all_is_answered(raw in "\\PC*|[/%.\\\\0-9a-f]{0,40}", mode in any_mode()) {
        if let Ok(path) = normalize(&raw, mode) {
            prop_assert!(path.starts_with('/') || path == "*");
        }
    }
}

#[test]
fn a_rewrite_does_not_climb_out() {
    let rewritten =
        |text: &str| normalize_rewritten(text.to_owned(), PathNormalization::Base).unwrap();
    assert_eq!(rewritten("/v1/../x"), "/x");
    assert_eq!(rewritten("/v1/a"), "/v1/a");
    assert_eq!(rewritten("//b"), "//b");
    assert_eq!(rewritten("/v1/../x?a=/../b"), "/x?a=/../b");
    assert_eq!(rewritten(""), "/");
    assert!(normalize_rewritten("/a\0".to_owned(), PathNormalization::None).is_err());
}
