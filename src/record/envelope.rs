//! Owns the framings: the bytes of one Kafka message to its records, in order, or to what could not be read. Nearly every
//! message goes the [`quick`] way, in one pass; any other is read exactly, and what is out of order goes to
//! [`super::recover`]. Nothing of a message in order is copied.

mod document;
mod quick;

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Dialects, Glance, Head, Position, Problem, Record, head, recover};
use crate::clock::Timestamp;
use document::Document;

/// The largest message that is read. Event Hubs' own limit is 1 MB, on dedicated clusters 20 MB.
pub const MAX_MESSAGE: usize = 32 << 20;

/// The most items one message may hold. The smallest audit record seen has 816 bytes, so [`MAX_MESSAGE`] holds 41,000.
pub const MAX_RECORDS: usize = 65_536;

/// The deepest nesting of a record, which is `serde_json`'s.
pub const MAX_DEPTH: usize = 127;

/// One item of a message. Its index is its place in the message, dead ones counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A record.
    Record(Raw<'a>),
    /// Something else.
    Dead(Dead<'a>),
}

/// A record not yet read: one JSON object, at most [`MAX_DEPTH`] deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// As it came, or mended.
    pub json: Cow<'a, str>,
    /// What had to be mended.
    pub problems: Vec<Problem>,
    /// Read on the quick way.
    first: Option<Head<'a>>,
}

/// Bytes that are no record, of this item alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead<'a> {
    /// Why.
    pub reason: DeadReason,
    /// As they came.
    pub bytes: Cow<'a, [u8]>,
}

/// Why an item is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadReason {
    /// Neither JSON nor mendable.
    NotJson,
    /// More than [`MAX_MESSAGE`] bytes, [`MAX_RECORDS`] items or [`MAX_DEPTH`] levels.
    TooLarge,
    /// Not UTF-8, and no JSON when read leniently.
    NotUtf8,
    /// A tombstone, or white space.
    Empty,
    /// JSON, but no object.
    NotARecord,
}

impl DeadReason {
    /// As printed and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::TooLarge => "too-large",
            Self::NotUtf8 => "not-utf8",
            Self::Empty => "empty",
            Self::NotARecord => "not-a-record",
        }
    }
}

impl<'a> Raw<'a> {
    /// What had to be mended of `json`.
    pub(super) const fn new(json: Cow<'a, str>, problems: Vec<Problem>) -> Self {
        Self { json, problems, first: None }
    }

    /// What is known of its head without a tree. Who wants the record after that had better read all of it.
    #[must_use]
    pub fn glance(&self, dialects: &Dialects) -> Glance<'_> {
        head::glance(dialects, self.first(), &self.json)
    }

    fn first(&self) -> Head<'_> {
        self.first.clone().unwrap_or_else(|| head::first(&self.json))
    }

    /// [`Dialects::read`], with what the envelope mended among its problems.
    #[must_use]
    pub fn read(self, dialects: &Dialects, position: Position, broker_time: Option<Timestamp>) -> Record {
        let mut record = Record::read_with(dialects, &self.json, self.first, position, broker_time);
        record.problems.splice(0..0, self.problems);
        record
    }
}

/// Everything in one message. `None` is a tombstone. Never fails, and loses nothing: what is not in a record is dead.
pub fn decode(payload: Option<&[u8]>) -> Vec<Item<'_>> {
    let text = payload.and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.and_then(quick::items).unwrap_or_else(|| decode_exactly(payload))
}

/// As [`decode`] without the quick way, which must give the same: tests and a fuzz target compare the two.
pub fn decode_exactly(payload: Option<&[u8]>) -> Vec<Item<'_>> {
    let whole = payload.unwrap_or_default();
    let bytes = whole.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(whole);
    if bytes.trim_ascii().is_empty() {
        return vec![dead(DeadReason::Empty, whole)];
    }
    if whole.len() > MAX_MESSAGE {
        return vec![dead(DeadReason::TooLarge, whole)];
    }
    let mut found = Found::default();
    match std::str::from_utf8(bytes) {
        Ok(text) => exact(text, &mut found),
        Err(_) => recover::items(bytes, &mut found),
    }
    if found.items.len() > MAX_RECORDS {
        return vec![dead(DeadReason::TooLarge, whole)];
    }
    found.items
}

/// What came out of a message so far.
#[derive(Default)]
pub(super) struct Found<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// Bytes looked at in vain, of the whole message: each of the texts in it may be made to hurt.
    pub(super) vain: usize,
}

impl<'a> Found<'a> {
    pub(super) fn push(&mut self, item: Item<'a>) {
        self.items.push(item);
    }
}

/// The items of any text.
fn exact<'a>(text: &'a str, found: &mut Found<'a>) {
    if let Some(rest) = documents(text, found) {
        recover::items(&text.as_bytes()[rest..], found);
    }
}

