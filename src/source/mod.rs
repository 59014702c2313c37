//! Owns reading from Kafka: one OS thread per source polls, holds, and hands envelopes over through a bounded channel.
//!
//! `start` is the pure table of where reading begins, `place` fetches its facts and carries its decisions out, `client`
//! turns settings into librdkafka's, `context` says what goes wrong in words, `hand` is the bounded hand-over, `consumer`
//! the thread itself; `probe`, `ask` and `past` ask the brokers for a command, beside every group. Nothing here knows what a record is; the store is asked only for positions.

mod ask;
mod client;
mod consumer;
mod context;
mod growth;
mod hand;
mod offsets;
mod past;
mod place;
mod probe;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::clock::{Clock, Timestamp};
use crate::secret::Secret;
use crate::store::Store;

pub use ask::{Extent, extents, offset_at};
pub use client::{RESERVED, Refusal, examine, properties};
pub use past::{Ended, read_since};
pub use probe::probe;

/// `[source.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The table's name.
    pub name: Arc<str>,
    /// `host:port`, comma separated.
    pub brokers: String,
    /// Topics.
    pub topics: Vec<String>,
    /// Consumer group.
    pub group_id: String,
    /// Where a new group begins.
    pub start: Start,
    /// SASL.
    pub auth: Option<Sasl>,
    /// TLS on; `Some(default)` verifies against the system's roots.
    pub tls: Option<Tls>,
    /// What to do when the group has history and the store has none.
    pub on_lost_store: OnLostStore,
    /// Pass-through properties; ours are reserved and already refused by config.
    pub kafka: BTreeMap<String, String>,
}

/// Where a group without history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first record kept.
    Earliest,
    /// The next record written.
    Latest,
    /// This long before the start: `"-1h"`.
    Ago(Duration),
    /// A moment.
    At(Timestamp),
}

/// `on_lost_store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLostStore {
    /// Exit 78.
    Refuse,
    /// Go on where Kafka's committed offset is.
    Committed,
    /// Read everything again.
    Replay,
}

/// SASL PLAIN or SCRAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    pub mechanism: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// TLS files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Private CA; `None` = probe for the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate.
    pub cert_file: Option<PathBuf>,
    /// Client key.
    pub key_file: Option<PathBuf>,
}

/// One Kafka message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Broker or producer time.
    pub timestamp: Option<Timestamp>,
    /// `None` is a tombstone.
    pub payload: Option<Bytes>,
}

/// What the Kafka thread tells intake, in the order in which it happened.
#[derive(Debug)]
pub enum Event {
    /// Reading of this partition begins at `next`, which is also the store's position: the next fence starts there.
    /// Envelopes of this partition that came before this event must not be accepted any more.
    Assigned {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// The first offset wanted; the first envelope may have a higher one (compaction, control records).
        next: i64,
        /// Bad messages in a row before `next`.
        bad: u32,
    },
    /// The partition belongs to somebody else now.
    Revoked {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
    },
    /// At most [`BATCH_MESSAGES`] and [`BATCH_BYTES`] (one larger message comes alone), only of assigned partitions, in
    /// offset order per partition. Gaps in the offsets are normal.
    Envelopes(Vec<Envelope>),
    /// The source cannot go on; the process must end with `exit` and print `message`, which holds the remedy.
    Fatal {
        /// 75 or 78.
        exit: u8,
        /// For the operator; no secrets.
        message: String,
    },
}

#[cfg(test)]
impl Settings {
    /// `entra`, from the first record of `topic` on.
    fn from_the_start(brokers: &str, topic: &str) -> Self {
        Self {
            name: "entra".into(),
            brokers: brokers.to_owned(),
            topics: vec![topic.to_owned()],
            group_id: "auditbell".into(),
            start: Start::Earliest,
            auth: None,
            tls: None,
            on_lost_store: OnLostStore::Refuse,
            kafka: BTreeMap::new(),
        }
    }
}

