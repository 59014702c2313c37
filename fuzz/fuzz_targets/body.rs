//! Any bytes as a message: refused, or what a server takes off the wire is exactly the message, and nothing is left over.
#![no_main]

use auditbell::channels::smtp::body::{MAX_LINE, on_the_wire};
use libfuzzer_sys::fuzz_target;

/// What a server does with the bytes after 354, by RFC 5321 4.5.2: lines end in CRLF and nothing else, the one that is a dot
/// ends the message, and a dot at the beginning of any other is taken off.
fn received(wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut message = Vec::new();
    let mut rest = wire;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        rest = after;
        if line == b".\r\n" {
            return (message, rest);
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    panic!("no final dot");
}

fuzz_target!(|input: (bool, &[u8])| {
    let (eight_bit, message) = input;
    let Ok(wire) = on_the_wire(message, eight_bit) else { return };
    assert!(eight_bit || wire.is_ascii());
    let (taken, left) = received(&wire);
    assert_eq!(taken, message);
    assert!(left.is_empty());
    // A server that takes a bare CR or LF for a line end, or stumbles over NUL, finds none.
    let bare = wire.iter().zip(wire.iter().skip(1)).any(|(a, b)| (*a == b'\r') != (*b == b'\n'));
    assert!(!bare && !wire.contains(&0));
    assert!(wire.split(|byte| *byte == b'\n').all(|line| line.len() <= MAX_LINE + 2));
});
