//! Request paths: the canonical form is stable, and nothing climbs out of it.

use authz::{normalize, split_target};
use policies::mesh::PathNormalization;

/// Normalizes any text in every mode.
pub fn paths(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (path, query) = split_target(&text);
    assert!(!path.contains(['?', '#']), "{path:?}");
    assert!(query.is_none_or(|query| !query.contains('#')), "{query:?}");
    for mode in [
        PathNormalization::None,
        PathNormalization::Base,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ] {
        let Ok(canonical) = normalize(&text, mode) else {
            continue;
        };
        let again = normalize(&canonical, mode).expect("a canonical path is a path");
        assert_eq!(again, canonical, "{mode:?} is not stable");
        assert!(
            canonical.starts_with('/') || canonical == "*",
            "{canonical:?}"
        );
        assert!(
            !canonical.chars().any(char::is_control) || !canonical.is_ascii(),
            "{canonical:?}"
        );
        if mode == PathNormalization::None {
            continue;
        }
        assert!(!canonical.contains('\\'), "{canonical:?}");
        for segment in canonical.split('/') {
            let dots = segment.replace("%2e", ".").replace("%2E", ".");
            assert!(
                dots != "." && dots != "..",
                "{mode:?} leaves {segment:?} in {canonical:?}"
            );
        }
        if mode != PathNormalization::Base {
            assert!(!canonical.contains("//"), "{canonical:?}");
        }
        if mode == PathNormalization::DecodeAndMergeSlashes {
            let lower = canonical.to_ascii_lowercase();
            assert!(
                !lower.contains("%2f") && !lower.contains("%5c"),
                "{canonical:?}"
            );
        }
    }
}
