//! Owns the reply: bytes from a relay to a code and its text (RFC 5321 4.2). Pure, on a bounded buffer.
//!
//! Strict in form, lenient in text: the code decides about a mail, so a line must end in CRLF and begin with one and the
//! same code; the text may be anything, also no UTF-8, since a relay that says `250` with a stray byte has taken the mail.

use std::fmt;

/// Longest line, CRLF included. RFC 5321 4.5.3.1.5 allows 512; relays with long policy texts exceed it.
pub const MAX_LINE: usize = 2 * 1024;
/// Longest reply, all lines. The longest EHLO answers in use are below 1 KiB.
pub const MAX_REPLY: usize = 16 * 1024;
/// Longest text kept of a reply or an error, in bytes.
const MAX_TEXT: usize = 512;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits, 100 to 599.
    pub code: u16,
    /// The text of each line; bytes that are not UTF-8 are replaced.
    pub lines: Vec<String>,
}

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// Why bytes are not a reply. Nothing after them can be trusted: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsable {
    /// A line does not begin with three digits and a space, a hyphen or its end.
    NotACode,
    /// The code is not within 100 to 599.
    CodeOutOfRange,
    /// The lines of one reply have different codes.
    MixedCodes,
    /// A line ends in LF without CR.
    BareLf,
    /// A line is longer than [`MAX_LINE`].
    LineTooLong,
    /// The reply is longer than [`MAX_REPLY`].
    TooLong,
}

/// The reply at the front of `buffer` and the bytes it takes; `None` while it is incomplete.
///
/// What a prefix of the bytes decided, more bytes never change, so a caller may ask after every read.
pub fn parse(buffer: &[u8]) -> Result<Option<(Reply, usize)>, Unparsable> {
    let mut lines = Vec::new();
    let mut first = None;
    let mut taken = 0;
    loop {
        let rest = &buffer[taken..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() > MAX_LINE {
                Err(Unparsable::LineTooLong)
            } else if buffer.len() > MAX_REPLY {
                Err(Unparsable::TooLong)
            } else {
                plausible(rest).map(|()| None)
            };
        };
        if end + 1 > MAX_LINE {
            return Err(Unparsable::LineTooLong);
        }
        taken += end + 1;
        if taken > MAX_REPLY {
            return Err(Unparsable::TooLong);
        }
        let line = rest[..end].strip_suffix(b"\r").ok_or(Unparsable::BareLf)?;
        let (code, last, text) = split(line)?;
        if *first.get_or_insert(code) != code {
            return Err(Unparsable::MixedCodes);
        }
        lines.push(String::from_utf8_lossy(text).into_owned());
        if last {
            return Ok(Some((Reply { code, lines }, taken)));
        }
    }
}

/// One line without its end: code, whether it is the last, text.
fn split(line: &[u8]) -> Result<(u16, bool, &[u8]), Unparsable> {
    let (digits, rest) = line.split_at_checked(3).ok_or(Unparsable::NotACode)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Unparsable::NotACode);
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(100..600).contains(&code) {
        return Err(Unparsable::CodeOutOfRange);
    }
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(Unparsable::NotACode),
    }
}

/// Whether an incomplete line can still become one: a peer that speaks another protocol is found out at its first bytes,
/// not at the deadline.
fn plausible(start: &[u8]) -> Result<(), Unparsable> {
    if start.iter().take(3).all(u8::is_ascii_digit) { Ok(()) } else { Err(Unparsable::NotACode) }
}

impl Reply {
    /// The enhanced code at the head of the text, if its class agrees with the code's first digit; else the plain code
    /// stands alone.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut parts = word.split('.');
        let mut number = |digits: usize| -> Option<u16> {
            let part = parts.next()?;
            (part.len() <= digits && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
        };
        let (class, subject, detail) = (number(1)?, number(3)?, number(3)?);
        let class = u8::try_from(class).ok()?;
        (parts.next().is_none() && u16::from(class) == self.code / 100).then_some(Enhanced(class, subject, detail))
    }

    /// The id under which the relay queued the mail, where the text names one: `queued as X` (Postfix and its kin) or
    /// `id=X` (Exim).
    #[must_use]
    pub fn queue_id(&self) -> Option<String> {
        let text = self.lines.last()?;
        let (_, after) = text.split_once("queued as ").or_else(|| text.split_once("id="))?;
        let id: String =
            after.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(64).collect();
        (!id.is_empty()).then_some(id)
    }
}

/// The reply in one line, fit to be stored and shown.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&format!("{} {}", self.code, self.lines.join(" "))))
    }
}

impl fmt::Display for Unparsable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotACode => "a line without a reply code",
            Self::CodeOutOfRange => "a reply code beyond 100 to 599",
            Self::MixedCodes => "different codes in one reply",
            Self::BareLf => "a line that ends in a bare LF",
            Self::LineTooLong => "a line that is too long",
            Self::TooLong => "a reply that is too long",
        })
    }
}

