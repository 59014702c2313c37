//! Owns the printed form of a record or a dead item: the same object in `inspect`, in the API and in templates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::envelope::{Dead, DeadReason};
use super::{Actor, Change, Dialect, Flag, Position, Problem, Record, Severity, Target};
use crate::clock::Timestamp;

/// How many characters of a dead item are shown.
const EXCERPT: usize = 200;

/// One record or dead item, as printed. Every key is always there, in this order; new ones come at the end.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "auditbell record")]
pub struct View<'a> {
    /// Where it came from.
    position: &'a Position,
    /// The family of records with one schema; null for a dead item.
    dialect: Option<Dialect>,
    /// The producer's id, or `sha256:` and 32 hex digits of the canonical JSON.
    id: Option<&'a str>,
    /// What changes when a producer sends one id again; empty where it does not.
    revision: Option<&'a str>,
    /// When it happened: RFC 3339, UTC, milliseconds.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    time: Option<Timestamp>,
    /// The producer's name of what was done.
    operation: Option<&'a str>,
    /// `success failure interrupted started timeout`, or the producer's word in lower case.
    result: Option<&'a str>,
    /// State of a thing, the producer's word.
    state: Option<&'a str>,
    /// How grave, as the producer sees it.
    severity: Option<Severity>,
    /// Inner category, else outer.
    category: Option<&'a str>,
    /// The service that wrote the record.
    service: Option<&'a str>,
    /// Tenant id in lower case.
    tenant: Option<&'a str>,
    /// Azure subscription id.
    subscription: Option<&'a str>,
    /// Azure resource id as written.
    resource: Option<&'a str>,
    /// Shared by the records of one human act.
    correlation_id: Option<&'a str>,
    /// Who did it.
    actor: Option<&'a Actor>,
    /// What it was done to, in the record's order.
    targets: &'a [Target],
    /// What changed, decoded.
    changes: &'a [Change],
    /// What sort of record it is besides.
    flags: &'a [Flag],
    /// What was mended or could not be read.
    problems: &'a [Problem],
    /// Set for a dead item; then everything but `position` is null or empty.
    dead_letter: Option<DeadLetter>,
    /// The inner name of the activity where it differs from `operation`.
    activity: Option<&'a str>,
    /// Additional details as one map of text; null for a dead item.
    details: Option<&'a BTreeMap<String, String>>,
    /// MITRE tactics.
    tactics: &'a [String],
    /// Whether the actor is the only user among the targets; null where that is unknown.
    by_self: Option<bool>,
    /// The record as it came, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a Value>,
}

/// Why an item could not be read.
#[derive(Serialize, JsonSchema)]
struct DeadLetter {
    /// Why.
    reason: DeadReason,
    /// Its length.
    bytes: usize,
    /// Its beginning.
    excerpt: String,
}

impl<'a> View<'a> {
    /// A dead item, found at `position`.
    pub fn of_dead(position: &'a Position, dead: &Dead<'_>) -> Self {
        let excerpt = String::from_utf8_lossy(&dead.bytes[..dead.bytes.len().min(4 * EXCERPT)]);
        let excerpt = excerpt.chars().take(EXCERPT).collect();
        let dead_letter = Some(DeadLetter { reason: dead.reason, bytes: dead.bytes.len(), excerpt });
        Self { dead_letter, ..Self::of_nothing(position) }
    }

    /// A record whose content is not kept any more: where, what family, when.
    pub fn forgotten(position: &'a Position, dialect: Option<Dialect>, time: Timestamp) -> Self {
        Self { dialect, time: Some(time), ..Self::of_nothing(position) }
    }

    fn of_nothing(position: &'a Position) -> Self {
        Self {
            position,
            dialect: None,
            id: None,
            revision: None,
            time: None,
            operation: None,
            result: None,
            state: None,
            severity: None,
            category: None,
            service: None,
            tenant: None,
            subscription: None,
            resource: None,
            correlation_id: None,
            actor: None,
            targets: &[],
            changes: &[],
            flags: &[],
            problems: &[],
            dead_letter: None,
            activity: None,
            details: None,
            tactics: &[],
            by_self: None,
            raw: None,
        }
    }

    /// With the record as it came, last.
    #[must_use]
    pub fn with_raw(mut self, record: &'a Record) -> Self {
        self.raw = Some(&record.raw);
        self
    }
}

impl<'a> From<&'a Record> for View<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            position: &record.position,
            dialect: Some(record.dialect),
            id: Some(&record.id),
            revision: Some(&record.revision),
            time: record.time,
            operation: record.operation.as_deref(),
            result: record.result.as_deref(),
            state: record.state.as_deref(),
            severity: record.severity,
            category: record.category.as_deref(),
            service: record.service.as_deref(),
            tenant: record.tenant.as_deref(),
            subscription: record.subscription.as_deref(),
            resource: record.resource.as_deref(),
            correlation_id: record.correlation_id.as_deref(),
            actor: record.actor.as_ref(),
            targets: &record.targets,
            changes: &record.changes,
            flags: &record.flags,
            problems: &record.problems,
            dead_letter: None,
            activity: record.activity.as_deref(),
            details: Some(&record.details),
            tactics: &record.tactics,
            by_self: record.by_self,
            raw: None,
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        View::from(self).serialize(serializer)
    }
}

/// The JSON Schema of what is printed.
pub fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<View<'_>>()
}
