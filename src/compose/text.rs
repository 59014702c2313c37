//! Owns the treatment of text that others wrote: what stands in a record before a template, a reader or a mail client
//! sees it. Escaping for HTML comes after this and is the template engine's.
//!
//! Idempotent, so that it does not matter whether a value passed here once or twice.

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Longest value, in characters that are no combining marks. A sentence that sells something does not fit.
pub const SHORT: usize = 64;
/// Longest description of an alert and advice of a product, for the security team only.
pub const PARAGRAPH: usize = 600;
/// Longest user agent, reason and record id: these are of no use when cut at 64.
pub const LONG: usize = 120;
/// Longest id of a resource: of a path the end says what it is. Azure's are seldom longer.
pub const PATH: usize = 300;
/// Longest value in a document for a room: it is compared, not read.
pub const MACHINE: usize = 1_024;
/// More marks than two on one letter are there to paint over the neighbouring lines.
const MAX_MARKS: usize = 2;
/// Nested values: depth, and elements per list or object.
const MAX_DEPTH: usize = 4;
const MAX_ITEMS: usize = 20;

/// Text made safe to read: tidied, and defanged so that no mail client makes a link of it.
#[must_use]
pub fn clean(text: &str, cap: usize) -> String {
    shorten(&defang(&tidy(text)), cap)
}

/// Text of our own side (directory file, the reader's own UPN): tidied, not defanged.
#[must_use]
pub fn clean_own(text: &str, cap: usize) -> String {
    shorten(&tidy(text), cap)
}

/// `clean` for every string of a nested value, keys included.
#[must_use]
pub fn clean_value(value: &Value, clean: &dyn Fn(&str) -> String) -> Value {
    nested(value, clean, 0)
}

fn nested(value: &Value, clean: &dyn Fn(&str) -> String, depth: usize) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => clean(text).into(),
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => clean(&value.to_string()).into(),
        Value::Array(items) => items.iter().take(MAX_ITEMS).map(|item| nested(item, clean, depth + 1)).collect(),
        Value::Object(members) => {
            let cleaned =
                members.iter().take(MAX_ITEMS).map(|(key, item)| (clean(key), nested(item, clean, depth + 1)));
            Value::Object(cleaned.collect::<Map<_, _>>())
        }
    }
}

/// Whether [`tidy`] has nothing to do, as for most values: ASCII words with one space between them.
fn is_tidy(text: &str) -> bool {
    let mut gap = true;
    for byte in text.bytes() {
        if !(byte.is_ascii_graphic() || byte == b' ' && !gap) {
            return false;
        }
        gap = byte == b' ';
    }
    !gap || text.is_empty()
}

/// NFC; one space for any run of white space and line ends; nothing invisible, nothing that changes the direction.
fn tidy(text: &str) -> String {
    if is_tidy(text) {
        return text.to_owned();
    }
    let visible = text.chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some(' '),
        c if is_combining_mark(c) || is_printable(c) => Some(c),
        _ => None,
    });
    let mut out = String::with_capacity(text.len());
    let mut marks = 0;
    for c in visible.nfc() {
        let at_gap = out.is_empty() || out.ends_with(' ');
        if is_combining_mark(c) {
            marks += 1;
            // A mark without a letter would sit on the punctuation of our own words.
            if marks > MAX_MARKS || at_gap {
                continue;
            }
        } else {
            marks = 0;
            if c == ' ' && at_gap {
                continue;
            }
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

/// False for controls, format characters (bidi, zero-width, tags), private and unassigned code points: the standard
/// library's own table, the one behind `{:?}`. And for the letters that look like nothing.
fn is_printable(c: char) -> bool {
    let blank_letter = matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}');
    let mut escaped = c.escape_debug();
    !c.is_control() && !blank_letter && (escaped.next(), escaped.next()) != (Some('\\'), Some('u'))
}

/// `evil[.]example`, `a[@]b`, `hxxps://`: what mail clients would turn into links is broken in a way people know.
/// Addresses of machines (192.0.2.1) and version numbers keep their dots: a dot is broken only before a letter.
fn defang(text: &str) -> String {
    if text.is_ascii() && !text.contains(['.', '@', ':']) {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len() + 16);
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let before = at.checked_sub(1).and_then(|i| chars.get(i).copied()).unwrap_or(' ');
        let after = chars.get(at + 1).copied().unwrap_or(' ');
        let joins = before != ' ' && before != '[';
        match c {
            '.' | '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}'
                if joins && before != '.' && after.is_alphabetic() =>
            {
                out.push_str("[.]");
            }
            '@' | '\u{fe6b}' | '\u{ff20}' if joins => out.push_str("[@]"),
            ':' if after == '/' && chars.get(at + 2) == Some(&'/') && joins => {
                let broken = break_scheme(&mut out);
                out.push_str(if broken { "://" } else { "[:]//" });
                at += 2;
            }
            _ => out.push(c),
        }
        at += 1;
    }
    out
}

