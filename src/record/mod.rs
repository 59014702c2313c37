//! Owns `Record`: one audit entry or alert as the producer wrote it, plus the normalised view of it, and its identity.
//!
//! The view is the same object everywhere: what `inspect` prints, what rules match, what templates see.
//!
//! A message's bytes become items in [`envelope::decode`]; a [`Glance`] tells the rule index of each record just what it
//! asks for; [`Record::read`] builds the tree and the view of those that somebody wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;

/// In a `serde` visitor: every number and boolean is `$value`.
macro_rules! visit_numbers_as {
    ($value:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

mod azure_activity;
mod by_self;
mod defender;
mod dialect;
mod elastic_alert;
mod entra;
pub mod envelope;
mod field;
pub mod fold;
mod head;
mod identity;
pub mod mapped;
mod mend;
mod news;
mod other;
pub mod own;
mod part;
pub mod path;
mod recover;
mod skim;
pub mod time;
pub mod view;
mod words;

pub use dialect::Dialect;
pub use head::{Glance, Head};
pub use identity::Identity;
pub(crate) use identity::of_content;
pub use mapped::Dialects;
pub use words::{EntityKind, Flag, ProblemCode, RESULTS, Severity};

use field::Fields;

/// How many characters of a bad value a problem shows.
const DETAIL: usize = 80;

/// Where a record came from. For a file or stdin `topic` and `partition` are `None` and `source` is the path or `-`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Default)]
pub struct Actor {
    /// `user`, `app` or `system`.
    #[serde(rename = "type")]
    pub kind: EntityKind,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, Default)]
pub struct Target {
    /// Only a `user` can be told.
    #[serde(rename = "type")]
    pub kind: EntityKind,
    /// Object id.
    pub id: Option<String>,
    /// User principal name.
    pub upn: Option<String>,
    /// Display name: untrusted text.
    pub name: Option<String>,
}

/// One property that changed on one target.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// Index into `targets`.
    pub target: usize,
    /// The property's name.
    pub name: String,
    /// Before; JSON that came inside a string is decoded.
    pub old: Value,
    /// After.
    pub new: Value,
}

/// Something about the record that we mended or could not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// What.
    pub code: ProblemCode,
    /// The field concerned.
    pub field: Option<String>,
    /// What was seen, capped.
    pub detail: Option<String>,
}

impl Problem {
    /// A problem of the whole record.
    pub const fn new(code: ProblemCode) -> Self {
        Self { code, field: None, detail: None }
    }

    /// A problem of one field, and what was seen there.
    pub fn at(code: ProblemCode, field: impl Into<String>, seen: &str) -> Self {
        let detail = (!seen.is_empty()).then(|| seen.chars().take(DETAIL).collect());
        Self { code, field: Some(field.into()), detail }
    }
}

/// A record and its view. Serialised it is [`view::View`].
#[derive(Clone, Debug, PartialEq)]
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
    pub flags: Vec<Flag>,
    pub problems: Vec<Problem>,
    pub activity: Option<String>,
    pub details: BTreeMap<String, String>,
    pub tactics: Vec<String>,
    pub by_self: Option<bool>,
    /// The record as it came (repaired where it had to be).
    pub raw: Value,
}

impl Record {
    /// [`Dialects::read`] with the mapping tables that we ship and no other.
    #[must_use]
    pub fn read(raw: &str, position: Position, broker_time: Option<Timestamp>) -> Self {
        Dialects::shipped().read(raw, position, broker_time)
    }

