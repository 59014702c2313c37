//! Owns quoted-printable (RFC 2045 6.7): text to lines of at most 76 ASCII characters. Pure.
//!
//! Written once into the mail's own bytes: as the last step over 8 KB of HTML it would else cost a third of composing.

/// Characters of a line before the `=` that breaks it.
const LONGEST: usize = 75;
/// Bytes that stand for themselves, a space or tab at the end of a line aside.
const LITERAL: [bool; 256] = {
    let mut literal = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7F {
        literal[byte] = byte != b'=' as usize;
        byte += 1;
    }
    literal[b'\t' as usize] = true;
    literal
};

/// Appends `text`; its line ends, LF or CRLF, become CRLF.
pub fn encode(text: &str, out: &mut Vec<u8>) {
    for piece in text.split_inclusive('\n') {
        match piece.strip_suffix('\n') {
            Some(line) => {
                encode_line(line.strip_suffix('\r').unwrap_or(line).as_bytes(), out);
                out.extend_from_slice(b"\r\n");
            }
            None => encode_line(piece.as_bytes(), out),
        }
    }
}

/// A line without its end. Whitespace at its end is encoded, since relays may take it off.
fn encode_line(line: &[u8], out: &mut Vec<u8>) {
    let (mut rest, last) = match line {
        [rest @ .., last @ (b' ' | b'\t')] => (rest, Some(*last)),
        _ => (line, None),
    };
    let mut column = 0;
    while let Some(&byte) = rest.first() {
        let run = rest.iter().take(LONGEST - column).take_while(|byte| LITERAL[usize::from(**byte)]).count();
        if run > 0 {
            let (literal, after) = rest.split_at(run);
            out.extend_from_slice(literal);
            (rest, column) = (after, column + run);
        } else if LITERAL[usize::from(byte)] {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        } else {
            column = encode_byte(byte, column, out);
            rest = &rest[1..];
        }
    }
    if let Some(last) = last {
        encode_byte(last, column, out);
    }
}

/// `=XX`, on the next line where this one has no room; the column after it.
fn encode_byte(byte: u8, column: usize, out: &mut Vec<u8>) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let column = if column + 3 > LONGEST {
        out.extend_from_slice(b"=\r\n");
        0
    } else {
        column
    };
    out.extend_from_slice(&[b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    column + 3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        encode(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// RFC 2045 6.7, strictly: what is not allowed is a panic.
    fn decoded(encoded: &str) -> String {
        let mut bytes = Vec::new();
        for line in encoded.split_inclusive("\r\n") {
            let text = line.strip_suffix("\r\n").unwrap_or(line);
            assert!(text.len() <= 76 && !text.ends_with([' ', '\t']), "{line:?}");
            let soft = text.strip_suffix('=');
            let mut rest = soft.unwrap_or(text).bytes();
            while let Some(byte) = rest.next() {
                assert!(matches!(byte, b'\t' | b' '..=b'~'), "{line:?}");
                bytes.push(if byte == b'=' {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    assert!(digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')), "{line:?}");
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                } else {
                    byte
                });
            }
            if soft.is_none() && line.ends_with("\r\n") {
                bytes.extend_from_slice(b"\r\n");
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_cases_of_rfc_2045() {
        let long = "x".repeat(76);
        for (why, text, expected) in [
            ("nothing", "", ""),
            ("plain text stays", "a b\tc!", "a b\tc!"),
            ("line ends become CRLF", "a\nb\r\nc", "a\r\nb\r\nc"),
            ("the equals sign", "a=b", "a=3Db"),
            ("a letter of two bytes", "\u{e9}", "=C3=A9"),
            ("a space before the end of a line", "a \nb", "a=20\r\nb"),
            ("a tab at the very end", "a\t", "a=09"),
            ("only spaces", "  ", " =20"),
            ("a CR of its own", "a\rb\r", "a=0Db=0D"),
            ("one character too many", &long, &format!("{}=\r\nx", "x".repeat(75))),
            ("no escape is broken", &format!("{}=", "x".repeat(73)), &format!("{}=\r\n=3D", "x".repeat(73))),
        ] {
            assert_eq!(encoded(text), expected, "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_was_encoded(lines in proptest::collection::vec("[ -~\t=\u{e9}\u{1F514}\r]{0,200}", 0..6)) {
            // A CR before an LF is a part of the line's end.
            let lines: Vec<_> = lines.iter().map(|line| line.trim_end_matches('\r')).collect();
            let text = lines.join("\r\n");
            prop_assert_eq!(decoded(&encoded(&text)), text);
        }
    }
}