/// Makes a trailing `http` or `https` an `hxxp` or `hxxps`; true when one (or a broken one) stands there.
fn break_scheme(out: &mut String) -> bool {
    let secure = out.ends_with(['s', 'S']);
    let start = out.len().checked_sub(if secure { 5 } else { 4 });
    let Some(scheme) = start.and_then(|start| out.get(start..)) else { return false };
    if !scheme.starts_with(['h', 'H']) || !matches!(&*scheme[1..4].to_ascii_lowercase(), "ttp" | "xxp") {
        return false;
    }
    out.truncate(start.unwrap_or_default());
    out.push_str(if secure { "hxxps" } else { "hxxp" });
    true
}

/// At most `cap` characters, marks not counted, the last one an ellipsis where something was cut.
fn shorten(text: &str, cap: usize) -> String {
    if text.len() <= cap {
        return text.to_owned();
    }
    let mut bases = text.char_indices().filter(|(_, c)| !is_combining_mark(*c));
    let Some((cut, _)) = bases.by_ref().nth(cap.saturating_sub(1)) else { return text.to_owned() };
    if bases.next().is_none() {
        return text.to_owned();
    }
    format!("{}…", text[..cut].trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_of_others_is_made_safe_to_read() {
        for (why, text, expected) in [
            ("plain words stay", "Reset user password", "Reset user password"),
            ("line ends become one space", "a\r\nBcc: b", "a Bcc: b"),
            ("controls go", "a\u{0}\u{7}\u{9b}b", "ab"),
            ("direction marks go", "\u{202e}gpj\u{2066}.exe\u{200f}", "gpj[.]exe"),
            ("zero-width characters and tags go", "a\u{200b}\u{200d}\u{feff}\u{e0041}b", "ab"),
            ("private and unassigned code points go", "a\u{e000}\u{378}b", "ab"),
            ("letters that look like nothing go", "a\u{3164}\u{ffa0}b", "ab"),
            ("two marks on a letter are enough", "e\u{316}\u{317}\u{318}\u{319}x", "e\u{316}\u{317}x"),
            ("a mark needs a letter", "\u{301}a \u{301}b", "a b"),
            ("composed where it can be", "u\u{308}", "ü"),
            ("a domain", "see evil.example now", "see evil[.]example now"),
            ("a URL", "HTTPS://evil.example/a?b=c", "hxxps://evil[.]example/a?b=c"),
            ("another scheme", "ftp://10.0.0.1", "ftp[:]//10.0.0.1"),
            ("an address", "mallory@evil.example", "mallory[@]evil[.]example"),
            ("a full-width disguise", "a＠evil．example", "a[@]evil[.]example"),
            ("an IP address stays", "192.0.2.1", "192.0.2.1"),
            ("so does IPv6", "2001:db8::1", "2001:db8::1"),
            ("so do version numbers", "Mozilla/5.0 (Windows NT 10.0)", "Mozilla/5.0 (Windows NT 10.0)"),
            ("so does the end of a sentence", "Done. Next", "Done. Next"),
            ("what is broken already stays so", "evil[.]example a[@]b hxxp://x", "evil[.]example a[@]b hxxp://x"),
        ] {
            assert_eq!(clean(text, SHORT), expected, "{why}");
        }
    }

    #[test]
    fn a_long_value_ends_in_an_ellipsis() {
        let cut = clean(&"x".repeat(100), SHORT);
        assert_eq!(cut.chars().count(), SHORT);
        assert!(cut.ends_with("x…"));
        assert_eq!(clean(&"x".repeat(SHORT), SHORT), "x".repeat(SHORT));
    }

    #[test]
    fn a_nested_value_is_cleaned_to_the_bottom() {
        let deep = serde_json::json!({"evil.example": [["a.b", {"x": {"y": ["z\u{202e}"]}}], null, true, 5]});
        let expected = serde_json::json!({"evil[.]example": [["a[.]b", {"x": "{\"y\":[\"z\"]}"}], null, true, 5]});
        assert_eq!(clean_value(&deep, &|text| clean(text, SHORT)), expected);
    }

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(text in "\\PC{0,80}|[a-h.:/@\\[\\] \u{301}\u{316}\u{202e}\u{ff0e}ßé가]{0,90}") {
            let once = clean(&text, SHORT);
            prop_assert_eq!(clean(&once, SHORT), once.clone());
            let steers = |c: char| c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c) || ('\u{202a}'..='\u{202e}').contains(&c);
            prop_assert!(!once.chars().any(steers), "steering characters left");
            let long = once.chars().filter(|c| !is_combining_mark(*c)).count();
            prop_assert!(long <= SHORT, "{} characters", long);
        }
    }
}
