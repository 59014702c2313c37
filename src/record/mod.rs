//! Owns `Record`: one audit entry or alert as the producer wrote it, plus the normalised view of it, and its identity.
//!
//! The view is the same object everywhere: what `inspect` prints, what rules match, what templates see.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Timestamp;

/// Where a record came from. For a file or stdin `topic` and `partition` are `None` and `source` is the path or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The configured source's name, or the path as given.
    pub source: Arc<str>,
    /// Kafka topic.
    pub topic: Option<Arc<str>>,
    /// Kafka partition.
    pub partition: Option<i32>,
    /// Kafka offset of the envelope; with `--lines` the line number from 0.
    pub offset: Option<i64>,
    /// Which record of the envelope, from 0.
    pub index: u32,
}

/// A family of records with one schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Dialect {
    /// Entra directory audit logs.
    EntraAudit,
    /// Entra sign-ins of all four kinds.
    EntraSignin,
    /// Risky users and risk detections.
    EntraRisk,
    /// Azure Activity log.
    AzureActivity,
    /// Defender for Cloud alerts.
    DefenderAlert,
    /// Defender for Cloud recommendations.
    DefenderAssessment,
    /// Defender for Cloud findings (sub-assessments).
    DefenderFinding,
    /// Defender for Cloud regulatory compliance.
    DefenderCompliance,
    /// Elastic detection and alerting rules.
    ElasticAlert,
    /// Everything we do not know; identity and time are still read.
    Other,
}

/// How grave; ordered, so that `Low < High`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Default)]
pub struct Actor {
    /// `user`, `app` or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Object id.
    pub id: Option<String>,
    /// User principal name.
    pub upn: Option<String>,
    /// Display name: untrusted text.
    pub name: Option<String>,
    /// Address as the producer wrote it.
    pub ip: Option<String>,
    /// The application the user acted through.
    pub app: Option<String>,
}

/// What it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Default)]
pub struct Target {
    /// `user group device app role policy directory domain host ip file process url mailbox resource other`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Object id.
    pub id: Option<String>,
    /// User principal name.
    pub upn: Option<String>,
    /// Display name: untrusted text.
    pub name: Option<String>,
}

/// One property that changed on one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Index into `targets`.
    pub target: usize,
    /// The property's name.
    pub name: String,
    /// Before; JSON that came inside a string is decoded.
    pub old: serde_json::Value,
    /// After.
    pub new: serde_json::Value,
}

/// Something about the record that we mended or could not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// One of the closed set in `docs/records.md`.
    pub code: &'static str,
    /// The field concerned.
    pub field: Option<String>,
    /// What was seen, capped.
    pub detail: Option<String>,
}

/// A record and its view. Field order is the order in which `inspect` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each field's rule is in docs/records.md and in the JSON Schema")]
pub struct Record {
    pub position: Position,
    pub dialect: Dialect,
    pub id: String,
    pub revision: String,
    pub time: Option<Timestamp>,
    pub operation: Option<String>,
    pub result: Option<String>,
    pub state: Option<String>,
    pub severity: Option<Severity>,
    pub category: Option<String>,
    pub service: Option<String>,
    pub tenant: Option<String>,
    pub subscription: Option<String>,
    pub resource: Option<String>,
    pub correlation_id: Option<String>,
    pub actor: Option<Actor>,
    pub targets: Vec<Target>,
    pub changes: Vec<Change>,
    pub flags: Vec<String>,
    pub problems: Vec<Problem>,
    pub activity: Option<String>,
    pub details: BTreeMap<String, String>,
    pub tactics: Vec<String>,
    pub by_self: Option<bool>,
    /// The record as it came (repaired where it had to be).
    #[serde(skip)]
    pub raw: serde_json::Value,
}

/// The first phase of reading: just enough to ask the rule index whether anybody wants this record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The dialect, by content, never by topic.
    pub dialect: Dialect,
    /// As `Record::operation`.
    pub operation: Option<Cow<'a, str>>,
    /// As `Record::activity`.
    pub activity: Option<Cow<'a, str>>,
}

/// What "told once" hashes: equal for two deliveries of one record, different for any two records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity(pub [u8; 32]);

/// Reads only what the index needs from `raw`, one JSON object.
pub fn head(raw: &str) -> Head<'_> {
    unimplemented!("{raw}")
}

impl Record {
    /// The second phase: the whole view of `raw`, one JSON object. Never fails: what cannot be read becomes a problem.
    #[must_use]
    pub fn read(raw: &str, position: Position, broker_time: Option<Timestamp>) -> Self {
        unimplemented!("{raw} {position:?} {broker_time:?}")
    }

    /// Design invariant 4; no offset, no processing time, no time that is not in the record.
    #[must_use]
    pub fn identity(&self) -> Identity {
        unimplemented!()
    }
}

impl Record {
    /// When it happened by the record itself; `None` where only the broker's time is known.
    #[must_use]
    pub fn own_time(&self) -> Option<Timestamp> {
        let borrowed = self.problems.iter().any(|problem| problem.code == "time-from-broker");
        self.time.filter(|_| !borrowed)
    }

    /// The day in a notification's id: 0 where the record has no time of its own, or one more than 24 h ahead of the
    /// broker's.
    #[must_use]
    pub fn day(&self, broker_time: Option<Timestamp>) -> u32 {
        let ahead = |time: Timestamp| broker_time.is_some_and(|broker| time.since(broker).as_secs() > 86_400);
        let time = self.own_time().filter(|time| !ahead(*time));
        time.and_then(|time| u32::try_from(time.day()).ok()).unwrap_or(0)
    }
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &[Self] = &[Self::EntraAudit, Self::Other];

    /// The name in conditions and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EntraAudit => "entra.audit",
            _ => "other",
        }
    }
}

impl std::str::FromStr for Dialect {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|dialect| dialect.as_str() == text);
        known.ok_or_else(|| anyhow::anyhow!("not a dialect"))
    }
}

impl Severity {
    /// Every severity, ascending.
    pub const ALL: &[Self] = &[Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name in conditions and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl Serialize for Dialect {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
