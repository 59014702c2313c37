//! The object that `explain` prints of each record (`schema explain`). Every key is always there, in this order; new ones come
//! at the end.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::record::envelope::Dead;
use crate::record::view::View;
use crate::record::{Dialect, Position, Record, Severity};
use crate::rules::{FailedLeaf, PassedRoute};
use crate::store::operate::Event;

/// What would happen to a record, or did, why, and why not.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "auditbell explain")]
pub(super) struct Explanation {
    /// As `inspect` prints it.
    #[schemars(with = "View<'static>")]
    pub record: Subject,
    /// What it comes to; null where the store keeps what became of it and no longer its content.
    pub outcome: Option<Outcome>,
    /// Every enabled rule whose `on` fits, in config order; with `each` once for each element.
    pub rules: Vec<Considered>,
    /// Whom today's rules would tell.
    pub notifications: Vec<Notification>,
    /// What did happen, oldest first, as far as a store knows.
    pub history: Vec<Event>,
}

/// What is explained.
pub(super) enum Subject {
    Record(Box<Record>),
    /// It is no record.
    Dead(Position, Dead<'static>),
    /// Its content is past `[store] content`.
    Forgotten(Position, Option<Dialect>, Timestamp),
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(record) => View::from(&**record).serialize(serializer),
            Self::Dead(position, dead) => View::of_dead(position, dead).serialize(serializer),
            Self::Forgotten(position, dialect, at) => View::forgotten(position, *dialect, *at).serialize(serializer),
        }
    }
}

/// What it comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// Somebody would be told.
    Notify,
    /// No enabled rule's `on` fits.
    NoRule,
    /// Rules were considered and none matched.
    NoMatch,
    /// A rule matched, and nobody would be told.
    NothingToSend,
    /// It is no record.
    DeadLetter,
}

/// An enabled rule whose `on` fits, or one element that it looks at.
#[derive(Serialize, JsonSchema)]
pub(super) struct Considered {
    /// Rule id.
    pub rule: String,
    /// Whether the record fulfils it.
    pub matched: bool,
    /// With `each` the element's place: `targets[0]`.
    pub element: Option<String>,
    /// The number of the route that was taken, from 0.
    pub route: Option<usize>,
    /// Every condition that failed; none where it matched.
    pub failed: Vec<FailedLeaf>,
    /// What is known only when a message is sent.
    pub undecided: Vec<String>,
    /// Where it matched: the routes that were asked and do not hold, and every condition of them that failed.
    pub passed: Vec<PassedRoute>,
}

/// One notification that would be.
#[derive(Serialize, JsonSchema)]
pub(super) struct Notification {
    /// As in the ledger.
    pub id: String,
    /// Rule id.
    pub rule: String,
    /// `live` or `shadow`.
    pub mode: &'static str,
    /// The effective one.
    pub severity: Severity,
    /// Channel name; null where no route says how.
    pub channel: Option<String>,
    /// Null where nobody could be named.
    pub recipient: Option<Named>,
    /// Where an address was looked for, in order.
    pub addresses: Vec<Step>,
    /// `send`, `group`, or the verdict in which it ends at once.
    pub decision: &'static str,
    /// Why.
    pub reason: Option<String>,
    /// When it would leave.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub due: Option<Timestamp>,
    /// Not due.
    pub silence: Option<String>,
    /// Not due.
    pub case: Option<String>,
    /// As in `rules`.
    pub element: Option<String>,
    /// As in `rules`.
    pub route: Option<usize>,
    /// Who hears of it if the channel gives it up; none of what ends at once.
    pub fallback: Vec<Instead>,
}

/// Who hears in the place of the recipient.
#[derive(Serialize, JsonSchema)]
pub(super) struct Instead {
    /// Through which channel.
    pub channel: String,
    /// Null: the channel is a room.
    pub address: Option<String>,
}

/// `soc@example.com through email`, or the room.
impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{address} through {}", self.channel),
            None => f.write_str(&self.channel),
        }
    }
}

/// Who a recipient is, and by which entry of `to`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Named {
    /// The entry: `target`, `list:soc`, …
    pub r#ref: String,
    /// `user`, `address`, `room`; `missing`: the entry leads to nobody, so the fallback hears.
    pub kind: &'static str,
    /// Object id.
    pub id: Option<String>,
    /// User principal name.
    pub upn: Option<String>,
}

/// One place that was asked for an address; `fallback` where somebody else hears instead.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct Step {
    /// `people.csv`, `record`, `config`, `rule`, `mailbox`, `fallback`.
    #[serde(rename = "step")]
    pub asked: &'static str,
    /// `found`, `unknown`, or why not.
    pub result: &'static str,
    /// What was found.
    pub address: Option<String>,
}

/// Its JSON Schema.
pub(in crate::cli) fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<Explanation>()
}
