//! Owns what intake hands over and what comes back: whole Kafka messages, accounted for in one transaction.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::StoreError;
use crate::clock::Timestamp;
use crate::plan::{Intent, Throttle, Verdict};
use crate::record::Position;

/// What intake hands over: whole Kafka messages, one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One per partition in the batch; compared and moved first.
    pub fences: Vec<Fence>,
    /// Rows of our own records; deleted first, all of them or none. A fence too.
    pub internal: Vec<i64>,
    /// Records that gave at least one intent, in order: those of one Kafka message stand together.
    pub records: Vec<Planned>,
    /// What could not be read.
    pub dead_letters: Vec<DeadLetter>,
    /// Config revision that decided.
    pub config: i64,
}

/// "I last saw `from`; I have accounted for everything before `to`."
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of `position`")]
pub struct Fence {
    pub source: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub from: i64,
    pub to: i64,
    /// Bad messages in a row up to `to` (0 after a good one).
    pub bad: u32,
}

/// A record with its intents.
#[derive(Clone, Debug)]
pub struct Planned {
    /// `Record::identity`.
    pub identity: [u8; 32],
    /// The record's time, else the broker's, else now.
    pub at: Timestamp,
    /// Dialect, for the console.
    pub dialect: &'static str,
    /// Where it came from; kept as `source:topic:partition:offset:index`.
    pub position: Position,
    /// The raw JSON, for compose.
    pub body: Bytes,
    /// Kafka's time, with which the body is read again.
    pub broker_time: Option<Timestamp>,
    /// Who shall be told.
    pub intents: Vec<Intent>,
}

/// Bytes we could not read, with the place they came from. `item` is −1 for a whole message; `broker_time` is Kafka's.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns of `dead_letter`")]
pub struct DeadLetter {
    pub source: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub item: i64,
    pub broker_time: Option<Timestamp>,
    pub error: &'static str,
    pub body: Bytes,
}

/// What a batch came to, for the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// New notifications that became or joined messages.
    pub messages: u64,
    /// (rule, channel) of each notification whose id was there before.
    pub duplicates: Vec<(Arc<str>, Arc<str>)>,
    /// (rule, channel, verdict, reason) of each new notification that ended at once.
    pub ended: Vec<(Arc<str>, Arc<str>, Verdict, &'static str)>,
    /// New dead letters, those of records that the store itself refused included.
    pub dead_letters: u64,
    /// (rule, channel) and how many new messages of theirs the brake holds.
    pub held: Vec<(Arc<str>, Arc<str>, u64)>,
    /// Brakes that hold, and of which the log has not been told in this window.
    pub trips: Vec<Trip>,
    /// Channels that have something new to send.
    pub channels: Vec<Arc<str>>,
}

/// A brake holds messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of the configuration")]
pub struct Trip {
    pub rule: Arc<str>,
    pub channel: Arc<str>,
    pub throttle: Throttle,
}

impl Accepted {
    /// Adds what another part of the same batch came to.
    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.dead_letters += other.dead_letters;
        self.duplicates.extend(other.duplicates);
        self.ended.extend(other.ended);
        self.held.extend(other.held);
        self.trips.extend(other.trips);
        for channel in other.channels {
            self.wake(&channel);
        }
    }

    /// `channel` has something new to send.
    pub(super) fn wake(&mut self, channel: &Arc<str>) {
        if !self.channels.contains(channel) {
            self.channels.push(channel.clone());
        }
    }
}

/// Why a batch was not accepted; nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Somebody else moved this position: re-read it and seek.
    #[error("position of {topic}/{partition} is not {from}")]
    #[expect(missing_docs, reason = "names of the fence")]
    Fenced { topic: Arc<str>, partition: i32, from: i64 },
    /// The dead letters are full: hold.
    #[error("the dead-letter table is full")]
    DeadLettersFull,
    /// The store's disk is short of space: hold.
    #[error("{}: {free} bytes free, too little to accept more; free some space there", path.display())]
    #[expect(missing_docs, reason = "the names say it")]
    DiskLow { path: PathBuf, free: u64 },
    /// Try again, or stop, as the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for AcceptError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}