/// Reads document after document. Where JSON ends, the offset of the first that is none.
pub(super) fn documents<'a>(text: &'a str, found: &mut Found<'a>) -> Option<usize> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Document<'a>>();
    let mut start = 0;
    while let Some(document) = stream.next() {
        let Ok(document) = document else { return Some(start) };
        let end = stream.byte_offset();
        // A lone quotation mark makes a text of what follows, up to the first name of the next record.
        let ends = text[end..].starts_with(|next: char| next.is_ascii_whitespace() || "{[\"".contains(next));
        if matches!(document, Document::Text(_)) && !ends && end < text.len() {
            return Some(start);
        }
        let raw = text[start..end].trim_ascii();
        start = end;
        match document {
            Document::Text(text) => string(raw, &text, found),
            document => unpack(raw, document, found),
        }
        if found.items.len() > MAX_RECORDS {
            break;
        }
    }
    None
}

/// A JSON string with JSON inside.
fn string<'a>(raw: &'a str, text: &str, found: &mut Found<'a>) {
    if !document::begins_as_json(text) {
        return found.push(dead(DeadReason::NotARecord, raw.as_bytes()));
    }
    let mut inner = Found { items: Vec::new(), vain: found.vain };
    exact(text, &mut inner);
    found.vain = inner.vain;
    for item in inner.items {
        found.push(item.into_owned());
    }
}

fn unpack<'a>(raw: &'a str, document: Document<'a>, found: &mut Found<'a>) {
    match document {
        Document::Envelope(elements) => list(elements, found, one),
        Document::Packed(texts) if !head::is_record(raw) && texts.iter().any(|text| is_packed(text)) => {
            list(texts, found, one);
        }
        Document::Object | Document::Packed(_) => found.push(record(raw)),
        Document::Array(elements) => list(elements, found, |raw, found| match serde_json::from_str(raw) {
            Ok(document @ (Document::Envelope(_) | Document::Packed(_))) => unpack(raw, document, found),
            _ => one(raw, found),
        }),
        Document::Text(_) | Document::Null | Document::Scalar => {
            found.push(dead(DeadReason::NotARecord, raw.as_bytes()));
        }
    }
}

/// Whether the JSON string has records inside, though one of them may be broken, and not words in brackets.
fn is_packed(text: &RawValue) -> bool {
    document::text(text.get()).is_some_and(|text| {
        let text = text.trim_start();
        serde_json::from_str::<IgnoredAny>(text).is_ok() || recover::opening(text.as_bytes()).is_some()
    })
}

/// The elements of a list, no more than count.
fn list<'a>(elements: Vec<&'a RawValue>, found: &mut Found<'a>, each: impl Fn(&'a str, &mut Found<'a>)) {
    for element in elements {
        each(element.get(), found);
        if found.items.len() > MAX_RECORDS {
            break;
        }
    }
}

/// An element in the place of a record. A function that is handed a batch may pass it on as a list of texts.
fn one<'a>(raw: &'a str, found: &mut Found<'a>) {
    match document::text(raw) {
        Some(text) => string(raw, &text, found),
        None => found.push(record(raw)),
    }
}

/// One JSON value that must be an object.
pub(super) fn record(raw: &str) -> Item<'_> {
    if !raw.starts_with('{') {
        dead(DeadReason::NotARecord, raw.as_bytes())
    } else if is_deep(raw) {
        dead(DeadReason::TooLarge, raw.as_bytes())
    } else {
        Item::Record(Raw::new(Cow::Borrowed(raw), Vec::new()))
    }
}

pub(super) fn dead(reason: DeadReason, bytes: &[u8]) -> Item<'_> {
    Item::Dead(Dead { reason, bytes: Cow::Borrowed(bytes) })
}

impl Item<'_> {
    fn into_owned(self) -> Item<'static> {
        match self {
            Self::Record(Raw { json, problems, .. }) => Item::Record(Raw::new(Cow::Owned(json.into_owned()), problems)),
            Self::Dead(Dead { reason, bytes }) => Item::Dead(Dead { reason, bytes: Cow::Owned(bytes.into_owned()) }),
        }
    }
}

/// Whether valid JSON nests deeper than [`MAX_DEPTH`]. Nearly every record has fewer brackets than that; counting them
/// runs at memory speed, and only the others are walked.
fn is_deep(raw: &str) -> bool {
    // The two differ in one bit. 255 at a time, so that a byte can count them and 32 are compared at once.
    let opens = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let count = |block: &[u8]| usize::from(block.iter().map(opens).sum::<u8>());
    if raw.as_bytes().chunks(255).map(count).sum::<usize>() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut string, mut escaped) = (0_usize, false, false);
    raw.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = string,
            b'"' => string = !string,
            _ if string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_DEPTH
    })
}

#[cfg(test)]
mod tests;
