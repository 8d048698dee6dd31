//! Suggestions: what somebody may have meant.

/// How alike two words must be, from 0 to 1, to be taken for each other.
const ALIKE: f64 = 0.7;

/// The candidate that is most like a word, if one is much like it. Letters count whatever their
/// case; of several that are equally alike it is the first.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut best = None;
    for candidate in candidates {
        let alike = strsim::jaro_winkler(&word, &candidate.to_lowercase());
        if alike >= ALIKE && best.is_none_or(|(most, _)| alike > most) {
            best = Some((alike, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
