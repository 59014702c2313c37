//! Owns the mending of JSON that is almost right: quotes and control characters that producers get wrong, and what
//! JSON allows but a tree cannot hold (lone surrogates, numbers without end).

use std::fmt::Write;

/// Where the string that opens at `at` closes: the index of its closing quote. Beside `"` also `'` (App Service writes
/// pseudo-JSON); there an apostrophe inside a word does not close.
pub(super) fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes[at];
    let mut index = at + 1;
    while index < bytes.len() {
        match bytes[index] {
            b'\\' => index += 1,
            byte if byte == quote && (quote == b'"' || ends_value(&bytes[index + 1..])) => return Some(index),
            _ => {}
        }
        index += 1;
    }
    None
}

fn ends_value(rest: &[u8]) -> bool {
    rest.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| b",:}]".contains(byte))
}

/// Writes `'single'` quotes as double ones and control characters inside strings as escapes. What is broken in another
/// way stays broken.
pub(super) fn repair(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut at = 0;
    while let Some(open) = text[at..].find(['"', '\'']).map(|found| at + found) {
        out.push_str(&text[at..open]);
        let end = string_end(text.as_bytes(), open).unwrap_or(text.len());
        out.push('"');
        push_escaped(&mut out, &text[open + 1..end]);
        if end < text.len() {
            out.push('"');
        }
        at = (end + 1).min(text.len());
    }
    out.push_str(&text[at..]);
    out
}

/// The inside of a string, with what JSON does not allow there escaped.
fn push_escaped(out: &mut String, inside: &str) {
    let mut chars = inside.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                // No escape in JSON, but written in single-quoted text.
                Some('\'') => out.push('\''),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push_str("\\\\"),
            },
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                // Writing into a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

/// Replaces in valid JSON what a tree cannot hold: half a surrogate pair by U+FFFD, a number beyond `f64` by its text.
pub(super) fn clean(json: &str) -> String {
    let bytes = json.as_bytes();
    let mut out = String::with_capacity(json.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at).map_or(bytes.len(), |end| end + 1);
                push_without_lone_surrogates(&mut out, &json[at..end]);
                end
            }
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
                let number = &json[at..at + length];
                if number.parse::<f64>().is_ok_and(f64::is_infinite) {
                    out.extend(["\"", number, "\""]);
                } else {
                    out.push_str(number);
                }
                at + length
            }
            _ => {
                let length = bytes[at..].iter().take_while(|byte| !b"\"-0123456789".contains(byte)).count();
                out.push_str(&json[at..at + length]);
                at + length
            }
        };
        at = end;
    }
    out
}

fn push_without_lone_surrogates(out: &mut String, string: &str) {
    let mut rest = string;
    while let Some(escape) = rest.find('\\') {
        let (before, from) = rest.split_at(escape);
        out.push_str(before);
        let length = match (surrogate(from), from.get(6..).and_then(surrogate)) {
            (Some(Half::High), Some(Half::Low)) => 12,
            (Some(_), _) => {
                out.push('\u{FFFD}');
                rest = &from[6..];
                continue;
            }
            (None, _) => from.char_indices().nth(2).map_or(from.len(), |(index, _)| index),
        };
        out.push_str(&from[..length]);
        rest = &from[length..];
    }
    out.push_str(rest);
}

enum Half {
    High,
    Low,
}

fn surrogate(text: &str) -> Option<Half> {
    let unit = u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    match unit {
        0xD800..=0xDBFF => Some(Half::High),
        0xDC00..=0xDFFF => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_producers_break_is_repaired() {
        for (broken, expected) in [
            // Single quotes around keys and values, an apostrophe and double quotes inside.
            (r#"{'a':'it's','b':'say "hi"'}"#, json!({"a": "it's", "b": "say \"hi\""})),
            // Single quotes inside a proper string stay.
            (r#"{'a':"this is 'some' text"}"#, json!({"a": "this is 'some' text"})),
            // Raw line breaks, tabs and NUL inside a string; between tokens they were no fault.
            ("{\"a\":\r\n\"x\r\n\ty\0\"}", json!({"a": "x\r\n\ty\0"})),
            // An escaped apostrophe.
            (r"{'a':'it\'s'}", json!({"a": "it's"})),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&repair(broken)).ok(), Some(expected), "{broken}");
        }
    }

    #[test]
    fn what_a_tree_cannot_hold_is_replaced_and_the_rest_is_kept() {
        for (json, expected) in [
            // Half a pair, of either half, beside a whole one.
            (r#"{"a":"\ud800 \uDC00 \ud83d\ude00 \\ud800"}"#, json!({"a": "\u{FFFD} \u{FFFD} \u{1F600} \\ud800"})),
            (r#"["\ud83d\ud83d\ude00"]"#, json!(["\u{FFFD}\u{1F600}"])),
            // A number without end.
            (r#"[1e999,-2e9999,1.5,"1e999"]"#, json!(["1e999", "-2e9999", 1.5, "1e999"])),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&clean(json)).ok(), Some(expected), "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn mending_never_panics(text in "[{}\\[\\]:,'\"\\\\u0-9aADdé\n ]{0,60}") {
            repair(&text);
            clean(&text);
        }
    }
}
