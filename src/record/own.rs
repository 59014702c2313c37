//! Owns auditbell's own records, dialect `auditbell.delivery`: how what happened to a message or a channel is written,
//! and how it is read back like any other record.
//!
//! The dialect goes by the place and not by the content: only what was read from our own store has it, so that no
//! producer can tell the operators that a channel works again.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::field::Fields;
use super::{Dialect, EntityKind, Head, Moment, Position, Record, Severity, Target};
use crate::clock::Timestamp;

/// The source that no configuration may name.
pub const SOURCE: &str = "auditbell";
/// The topic of its positions; files have none.
pub const TOPIC: &str = "internal";

/// What happened to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// A message ended as `failed` or `expired`.
    GivenUp(GivenUp),
    /// A channel's other side does not work: nothing is sent until it does.
    Stopped {
        /// Its name.
        channel: Arc<str>,
        /// Closed vocabulary, as of a channel's verdict `Hold`.
        reason: &'static str,
    },
    /// It works again.
    Works {
        /// Its name.
        channel: Arc<str>,
    },
    /// The brake of a rule began to hold messages.
    Held {
        /// Its name.
        channel: Arc<str>,
        /// The rule's id.
        rule: Arc<str>,
    },
}

/// A message that is told no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Message key.
    pub message: String,
    /// `failed` or `expired`.
    pub state: &'static str,
    /// Why, in the vocabulary of `docs/verdicts.md`.
    pub reason: &'static str,
    /// Channel name.
    pub channel: Arc<str>,
    /// Rule id.
    pub rule: Arc<str>,
    /// Which wording it had: `normal`, or that of an escalation.
    pub kind: &'static str,
    /// The message's severity.
    pub severity: Severity,
    /// Canonical: `user:…`, `addr:…`, `room:…`.
    pub recipient: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// The code of the last reply. Never its text, which may name anybody.
    pub code: Option<u16>,
}

/// As it is written; every key is always there.
#[derive(Default, Serialize)]
struct Written<'a> {
    id: String,
    time: Option<Timestamp>,
    operation: &'static str,
    result: &'static str,
    state: &'static str,
    category: &'static str,
    severity: Option<Severity>,
    channel: &'a str,
    rule: Option<&'a str>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    kind: Option<&'a str>,
    attempts: Option<u32>,
    code: Option<u16>,
    recipient: Option<&'a str>,
}

const GIVEN_UP: &str = "Message given up";
const STOPPED: &str = "Channel stopped";
const WORKS: &str = "Channel works again";
const HELD: &str = "Messages held";

/// Every operation of the dialect.
pub const OPERATIONS: &[&str] = &[GIVEN_UP, STOPPED, WORKS, HELD];

impl Own {
    /// The record, one JSON object; `at` is when it happened.
    #[must_use]
    pub fn json(&self, at: Timestamp) -> Bytes {
        let written = match self {
            Self::GivenUp(given_up) => given_up.written(),
            Self::Stopped { channel, reason } => Written {
                operation: STOPPED,
                result: "failure",
                state: "stopped",
                severity: Some(Severity::High),
                reason: Some(*reason),
                ..of_channel(channel)
            },
            Self::Works { channel } => Written {
                operation: WORKS,
                result: "success",
                state: "working",
                severity: Some(Severity::Informational),
                ..of_channel(channel)
            },
            Self::Held { channel, rule } => Written {
                id: format!("{channel}:{rule}"),
                operation: HELD,
                result: "failure",
                state: "held",
                severity: Some(Severity::High),
                rule: Some(&**rule),
                ..of_channel(channel)
            },
        };
        let written = Written { time: Some(at), ..written };
        // A struct of texts and numbers cannot fail to be written.
        serde_json::to_vec(&written).unwrap_or_default().into()
    }
}

fn of_channel(channel: &str) -> Written<'_> {
    Written { id: channel.to_owned(), category: "Channel", channel, ..Written::default() }
}

impl GivenUp {
    fn written(&self) -> Written<'_> {
        Written {
            id: self.message.clone(),
            operation: GIVEN_UP,
            result: "failure",
            state: self.state,
            category: "Message",
            severity: Some(self.severity),
            channel: &self.channel,
            rule: Some(&*self.rule),
            reason: Some(self.reason),
            message: Some(&*self.message),
            kind: Some(self.kind),
            attempts: Some(self.attempts),
            code: self.code,
            recipient: Some(&*self.recipient),
            ..Written::default()
        }
    }
}

/// Where the row `id` of our own records stands.
#[must_use]
pub fn position(id: i64) -> Position {
    Position { source: SOURCE.into(), topic: Some(TOPIC.into()), partition: Some(0), offset: Some(id), index: 0 }
}

/// Whether what stands there is a record of ours.
#[must_use]
pub fn is_own(position: &Position) -> bool {
    &*position.source == SOURCE && position.topic.as_deref() == Some(TOPIC)
}

/// The head of a record of ours.
#[must_use]
pub fn head(raw: &str) -> Head<'static> {
    let tree: Value = serde_json::from_str(raw).unwrap_or_default();
    let operation = Fields::of(&tree).text("operation").map(Cow::Owned);
    Head { dialect: Dialect::AuditbellDelivery, operation, activity: None }
}

/// Fills the view; returns id and time.
pub(super) fn read(record: &mut Record, outer: Fields<'_>) -> (Option<String>, Moment) {
    record.result = outer.text("result");
    record.state = outer.text("state");
    record.category = outer.text("category");
    record.service = Some(SOURCE.into());
    record.resource = outer.text("channel");
    record.severity = outer.text("severity").and_then(|word| Severity::named(&word));
    record.targets = outer.text("recipient").map(|recipient| target(&recipient)).into_iter().collect();
    for key in ["channel", "rule", "reason", "message", "kind", "attempts", "code"] {
        record.details.extend(outer.text(key).map(|value| (key.to_owned(), value)));
    }
    (outer.text("id"), Moment::first([outer.get("time")]))
}

/// The recipient of a message: a user can be looked up, and told, as any other target.
fn target(recipient: &str) -> Target {
    let (kind, name) = recipient.split_once(':').unwrap_or_default();
    let name = Some(name.to_owned());
    match kind {
        "user" if recipient.contains('@') => Target { kind: EntityKind::User, upn: name, ..Target::default() },
        "user" => Target { kind: EntityKind::User, id: name, ..Target::default() },
        "addr" => Target { kind: EntityKind::Mailbox, name, ..Target::default() },
        _ => Target { kind: EntityKind::Resource, name, ..Target::default() },
    }
}
