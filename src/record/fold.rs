//! Owns folding: the one form in which two names are compared. Display never folds.

/// `text` in the form that matching compares: trimmed, lower case, every dash a `-`, every run of white space one space,
/// one trailing dot gone. Producers write one operation as `Update user`, `Update user.` and `update  user`, and
/// `Update application – Certificates and secrets management ` with an en dash and a final space.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut folded = fold_case(text);
    if folded.ends_with('.') {
        folded.pop();
        folded.truncate(folded.trim_end().len());
    }
    folded
}

/// As [`fold`], and a final dot stays: what a part of a text is looked for in.
#[must_use]
pub fn fold_case(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    // Nearly every name is ASCII, and one is folded for every record.
    if text.is_ascii() {
        plain(text, |c| folded.push(c.to_ascii_lowercase()));
    } else {
        plain(text, |c| folded.extend(c.to_lowercase()));
    }
    folded
}

/// A part of a text, in the form in which it is looked for: as [`fold_case`], and white space at either end is one space, for
/// `"10."` is not `"10"`, and `"to "` is no beginning of `"top"`.
#[must_use]
pub fn fold_part(part: &str) -> String {
    let blank = |is_there: bool| if is_there { " " } else { "" };
    let (first, last) = (part.starts_with(char::is_whitespace), part.ends_with(char::is_whitespace));
    format!("{}{}{}", blank(first), fold_case(part), blank(last))
}

/// A text in which parts are looked for, each in the form of [`fold_part`]. A space at an end of a part is one of the text, or
/// that end of it.
#[derive(Debug)]
pub struct Whole(String);

impl Whole {
    /// `text`, folded between two spaces.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(format!(" {} ", fold_case(text)))
    }

    /// Whether `part` is in it.
    #[must_use]
    pub fn has(&self, part: &str) -> bool {
        self.0.contains(part)
    }

    /// Whether it begins with `part`.
    #[must_use]
    pub fn begins_with(&self, part: &str) -> bool {
        self.0.trim_start().starts_with(part.trim_start())
    }

    /// Whether it ends with `part`, with its own final dot or without.
    #[must_use]
    pub fn ends_with(&self, part: &str) -> bool {
        let (text, part) = (self.0.trim_end(), part.trim_end());
        text.ends_with(part) || text.strip_suffix('.').is_some_and(|text| text.trim_end().ends_with(part))
    }

    /// Whether it is `part`.
    #[must_use]
    pub fn is(&self, part: &str) -> bool {
        self.0.trim() == part.trim()
    }
}

/// A key of details or of a list of pairs in the form in which two are compared: folded, without dashes, underscores and
/// spaces. One service writes `User-Agent`, another `userAgent`, a third `User agent`.
#[must_use]
pub fn fold_key(key: &str) -> String {
    let mut folded = fold(key);
    folded.retain(|c| !matches!(c, '-' | '_' | ' '));
    folded
}

/// 2^53: up to here every whole number is one that `f64` can hold.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A number in the form in which two are compared: `5`, `5.0` and `5e0` are one.
#[must_use]
pub fn fold_number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < WHOLE {
        return format!("{:.0}", value + 0.0); // no `-0`
    }
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string(), |number| number.to_string())
}

/// `text` in its own case: trimmed, every dash a `-`, every run of white space one space. What a pattern sees.
#[must_use]
pub fn fold_spaces(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    plain(text, |c| folded.push(c));
    folded
}

/// The characters of `text`, trimmed, with plain dashes and single spaces.
fn plain(text: &str, mut each: impl FnMut(char)) {
    let mut gap = false;
    for c in text.trim().chars() {
        if c.is_whitespace() {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) {
            each(' ');
        }
        each(if is_dash(c) { '-' } else { c });
    }
}

/// Hyphen, non-breaking hyphen, figure dash, en dash, em dash, horizontal bar, minus sign.
#[must_use]
pub const fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use super::{fold, fold_key, fold_number, fold_part};

    #[test]
    fn a_number_is_one_however_it_is_written() {
        for (value, folded) in [(5.0, "5"), (5e0, "5"), (-0.0, "0"), (-21.0, "-21"), (2.50, "2.5")] {
            assert_eq!(fold_number(value), folded);
        }
    }

    #[test]
    fn names_that_mean_the_same_fold_to_the_same() {
        let same = [
            ("case is folded", "Add Conditional Access policy", "add conditional access Policy"),
            ("an en dash is a dash", "Update application – Certificates", "Update application - Certificates"),
            ("an em dash is a dash", "Update application — Certificates", "Update application - Certificates"),
            ("spaces around are trimmed", "  Strength Create ", "Strength Create"),
            ("runs of white space are one space", "Reset\t user\u{a0} \npassword", "Reset user password"),
            ("one trailing dot is dropped", "Update user.", "Update user"),
            ("a space before the trailing dot goes with it", "Update user .", "Update user"),
            ("letters outside ASCII have a case too", "ÄNDERUNG", "änderung"),
        ];
        for (what, a, b) in same {
            assert_eq!(fold(a), fold(b), "{what}");
        }
    }

    #[test]
    fn keys_are_the_same_however_their_words_are_joined() {
        for key in ["User-Agent", "user_agent", "User agent", "USERAGENT", "User\u{2013}Agent"] {
            assert_eq!(fold_key(key), fold_key("userAgent"), "{key}");
        }
        assert_ne!(fold_key("user.agent"), fold_key("userAgent"), "a dot joins other things than words");
    }

    #[test]
    fn of_a_part_the_ends_count() {
        for (part, folded) in
            [("10.", "10."), (".", "."), ("\tTo  the ", " to the "), (" – ", " - "), ("Update User", "update user")]
        {
            assert_eq!(fold_part(part), folded, "{part}");
        }
    }

    #[test]
    fn names_that_differ_stay_different() {
        let different = [
            ("only one dot is dropped", "wait..", "wait"),
            ("a dot inside stays", "UserAuthMethod.Reset", "UserAuthMethodReset"),
            ("a missing space counts", "Updateuser", "Update user"),
            ("a dash is not a space", "Add-user", "Add user"),
        ];
        for (what, a, b) in different {
            assert_ne!(fold(a), fold(b), "{what}");
        }
    }
}
