//! Owns "did you mean": the known word that a misspelt one was probably meant to be.

/// The candidate closest to `word`, ignoring case, if it is close enough to be a slip: at most a third of its letters wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether one slip of a letter, or none, makes one word of the other.
pub fn nearly_equal(one: &str, other: &str) -> bool {
    strsim::osa_distance(one, other) <= 1
}

/// Whether two slips of letters, or fewer, make one text of the other.
pub fn is_slip(one: &str, other: &str) -> bool {
    strsim::osa_distance(one, other) <= 2
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["channels", "template", "severity", "to"];
        for (word, expected) in [
            ("chanels", Some("channels")),
            ("Severity", Some("severity")),
            ("tempalte", Some("template")),
            ("ot", Some("to")),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