/// What intake tells the Kafka thread.
#[derive(Debug)]
pub enum Command {
    /// Everything before `next` is in the store: Kafka's committed offset may follow.
    Accepted {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
        /// Last accepted offset + 1.
        next: i64,
    },
    /// The store's position is not what we thought: read it again and go there.
    Reseek {
        /// Topic.
        topic: Arc<str>,
        /// Partition.
        partition: i32,
    },
    /// Pause every partition until [`Command::Resume`] with the same reason. Group membership is kept.
    Hold {
        /// Label of `source_held`.
        reason: &'static str,
    },
    /// This reason is over; reading goes on when no reason is left.
    Resume {
        /// As given to [`Command::Hold`].
        reason: &'static str,
    },
    /// Drop what is in hand, commit what was accepted, leave the group.
    Stop,
}

/// Messages in one [`Event::Envelopes`].
pub const BATCH_MESSAGES: usize = 1_024;
/// Payload bytes in one [`Event::Envelopes`].
pub const BATCH_BYTES: usize = 8 << 20;
/// Events that wait for intake. With the batch in the thread's hand and the one in intake's that bounds a source's
/// envelopes to 4 × 8 MiB.
const EVENTS_AHEAD: usize = 2;
/// Commands that wait for the thread.
const COMMANDS_AHEAD: usize = 256;
/// How long leaving the group may take. Closing can block as long as a broker is away; the process then just ends.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Intake's end of a source.
#[derive(Debug)]
pub struct Handle {
    /// Closed when the thread has ended.
    pub events: mpsc::Receiver<Event>,
    commands: Commands,
    ended: oneshot::Receiver<()>,
}

/// The way to the Kafka thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::Sender<Command>);

/// The Kafka thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the source has ended")]
pub struct Gone;

/// The Kafka thread's end; a test that stands in for Kafka holds it too.
#[derive(Debug)]
pub struct Link {
    /// To intake.
    pub events: mpsc::Sender<Event>,
    /// From intake.
    pub commands: mpsc::Receiver<Command>,
    /// Dropped last: tells `Handle::stop` that everything is over.
    pub ended: oneshot::Sender<()>,
}

impl Commands {
    /// Waits while 256 commands are under way.
    pub async fn send(&self, command: Command) -> Result<(), Gone> {
        self.0.send(command).await.map_err(|_| Gone)
    }
}

impl Handle {
    /// Two ends, joined by bounded channels.
    #[must_use]
    pub fn pair() -> (Self, Link) {
        let (to_intake, events) = mpsc::channel(EVENTS_AHEAD);
        let (commands, from_intake) = mpsc::channel(COMMANDS_AHEAD);
        let (ends, ended) = oneshot::channel();
        let link = Link { events: to_intake, commands: from_intake, ended: ends };
        (Self { events, commands: Commands(commands), ended }, link)
    }

    /// For whoever sends commands while another waits for events.
    #[must_use]
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }

    /// Stops the thread and waits until it has left the group, at most ten seconds; later it is left behind, which costs
    /// the group a session timeout and nothing else.
    pub async fn stop(self) {
        let Self { events, commands, ended } = self;
        drop(events);
        let stopping = async {
            // An error of either means that the thread has ended, which is what we want.
            let _ = commands.send(Command::Stop).await;
            let _ = ended.await;
        };
        if tokio::time::timeout(STOP_DEADLINE, stopping).await.is_err() {
            tracing::warn!(limit = ?STOP_DEADLINE, "the Kafka client did not close in time; going on without it");
        }
    }
}

/// Starts the thread of one source. The client is created here, so that a certificate or a property that librdkafka
/// refuses is an error at once; a broker that is away is not. `runtime` is where the thread waits for the store;
/// its timers must be driven while the thread waits, so it is a multi-thread one. `store_lost` is what the store said
/// before *any* source was started: the first rows of one must not make a lost store look used to the next.
pub fn start(
    settings: Settings,
    store: Store,
    store_lost: bool,
    clock: Clock,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<Handle> {
    let (handle, link) = Handle::pair();
    consumer::spawn(settings, store, store_lost, clock, runtime, link)?;
    Ok(handle)
}
