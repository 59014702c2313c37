//! Owns what becomes of a message that is not JSON: the good records between the broken ones, the broken ones mended
//! where that is possible, and the rest as dead items with their bytes.
//!
//! The walk looks for values between punctuation. It trusts no bracket to close what it seems to close, for a broken
//! neighbour may have opened it; brackets and commas between values carry nothing and are skipped.

use std::borrow::Cow;
use std::io::Read;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::envelope::{self, DeadReason, Found, Item, MAX_RECORDS, Raw, dead};
use super::{Problem, ProblemCode, head, mend};

/// How many bytes of a message may be looked at in vain: 64 times a full message of Event Hubs, a fraction of a second. A message
/// made to need more ends in one dead item.
const MAX_VAIN: usize = 64 << 20;

/// Appends what is in `bytes`. If no record at all is in there, it is one dead item and not its splinters.
pub(super) fn items<'a>(bytes: &'a [u8], into: &mut Found<'a>) {
    let found = Found { items: Vec::new(), vain: into.vain };
    let Found { items, vain } = Walk { rest: bytes, found }.run();
    into.vain = vain;
    if items.iter().any(|item| matches!(item, Item::Record(_))) || items.len() > MAX_RECORDS {
        into.items.extend(items);
    } else {
        into.push(dead(reason(bytes), bytes));
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    found: Found<'a>,
}

impl<'a> Walk<'a> {
    fn run(mut self) -> Found<'a> {
        while let Some(first) = self.rest.first()
            && self.found.items.len() <= MAX_RECORDS
        {
            if self.found.vain > MAX_VAIN {
                self.take(self.rest.len());
            } else if b" \t\r\n,]}".contains(first) {
                let length = self.extra_keys().unwrap_or(1);
                self.rest = &self.rest[length..];
            } else {
                self.step();
            }
        }
        self.found
    }

    /// One value, or whatever stands in its place.
    fn step(&mut self) {
        if let Some(raw) = self.value(self.rest) {
            self.rest = &self.rest[raw.len()..];
            // A whole document: among broken lines there are envelopes in order.
            if envelope::documents(raw, &mut self.found).is_some() {
                // A name with half a surrogate pair: nobody looks for an envelope in there.
                self.found.push(envelope::record(raw));
            }
        } else if let Some(length) = opening(self.rest) {
            self.rest = &self.rest[length..];
        } else {
            let end = balanced(self.rest);
            let whole = end.filter(|end| matches!(mended(&self.rest[..*end]), Item::Record(_)));
            // Brackets of two broken neighbours may enclose good ones.
            let length = whole.unwrap_or_else(|| self.next_record(end.unwrap_or(self.rest.len())));
            self.take(length);
        }
    }

    /// The next `length` bytes are one item, mended if that is possible.
    fn take(&mut self, length: usize) {
        let (broken, rest) = self.rest.split_at(length);
        self.rest = rest;
        let broken = broken.trim_ascii();
        self.found.push(mended(broken.strip_suffix(b",").unwrap_or(broken)));
    }

    /// The JSON value at the start of `bytes`.
    fn value(&mut self, bytes: &'a [u8]) -> Option<&'a str> {
        match serde_json::Deserializer::from_slice(bytes).into_iter::<&'a RawValue>().next()? {
            // A word, number or string is a value only if it ends there: `12 garbage` is none.
            Ok(raw) if raw.get().starts_with(['{', '[']) || ends(&bytes[raw.get().len()..]) => Some(raw.get()),
            Ok(_) => None,
            Err(error) => {
                self.found.vain += looked_at(bytes, &error);
                None
            }
        }
    }

    /// Where the next good record begins, else `end`. Objects inside the broken one may be good JSON as well: a record has
    /// the fields of one, and is no other's property.
    fn next_record(&mut self, end: usize) -> usize {
        self.found.vain += end;
        let mut at = 1;
        while let Some(found) = self.rest.get(at..end).and_then(|rest| rest.iter().position(|byte| *byte == b'{')) {
            at += found;
            let candidate = &self.rest[at..];
            let length = balanced(candidate);
            self.found.vain += length.unwrap_or(candidate.len());
            if self.found.vain > MAX_VAIN {
                break;
            }
            let whole = length.and_then(|length| self.value(&candidate[..length]));
            let before = self.rest[..at].iter().rfind(|byte| !b" \t".contains(byte));
            if before != Some(&b':') && (opening(candidate).is_some() || whole.is_some_and(head::is_record)) {
                return at;
            }
            at += 1;
        }
        end
    }

    /// The length of an envelope's end with further keys: `],"PartitionId":1}`.
    fn extra_keys(&mut self) -> Option<usize> {
        let after = self.rest.strip_prefix(b"]")?.trim_ascii_start().strip_prefix(b",")?;
        if !after.trim_ascii_start().starts_with(b"\"") {
            return None;
        }
        let mut stream = serde_json::Deserializer::from_reader(b"{".chain(after)).into_iter::<IgnoredAny>();
        match stream.next()? {
            Ok(_) => Some(self.rest.len() - after.len() + stream.byte_offset() - 1),
            Err(error) => {
                self.found.vain += looked_at(after, &error);
                None
            }
        }
    }
}

