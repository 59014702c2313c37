//! Owns the bytes after DATA: what may go on the wire at all, and dot-stuffing. Pure.
//!
//! SMTP smuggling (CVE-2023-51764 and its kin) lives from bytes that two servers take for different line ends. Here a
//! line end is CRLF and nothing else: what has any other is refused, not mended.

use std::fmt;

/// Longest line without its CRLF (RFC 5322 2.1.1). A dot added for transparency does not count (RFC 5321 4.5.3.1.6).
pub const MAX_LINE: usize = 998;

/// Why bytes may not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBytes {
    /// A NUL.
    Nul,
    /// A CR that is not followed by LF.
    BareCr,
    /// An LF that does not follow a CR.
    BareLf,
    /// A line longer than [`MAX_LINE`].
    LongLine,
    /// The last line has no CRLF, or there is no line.
    NoLastEnd,
    /// A byte above 127 in a mail that was to be ASCII.
    EightBit,
    /// Not UTF-8, as a mail with bytes above 127 must be (RFC 6532 3).
    NotUtf8,
}

/// The bytes to write after 354: the message dot-stuffed, then the final dot.
///
/// `eight_bit` = 8BITMIME and SMTPUTF8 will be asked for, else every byte must be ASCII.
pub fn on_the_wire(message: &[u8], eight_bit: bool) -> Result<Vec<u8>, BadBytes> {
    if !eight_bit && !message.is_ascii() {
        return Err(BadBytes::EightBit);
    }
    // As text, since looking for a character of a text is quicker by far than for a byte of any.
    let text = std::str::from_utf8(message).map_err(|_| BadBytes::NotUtf8)?;
    if !text.ends_with("\r\n") {
        return Err(if text.ends_with('\n') { BadBytes::BareLf } else { BadBytes::NoLastEnd });
    }
    let mut wire = Vec::with_capacity(message.len() + message.len() / 64 + 8);
    let (mut from, mut at, mut lines) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        if !line.ends_with("\r\n") {
            return Err(BadBytes::BareLf);
        }
        if line.len() > MAX_LINE + 2 {
            return Err(BadBytes::LongLine);
        }
        if line.starts_with('.') {
            wire.extend_from_slice(&message[from..at]);
            wire.push(b'.');
            from = at;
        }
        at += line.len();
        lines += 1;
    }
    // Each line ends with a CR of its own.
    if message.iter().map(|byte| usize::from(*byte == b'\r')).sum::<usize>() != lines {
        return Err(BadBytes::BareCr);
    }
    if message.contains(&0) {
        return Err(BadBytes::Nul);
    }
    wire.extend_from_slice(&message[from..]);
    wire.extend_from_slice(b".\r\n");
    Ok(wire)
}

/// Whether `address` can stand between `<` and `>` in a command without ending it or beginning another: it has an `@`, no
/// space, control character or bracket, and at most 254 bytes (RFC 5321 4.5.3.1.3). Whether it is a good address was
/// decided before.
pub fn fits_a_path(address: &str) -> bool {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>');
    address.len() <= 254 && address.contains('@') && !address.contains(forbidden)
}

impl fmt::Display for BadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nul => "the message contains NUL",
            Self::BareCr => "the message contains CR without LF",
            Self::BareLf => "the message contains LF without CR",
            Self::LongLine => "a line of the message is longer than 998 bytes",
            Self::NoLastEnd => "the message does not end with CRLF",
            Self::EightBit => "the message contains bytes above 127",
            Self::NotUtf8 => "the message is not UTF-8",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server does with the bytes after 354: lines up to the one that is a dot, one leading dot taken off each.
    /// Gives the message and what is left over.
    fn received(wire: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut message = Vec::new();
        let mut rest = wire;
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let (line, after) = rest.split_at(end + 2);
            rest = after;
            if line == b".\r\n" {
                return (message, rest.to_vec());
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("no final dot in {:?}", String::from_utf8_lossy(wire));
    }

    #[test]
    fn bytes_that_two_servers_could_read_differently_are_refused() {
        let long = [&[b'x'; MAX_LINE + 1][..], b"\r\n"].concat();
        // The second half: the end-of-data sequences of SMTP-Smuggling-Tools.
        let cases: &[(&[u8], BadBytes)] = &[
            (b"", BadBytes::NoLastEnd),
            (b"a", BadBytes::NoLastEnd),
            (b"a\r", BadBytes::NoLastEnd),
            (b"a\n", BadBytes::BareLf),
            (b"a\0b\r\n", BadBytes::Nul),
            (&long, BadBytes::LongLine),
            ("\u{e9}\r\n".as_bytes(), BadBytes::EightBit),
            (b"a\n.\nb\r\n", BadBytes::BareLf),
            (b"a\n.\r\nb\r\n", BadBytes::BareLf),
            (b"a\r.\r\nb\r\n", BadBytes::BareCr),
            (b"a\r.\rb\r\n", BadBytes::BareCr),
            (b"a\r\n.\nb\r\n", BadBytes::BareLf),
            (b"a\r\n.\rb\r\n", BadBytes::BareCr),
            (b"a\n\n.\r\nb\r\n", BadBytes::BareLf),
            (b"a\r\n\0.\r\nb\r\n", BadBytes::Nul),
            (b"a\r\r\n.\r\nb\r\n", BadBytes::BareCr),
        ];
        for (message, expected) in cases {
            assert_eq!(on_the_wire(message, false), Err(*expected), "{:?}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn dots_at_the_start_of_a_line_are_doubled_and_the_end_is_one_dot() {
        assert_eq!(on_the_wire(b".\r\n..a\r\nb.\r\n", false).unwrap(), b"..\r\n...a\r\nb.\r\n.\r\n");
        assert!(on_the_wire(&[&[b'.'; MAX_LINE][..], b"\r\n"].concat(), false).is_ok(), "the added dot does not count");
        assert!(on_the_wire("\u{e9}\r\n".as_bytes(), true).is_ok());
    }

    #[test]
    fn an_address_cannot_end_its_command() {
        for good in ["alice@example.com", "o'hara+x@example.com", "\u{e9}@example.com"] {
            assert!(fits_a_path(good), "{good}");
        }
        for bad in
            ["", "alice", "a b@example.com", "a@example.com>\r\nRCPT TO:<b@example.com", "<a@example.com>", "a\0@b"]
        {
            assert!(!fits_a_path(bad), "{bad:?}");
        }
        assert!(!fits_a_path(&format!("{}@example.com", "a".repeat(250))));
    }

    proptest! {
        #[test]
        fn a_server_gets_back_exactly_what_was_sent(lines in proptest::collection::vec("[.]{0,3}[ -~]{0,80}", 1..20)) {
            let message = (lines.join("\r\n") + "\r\n").into_bytes();
            prop_assert_eq!(received(&on_the_wire(&message, false).unwrap()), (message, Vec::new()));
        }

        #[test]
        fn any_bytes_are_refused_or_arrive_as_one_message(message in proptest::collection::vec(
            prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a'), Just(0u8), any::<u8>()], 0..60,
        )) {
            if let Ok(wire) = on_the_wire(&message, true) {
                prop_assert_eq!(received(&wire), (message, Vec::new()));
            }
        }
    }
}