/// `text` in one line: control characters escaped, cut to 512 bytes.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut line = String::new();
    for c in text.trim_end().chars() {
        let before = line.len();
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        if line.len() > MAX_TEXT {
            line.truncate(before);
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|&line| line.to_owned()).collect() }
    }

    #[test]
    fn whole_replies_are_read() {
        let cases: &[(&str, &[u8], Reply)] = &[
            ("one line", b"250 2.1.0 Ok\r\n", reply(250, &["2.1.0 Ok"])),
            ("several lines", b"250-a\r\n250-b\r\n250 c\r\n", reply(250, &["a", "b", "c"])),
            ("a code alone", b"354\r\n", reply(354, &[""])),
            ("a code and a space, as smtp-sink ends its EHLO", b"250-a\r\n250 \r\n", reply(250, &["a", ""])),
            (
                "text that is not UTF-8 changes nothing about the code",
                b"250 \xff\xfe\r\n",
                reply(250, &["\u{fffd}\u{fffd}"]),
            ),
            ("a bare CR is text, for the line's end is in no doubt", b"250 a\rb\r\n", reply(250, &["a\rb"])),
            ("what follows is left alone", b"250 a\r\n550 b\r\n", reply(250, &["a"])),
        ];
        for (what, bytes, expected) in cases {
            let (found, taken) = parse(bytes).unwrap().unwrap();
            assert_eq!(&found, expected, "{what}");
            assert!(bytes[..taken].ends_with(b"\r\n"), "{what}");
        }
    }

    #[test]
    fn incomplete_replies_are_waited_for() {
        for bytes in [&b""[..], b"2", b"250", b"250 Ok", b"250 Ok\r", b"250-a\r\n", b"250-a\r\n25"] {
            assert_eq!(parse(bytes), Ok(None), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_never_a_wait() {
        let long = [b"250 ".as_slice(), &[b'x'; MAX_LINE]].concat();
        let endless = b"250-x\r\n".repeat(MAX_REPLY);
        let cases: &[(&str, &[u8], Unparsable)] = &[
            ("LF alone", b"250 Ok\n", Unparsable::BareLf),
            ("another protocol, at its first byte", b"H", Unparsable::NotACode),
            ("binary", b"\x15\x03\x01\x00\x02", Unparsable::NotACode),
            ("an empty line", b"\r\n", Unparsable::NotACode),
            ("four digits", b"2500 Ok\r\n", Unparsable::NotACode),
            ("two digits", b"25\r\n", Unparsable::NotACode),
            ("999", b"999 Ok\r\n", Unparsable::CodeOutOfRange),
            ("000", b"000 Ok\r\n", Unparsable::CodeOutOfRange),
            ("lines that disagree", b"250-a\r\n550 b\r\n", Unparsable::MixedCodes),
            ("a line without end", &long, Unparsable::LineTooLong),
            ("lines without end", &endless, Unparsable::TooLong),
        ];
        for (what, bytes, expected) in cases {
            assert_eq!(parse(bytes), Err(*expected), "{what}");
        }
    }

    #[test]
    fn an_enhanced_code_counts_only_within_its_class() {
        let cases = [
            ("550 5.1.1 no such user", Some(Enhanced(5, 1, 1))),
            ("550 5.7.133 closed group", Some(Enhanced(5, 7, 133))),
            ("450 5.1.1 contradicts itself", None),
            ("550 5.1 too short", None),
            ("550 5.1.1.1 too long", None),
            ("550 5.1.1234 too wide", None),
            ("550 no code", None),
            ("550", None),
        ];
        for (line, expected) in cases {
            let (reply, _) = parse(format!("{line}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(reply.enhanced(), expected, "{line}");
        }
    }

    #[test]
    fn the_queue_id_is_found_where_there_is_one() {
        let cases = [
            ("2.0.0 Ok: queued as 4XyZ1", Some("4XyZ1")),
            ("OK id=1tA2bC-000DEF-GH", Some("1tA2bC-000DEF-GH")),
            ("2.0.0 accepted", None),
            ("queued as \u{7}", None),
        ];
        for (text, expected) in cases {
            assert_eq!(reply(250, &[text]).queue_id().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_kept_of_a_text_is_short_and_harmless() {
        assert_eq!(printable("a\r\nb\u{1b}[31m\u{0}"), "a\\r\\nb\\u{1b}[31m\\u{0}");
        assert_eq!(printable(&"é".repeat(1_000)).len(), 512);
    }

    proptest! {
        #[test]
        fn what_a_prefix_decided_stays_decided(bytes in proptest::collection::vec(
            prop_oneof![Just(b'2'), Just(b'5'), Just(b'0'), Just(b' '), Just(b'-'), Just(b'\r'), Just(b'\n'), any::<u8>()],
            0..64,
        ), cut in 0usize..64) {
            let whole = parse(&bytes);
            match parse(&bytes[..cut.min(bytes.len())]) {
                Ok(None) => {}
                Ok(some) => prop_assert_eq!(whole, Ok(some)),
                Err(_) => prop_assert!(whole.is_err()),
            }
        }

        #[test]
        fn texts_stay_within_their_bound_and_on_one_line(text in "\\PC{0,600}|[\\x00-\\x1f]{0,600}") {
            let line = printable(&text);
            prop_assert!(line.len() <= MAX_TEXT);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
