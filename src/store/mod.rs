//! Owns what must survive a crash: positions, the ledger of notifications, messages and what is due.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::compose::Kind;
use crate::plan::{Intent, NotificationId, Recipient};
use crate::record::Severity;

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The SQLite file.
    pub path: PathBuf,
    /// How long ids and verdicts are kept.
    pub ledger: Duration,
    /// How long record and message bodies are kept.
    pub content: Duration,
}

/// What intake hands over: whole Kafka messages, one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One per partition in the batch; compared and moved first.
    pub fences: Vec<Fence>,
    /// Records that gave at least one intent, in order.
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
    /// `source:topic:partition:offset:index`.
    pub origin: Arc<str>,
    /// The raw JSON, for compose.
    pub body: Bytes,
    /// Kafka's time, with which the body is read again.
    pub broker_time: Option<Timestamp>,
    /// Who shall be told.
    pub intents: Vec<Intent>,
}

/// Bytes we could not read, with the place they came from. `item` is −1 for a whole message.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns of `dead_letter`")]
pub struct DeadLetter {
    pub source: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub item: i64,
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
    /// Channels that have something new to send.
    pub channels: Vec<Arc<str>>,
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
    #[error("{free} bytes free, less than the reserve")]
    #[expect(missing_docs, reason = "the name says it")]
    DiskLow { free: u64 },
    /// Try again, or stop, as the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What can go wrong with the store itself.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Damaged or its disk fails: stop, exit 74.
    #[error("{0}")]
    Damaged(String),
    /// Locked by another daemon, exit 75.
    #[error("{0}")]
    Busy(String),
    /// Not ours, newer, too old a SQLite, a network file system: exit 78.
    #[error("{0}")]
    Refused(String),
    /// Anything else; the same call may work later.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Identifies one claim; every verdict but `Sent` is fenced by it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of `due`")]
pub struct Claim {
    pub message: i64,
    pub channel: Arc<str>,
    pub lane: i64,
    pub due_at: Timestamp,
    pub owner: i64,
    pub attempt: u32,
    pub suspect: u32,
}

/// A claimed message with everything compose needs.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns of `message`")]
pub struct Loaded {
    pub claim: Claim,
    pub key: NotificationId,
    pub recipient: Recipient,
    pub rule: Arc<str>,
    pub template: Arc<str>,
    pub kind: Kind,
    pub title: Arc<str>,
    pub severity: Severity,
    /// Set at the first attempt, kept for ever.
    pub address: Option<Arc<str>>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Frozen bytes, once the final dot may have been written.
    pub frozen: Option<Bytes>,
    /// Oldest first.
    pub records: Vec<LoadedRecord>,
}

/// A record as it was stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns of `record`")]
pub struct LoadedRecord {
    pub origin: Arc<str>,
    pub at: Timestamp,
    pub broker_time: Option<Timestamp>,
    /// `None` after the content retention.
    pub body: Option<Bytes>,
}

/// What dispatch wants written for one claim.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Whose.
    pub claim: Claim,
    /// When the verdict fell.
    pub at: Timestamp,
    /// What to write.
    pub outcome: Settled,
    /// The attempt's reply code and line.
    pub code: Option<u16>,
    /// See `channels::Attempt::reply`.
    pub reply: String,
    /// The address used, kept from the first attempt.
    pub address: Option<Arc<str>>,
}

/// `store.md` 4, the row of the state table.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "store.md 4")]
pub enum Settled {
    Sent {
        reference: Option<String>,
        digest: [u8; 32],
    },
    Later {
        due_at: Timestamp,
    },
    Hold {
        until: Timestamp,
    },
    Ambiguous {
        due_at: Timestamp,
        bytes: Bytes,
    },
    /// Failed or expired for good; `escalation`: who hears of it instead (nobody for an escalation itself).
    Never {
        state: FinalState,
        reason: &'static str,
        escalation: Vec<Escalation>,
    },
}

/// A final state other than sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "store.md 4")]
pub enum FinalState {
    Failed,
    Expired,
}

/// A new notification that stands for one that could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// Hash of (id it stands for, kind, recipient, channel).
    pub id: NotificationId,
    /// `Unresolved` or `Failed`.
    pub kind: Kind,
    /// One entry of the fallback list.
    pub recipient: Recipient,
    /// Channel name.
    pub channel: Arc<str>,
    /// When it is too late.
    pub expires_at: Timestamp,
}

