//! Owns reading from Kafka: one OS thread per source polls, holds, and hands envelopes over through a bounded channel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::secret::Secret;

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