    /// `first`: what [`head::first`] found, where somebody has asked it already.
    fn read_with(
        dialects: &Dialects,
        raw: &str,
        first: Option<Head<'_>>,
        position: Position,
        broker_time: Option<Timestamp>,
    ) -> Self {
        let first = || first.unwrap_or_else(|| head::first(raw));
        let head = if own::is_own(&position) { own::head(raw) } else { first() };
        let mut record = Self::blank(head, position);
        let tree = record.tree(raw);
        let outer = Fields::of(&tree);
        let properties = outer.get("properties").map(field::opened);
        let properties = properties.as_deref().map_or(Fields::default(), Fields::of);
        if record.dialect == Dialect::ElasticAlert && !elastic_alert::is_alert(&elastic_alert::document(&tree)) {
            record.dialect = Dialect::Other; // some other document of Elasticsearch
        }
        let (id, time) = match record.dialect {
            Dialect::Other | Dialect::Mapped(_) => match dialects.table_of(&tree) {
                Some((table, root)) => mapped::read(&mut record, table, &root),
                None => other::read(&mut record, outer, properties),
            },
            Dialect::EntraAudit => entra::audit::read(&mut record, outer, properties),
            Dialect::EntraSignIn => entra::signin::read(&mut record, outer, properties),
            Dialect::EntraRisk => entra::risk::read(&mut record, outer, properties),
            Dialect::AzureActivity => azure_activity::read(&mut record, outer, properties),
            Dialect::DefenderAlert => defender::alert::read(&mut record, outer, properties),
            Dialect::DefenderAssessment | Dialect::DefenderFinding => {
                defender::posture::assessment(&mut record, outer, properties)
            }
            Dialect::DefenderCompliance => defender::posture::compliance(&mut record, outer, properties),
            Dialect::ElasticAlert => elastic_alert::read(&mut record, &tree),
            Dialect::AuditbellDelivery => own::read(&mut record, outer),
        };
        record.by_self = by_self::by_self(record.actor.as_ref(), &record.targets);
        record.settle(id, &time, broker_time, &tree);
        record.raw = tree;
        record
    }

    fn blank(head: Head<'_>, position: Position) -> Self {
        Self {
            position,
            dialect: head.dialect,
            id: String::new(),
            revision: String::new(),
            time: None,
            operation: head.operation.map(Into::into),
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
            targets: Vec::new(),
            changes: Vec::new(),
            flags: Vec::new(),
            problems: Vec::new(),
            activity: head.activity.map(Into::into),
            details: BTreeMap::new(),
            tactics: Vec::new(),
            by_self: None,
            raw: Value::Null,
        }
    }

    fn tree(&mut self, raw: &str) -> Value {
        if let Some(tree) = skim::whole(raw) {
            return tree;
        }
        serde_json::from_str(raw).unwrap_or_else(|_| {
            self.problems.push(Problem::new(ProblemCode::TextCleaned));
            // Not JSON at all does not come out of an envelope; as text it is at least not lost.
            serde_json::from_str(&mend::clean(raw)).unwrap_or_else(|_| Value::String(raw.to_owned()))
        })
    }

    /// Id and time are never missing for want of one in the record.
    fn settle(&mut self, id: Option<String>, time: &Moment, broker_time: Option<Timestamp>, tree: &Value) {
        self.id = id.unwrap_or_else(|| {
            self.problems.push(Problem::new(ProblemCode::IdMissing));
            identity::of_content(tree)
        });
        self.time = time.at.or(broker_time);
        if time.at.is_none() {
            let code = broker_time.map_or(ProblemCode::TimeMissing, |_| ProblemCode::TimeFromBroker);
            self.problems.push(Problem::at(code, "time", &time.unreadable));
        }
    }
}

/// When a record says it happened.
#[derive(Default)]
struct Moment {
    at: Option<Timestamp>,
    /// What stood there if it could not be read.
    unreadable: String,
}

impl Moment {
    /// The first of `candidates` that can be read.
    fn first<'a>(candidates: impl IntoIterator<Item = Option<&'a Value>>) -> Self {
        let mut moment = Self::default();
        for value in candidates.into_iter().flatten() {
            moment.at = time::of(value);
            if moment.at.is_some() {
                break;
            }
            if moment.unreadable.is_empty() {
                moment.unreadable = field::text(value).unwrap_or_default();
            }
        }
        moment
    }
}

#[cfg(test)]
mod tests;
