//! Owns the pure half of intake: one Kafka message to the records somebody wants to hear of, the letters that cannot be
//! read, and what to count. No I/O and no clock.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::lookup::Lookups;
use crate::people::People;
use crate::plan::{self, Directory};
use crate::record::envelope::{self, Item, Raw};
use crate::record::{Dialect, Dialects, Position, Record, own};
use crate::rules::{Known, Rules};
use crate::source::Envelope;
use crate::store::{DeadLetter, Planned};

/// `DeadLetter::item` of a whole message.
const WHOLE: i64 = -1;

/// What a configuration decides by. A reload replaces it whole, between two batches.
pub struct Basis {
    /// The config revision that it is.
    pub revision: i64,
    /// How records are read.
    pub dialects: Dialects,
    /// The rules.
    pub rules: Rules,
    /// The tables that they read.
    pub lookups: Lookups,
    /// Who is who.
    pub people: Arc<People>,
    /// When each rule was first active.
    pub rules_seen: HashMap<Arc<str>, Timestamp>,
    /// Whom to wake when a channel has something new.
    pub wakes: HashMap<Arc<str>, Arc<Notify>>,
}

/// What of a source is the same as long as the process lives.
pub struct Reader {
    /// Its name.
    pub source: Arc<str>,
    /// Records whose Kafka time is older are refused: the ledger may have forgotten that they were told.
    pub remembered: Duration,
}

/// One Kafka message, read.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// Somebody is to be told, or was to be.
    pub planned: Vec<Planned>,
    pub dead_letters: Vec<DeadLetter>,
    pub tally: Tally,
}

/// What to count once it is accepted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages that this is the sum of.
    pub messages: u64,
    /// Records per dialect.
    pub records: BTreeMap<&'static str, u64>,
    /// Refused as `too_old`.
    pub too_old: u64,
    /// One entry per (rule, matching record).
    pub matches: Vec<Arc<str>>,
}

impl Tally {
    /// One more message. A batch is counted at once: a counter costs more than a record.
    pub fn add(&mut self, message: Self) {
        self.messages += 1;
        for (dialect, count) in message.records {
            *self.records.entry(dialect).or_default() += count;
        }
        self.too_old += message.too_old;
        self.matches.extend(message.matches);
    }
}

impl Message {
    /// Nothing in it could be read.
    pub fn is_bad(&self) -> bool {
        self.tally.records.is_empty() && !self.dead_letters.is_empty()
    }
}

impl Reader {
    /// Reads one message. A panic on foreign text condemns the record, not the process.
    pub(super) fn read(&self, basis: &Basis, envelope: &Envelope, now: Timestamp) -> Message {
        self.read_from(basis, envelope, None, now)
    }

    /// Reads one message, or what was kept of it: its records from the `first` on.
    pub(super) fn read_from(&self, basis: &Basis, envelope: &Envelope, first: Option<u32>, now: Timestamp) -> Message {
        // A message that is one dead letter has no record to count from.
        let whole = first.map_or(WHOLE, i64::from);
        let mut message = Message {
            topic: envelope.topic.clone(),
            partition: envelope.partition,
            offset: envelope.offset,
            ..Message::default()
        };
        let payload = envelope.payload.as_deref();
        let Ok(items) = catch_unwind(AssertUnwindSafe(|| envelope::decode(payload))) else {
            let body = envelope.payload.clone().unwrap_or_default();
            message.dead_letters.push(self.dead_letter(envelope, whole, "panicked", body));
            return message;
        };
        let too_old = envelope.timestamp.is_some_and(|at| now.since(at) > self.remembered);
        let alone = items.len() == 1;
        for (index, item) in (first.unwrap_or(0)..).zip(items) {
            match item {
                Item::Dead(dead) => {
                    let item = if alone { whole } else { i64::from(index) };
                    let body = Bytes::copy_from_slice(&dead.bytes);
                    message.dead_letters.push(self.dead_letter(envelope, item, dead.reason.as_str(), body));
                }
                Item::Record(raw) => {
                    let json = raw.json.clone();
                    let at = At { envelope, index, now, too_old };
                    if let Ok(read) = catch_unwind(AssertUnwindSafe(|| self.record(basis, raw, &at))) {
                        message.take(read);
                    } else {
                        let body = Bytes::copy_from_slice(json.as_bytes());
                        message.dead_letters.push(self.dead_letter(envelope, i64::from(index), "panicked", body));
                    }
                }
            }
        }
        message
    }

