//! Owns what commands print on stdout: lines for people, JSON for programs. A reader that has seen enough (`| head`) ends the
//! printing and nothing else.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};

use serde::Serialize;

use super::exit;

/// One line for people: as `println!`, which panics where nobody reads on, and [`plain`].
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}

/// See `outln!`. A result that cannot be written for another reason ends the command with 1.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    write(&plain(&text.to_string()));
}

/// One JSON value on a line of its own, [`escaped`].
pub(crate) fn json(value: &impl Serialize) {
    write(&escaped(&serde_json::json!(value).to_string()));
}

/// JSON that commands no terminal either: what RFC 8259 section 7 lets stand as it is in a string, and [`plain`] does not, is
/// escaped. None of it can stand outside of a string, nor beyond U+FFFF.
pub(super) fn escaped(json: &str) -> String {
    spelt(json, |c| format!("\\u{:04x}", u32::from(c)))
}

/// Text of strangers as part of one line of ours: what would begin another one, command the terminal or turn the direction of
/// what follows is shown as its number.
pub(crate) fn plain(text: &str) -> String {
    spelt(text, |c| c.escape_unicode().to_string())
}

/// `text`, in which `spell` writes what would command a terminal.
fn spelt(text: &str, spell: fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction(c) { shown.push_str(&spell(c)) } else { shown.push(c) }
    }
    shown
}

/// Characters that turn the direction of what follows (Unicode TR 36, 2.10.2).
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

fn write(line: &str) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("stdout: {error}");
            std::process::exit(exit::FAILED.into());
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{escaped, plain};

    #[test]
    fn what_a_stranger_wrote_stays_in_its_line_and_commands_no_terminal() {
        assert_eq!(plain("a\u{1b}[2J\r\n\u{202e}\u{9b}ä b"), "a\\u{1b}[2J\\u{d}\\u{a}\\u{202e}\\u{9b}ä b");
    }

    #[test]
    fn json_commands_no_terminal_and_reads_as_before() {
        let value =
            serde_json::json!({"a\u{7f}": "\u{1b}[2J\r\n\u{202e}\u{9b}ä \\ b", "n": [1, null, "\u{61c}\u{1f600}"]});
        let json = escaped(&value.to_string());
        assert!([r"\u202e\u009bä", r"a\u007f", r"\u061c"].iter().all(|part| json.contains(part)), "{json}");
        assert!(!json.chars().any(|c| c.is_control() || super::is_direction(c)), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
    }
}
