//! "Did you mean": the known name that is most like an unknown one.

/// The candidate that is most alike, if any is alike enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Names longer than this are no typing mistakes, and the distance is quadratic.
    if name.len() > 128 {
        return None;
    }
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| {
            candidate.len() <= 128 && candidate.len().abs_diff(name.len()) <= name.len().max(3)
        })
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(name.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