/// How far a parser came before it gave up.
fn looked_at(bytes: &[u8], error: &serde_json::Error) -> usize {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    lines.map(<[u8]>::len).sum::<usize>() + error.column()
}

fn ends(rest: &[u8]) -> bool {
    rest.trim_ascii_start().first().is_none_or(|byte| b",]".contains(byte))
}

/// The length of `{"records":[` (any case, either quote, other keys with plain values before it) or of a list's bracket.
pub(super) fn opening(bytes: &[u8]) -> Option<usize> {
    if bytes.first() == Some(&b'[') {
        return bytes[1..].trim_ascii_start().starts_with(b"{").then_some(1);
    }
    let inside = bytes.strip_prefix(b"{")?;
    let head = &inside[..=inside.iter().position(|byte| b"{[".contains(byte))?];
    let key = head.strip_suffix(b"[")?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let name = key.len().checked_sub(9).map(|start| &key[start..])?;
    let quoted = matches!((name[0], name[8]), (b'"', b'"') | (b'\'', b'\''));
    (quoted && name[1..=7].eq_ignore_ascii_case(b"records")).then_some(head.len() + 1)
}

/// The length of the object or list at the start, its brackets counted outside strings. `None` if it does not close, or
/// closes crosswise.
fn balanced(bytes: &[u8]) -> Option<usize> {
    let mut open = Vec::new();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'"' | b'\'' if !open.is_empty() => at = mend::string_end(bytes, at)?,
            closer @ (b'}' | b']') => {
                open.pop().filter(|expected| expected == closer)?;
            }
            _ => {}
        }
        at += 1;
        if open.is_empty() {
            return (at > 1).then_some(at);
        }
    }
}

/// A record out of something broken, else a dead item.
fn mended(bytes: &[u8]) -> Item<'_> {
    let text = String::from_utf8_lossy(bytes);
    let mut problems = Vec::new();
    if matches!(text, Cow::Owned(_)) {
        problems.push(Problem::new(ProblemCode::TextCleaned));
    }
    let mut json = Cow::Owned(text.into_owned());
    if !is_object(&json) {
        problems.push(Problem::new(ProblemCode::JsonRepaired));
        json = Cow::Owned(mend::repair(&json));
    }
    match envelope::record(&json) {
        Item::Record(_) if is_object(&json) => Item::Record(Raw::new(json, problems)),
        Item::Dead(too_large) if is_object(&json) => dead(too_large.reason, bytes),
        _ => dead(reason(bytes), bytes),
    }
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn reason(bytes: &[u8]) -> DeadReason {
    if std::str::from_utf8(bytes).is_ok() { DeadReason::NotJson } else { DeadReason::NotUtf8 }
}
