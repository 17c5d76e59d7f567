//! "Did you mean": the known name that is most like an unknown one.

/// The candidate that is most alike, if any is alike enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near(name, candidates)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that alone can be meant: a slip of one or two letters, and every other name is clearly another one.
/// Good enough to write it without asking.
pub fn only_near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut found: Vec<(usize, &str)> = near(name, candidates).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [(0..=2, candidate)] => Some(*candidate),
        [(first @ 0..=2, candidate), (second, _), ..] if *second > first + 1 => Some(*candidate),
        _ => None,
    }
}

/// The candidates that are alike enough to be meant, with their distance.
fn near<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = (usize, &'a str)> {
    let lower = name.to_lowercase();
    let length = name.chars().count();
    // Names longer than this are no typing mistakes, and the distance is quadratic.
    let candidates = (name.len() <= 128).then(|| candidates.into_iter());
    candidates
        .into_iter()
        .flatten()
        .filter(move |candidate| {
            candidate.len() <= 128 && candidate.chars().count().abs_diff(length) <= length.max(3)
        })
        .map(move |candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(move |(distance, candidate)| {
            *distance <= (candidate.chars().count().max(length) / 3).max(1)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_slip_is_written_without_asking() {
        let fields = ["paths", "notPaths", "ports", "notPorts", "perTryTimeout"];
        assert_eq!(only_near("path", fields), Some("paths"));
        assert_eq!(only_near("per_try_timeout", fields), Some("perTryTimeout"));
        assert_eq!(only_near("Strict", ["STRICT", "DISABLE"]), Some("STRICT"));
        assert_eq!(only_near("notPorths", ["notPaths", "notPorts"]), None);
        assert_eq!(
            nearest("notPorths", ["notPaths", "notPorts"]),
            Some("notPorts")
        );
        assert_eq!(
            only_near("pertrytime", fields),
            None,
            "three letters are no slip"
        );
        assert_eq!(only_near("anything", fields), None);
    }
}