    fn record(&self, basis: &Basis, raw: Raw<'_>, at: &At<'_>) -> One {
        let At { envelope, index, now, too_old } = *at;
        let glance = raw.glance(&basis.dialects);
        if let Some(dialect) = glance.dialect()
            && (too_old || !basis.rules.may_want(&glance))
        {
            return One::unwanted(dialect, too_old);
        }
        let position = Position {
            source: self.source.clone(),
            topic: Some(envelope.topic.clone()),
            partition: Some(envelope.partition),
            offset: Some(envelope.offset),
            index,
        };
        let body = Bytes::copy_from_slice(raw.json.as_bytes());
        let record = raw.read(&basis.dialects, position, envelope.timestamp);
        if too_old {
            return One::unwanted(record.dialect, too_old);
        }
        let (matches, planned) = basis.decide(&record, body, envelope.timestamp, now);
        One { dialect: record.dialect.as_str(), too_old, planned, matches }
    }

    fn dead_letter(&self, envelope: &Envelope, item: i64, error: &'static str, body: Bytes) -> DeadLetter {
        DeadLetter {
            source: self.source.clone(),
            topic: envelope.topic.clone(),
            partition: envelope.partition,
            offset: envelope.offset,
            item,
            broker_time: envelope.timestamp,
            error,
            body,
        }
    }
}

impl Basis {
    /// The rules that `record` matches, and what they want told.
    fn decide(
        &self,
        record: &Record,
        body: Bytes,
        broker_time: Option<Timestamp>,
        now: Timestamp,
    ) -> (Vec<Arc<str>>, Option<Planned>) {
        let known = Known { now, lookups: &self.lookups };
        let matching = self.rules.matching(record, known);
        let mut matches: Vec<Arc<str>> = matching.iter().map(|one| one.rule.id.clone()).collect();
        matches.dedup(); // a rule may match with several elements
        let context = plan::Context {
            known,
            broker_time,
            rules_seen: &self.rules_seen,
            directory: Directory {
                canonical: &|id, upn| self.people.canonical(id, upn),
                manager: &|of| self.people.manager(of),
                alternates: &|of| self.people.alternates(of),
            },
        };
        let intents = plan::plan(record, &matching, &context);
        let planned = (!intents.is_empty()).then(|| Planned {
            identity: record.identity().0,
            at: record.time.or(broker_time).unwrap_or(now),
            dialect: record.dialect.as_str(),
            position: record.position.clone(),
            body,
            broker_time,
            intents,
        });
        (matches, planned)
    }
}

/// Reads a record of ours, row `id`. Should it make us panic it is passed over: it tells of what the store holds too.
pub(super) fn own(basis: &Basis, id: i64, body: &Bytes, now: Timestamp) -> Message {
    let mut message = Message { topic: own::TOPIC.into(), offset: id, ..Message::default() };
    let read = || {
        let body_text = std::str::from_utf8(body).unwrap_or_default();
        let record = basis.dialects.read(body_text, own::position(id), None);
        let (matches, planned) = basis.decide(&record, body.clone(), None, now);
        One { dialect: record.dialect.as_str(), too_old: false, planned, matches }
    };
    if let Ok(one) = catch_unwind(AssertUnwindSafe(read)) {
        message.take(one);
    } else {
        tracing::error!(id, "reading a record of our own panicked; no rule hears of it");
    }
    message
}

/// Where and when a record is read.
struct At<'a> {
    envelope: &'a Envelope,
    /// Over the whole message, from 0.
    index: u32,
    now: Timestamp,
    /// The message is older than the ledger remembers.
    too_old: bool,
}

/// One record, read.
struct One {
    dialect: &'static str,
    too_old: bool,
    planned: Option<Planned>,
    matches: Vec<Arc<str>>,
}

impl One {
    /// Nobody hears of it.
    fn unwanted(dialect: Dialect, too_old: bool) -> Self {
        Self { dialect: dialect.as_str(), too_old, planned: None, matches: Vec::new() }
    }
}

impl Message {
    fn take(&mut self, one: One) {
        *self.tally.records.entry(one.dialect).or_default() += 1;
        self.tally.too_old += u64::from(one.too_old);
        self.tally.matches.extend(one.matches);
        self.planned.extend(one.planned);
    }
}