/// The store: a handle to the writer and reader threads. Cheap to clone; the last clone dropped ends the threads.
#[derive(Clone)]
pub struct Store {
    _private: (),
}

/// One row of `position`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of `position`")]
pub struct PositionRow {
    pub topic: Arc<str>,
    pub partition: i32,
    pub cluster: String,
    pub next: i64,
    pub at: Timestamp,
    pub bad: u32,
}

/// A row of `position` that the start table wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of `position`")]
pub struct Placement {
    pub topic: Arc<str>,
    pub partition: i32,
    /// What stands there; `None`: no row (insert, on conflict do nothing).
    pub from: Option<i64>,
    pub next: i64,
}

/// What maintenance learned in one round, for the gauges.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "names of the gauges")]
pub struct Upkeep {
    /// Messages per (channel, state name).
    pub messages: Vec<(Arc<str>, &'static str, u64)>,
    /// Oldest `created_at` of the pending ones, per channel.
    pub oldest_pending: Vec<(Arc<str>, Timestamp)>,
    pub bytes: u64,
    pub free_bytes: u64,
}

#[expect(clippy::unused_async, unused_variables, reason = "skeleton, replaced by the store")]
impl Store {
    /// Opens (and migrates) the file. With `daemon` it takes the lock that only one daemon may have.
    /// Blocking; call it before the runtime is busy or inside `spawn_blocking`.
    pub fn open(settings: &Settings, daemon: bool) -> Result<Self, StoreError> {
        unimplemented!()
    }
    /// Are there any rows at all (positions, notifications)? For the start table's "store empty".
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// All positions of a source.
    pub async fn positions(&self, source: &str) -> Result<Vec<PositionRow>, StoreError> {
        unimplemented!()
    }
    /// Writes first rows, or moves rows as the start table decided: each by compare-and-swap, `bad` becomes 0. A row
    /// that is not as expected is left alone; the caller reads the positions again.
    pub async fn place(
        &self,
        source: &str,
        cluster: &str,
        rows: &[Placement],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// First time each rule was active; `since` for rules not yet there. Returns all.
    pub async fn rules_seen(
        &self,
        rules: &[Arc<str>],
        since: Timestamp,
    ) -> Result<Vec<(Arc<str>, Timestamp)>, StoreError> {
        unimplemented!()
    }
    /// The revision of this config hash, a new one where it is new.
    pub async fn config_revision(&self, hash: [u8; 32], now: Timestamp) -> Result<i64, StoreError> {
        unimplemented!()
    }
    /// fence → identity → groups → rows, one transaction (grouped with whatever else waits).
    pub async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
        unimplemented!()
    }
    /// Registers a worker and frees the claims of all others on SQLite (there is one daemon): suspect + 1.
    pub async fn register(&self, name: &str, now: Timestamp) -> Result<i64, StoreError> {
        unimplemented!()
    }
    /// I am alive.
    pub async fn heartbeat(&self, worker: i64, now: Timestamp) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Deletes the worker's row; its claims must have been settled or released.
    pub async fn unregister(&self, worker: i64) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Up to `limit` due rows, urgent lane first, then one suspect row if there is nothing else in hand.
    pub async fn claim(
        &self,
        channel: &str,
        worker: i64,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Claim>, StoreError> {
        unimplemented!()
    }
    /// The claimed messages with their records, in the order given; final ones are dropped from `due` and left out.
    pub async fn load(&self, claims: Vec<Claim>) -> Result<Vec<Loaded>, StoreError> {
        unimplemented!()
    }
    /// When the next row of this channel is due.
    pub async fn next_due(&self, channel: &str) -> Result<Option<Timestamp>, StoreError> {
        unimplemented!()
    }
    /// Writes one verdict (group commit with whatever waits). `false`: the claim was no longer ours, nothing was written.
    pub async fn settle(&self, settle: Settle) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// Gives claims back untouched (attempt − 1, same due time).
    pub async fn release(&self, claims: Vec<Claim>) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Frees claims of workers unseen for 30 s, returns expired free rows for escalation, purges a slice, reads gauges.
    pub async fn maintain(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        unimplemented!()
    }
    /// Checkpoint and close; waits for the threads.
    pub async fn close(self) {
        unimplemented!()
    }
}
