//! Owns what dispatch sees: claims, loaded messages, and the verdicts it wants written.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::compose::Kind;
use crate::plan::{Extent, NotificationId, Recipient};
use crate::record::own::GivenUp;
use crate::record::{Position, Severity};

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
    /// When it was first claimed for a real attempt: this time, or an earlier one that was not taken back.
    pub first_at: Timestamp,
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
    /// With `Kind::Unresolved` and `Kind::Failed`: whom the message it stands for was for, and why that one ended.
    pub about: Option<(Recipient, Arc<str>)>,
    /// Notifications that this message stands for, per rule: a group may hold those of several.
    pub counts: BTreeMap<Arc<str>, u64>,
    /// Oldest first; each record once, at most [`RECORDS`].
    pub records: Vec<LoadedRecord>,
}

/// Most records of one message that are loaded. A mail lists a few; the count tells the rest.
pub const RECORDS: usize = 100;

/// A record as it was stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns of `record`")]
pub struct LoadedRecord {
    pub position: Position,
    pub at: Timestamp,
    pub broker_time: Option<Timestamp>,
    /// `None` after the content retention.
    pub body: Option<Bytes>,
    /// What of it the message is about.
    pub extent: Extent,
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
    /// A channel made an attempt. Without one the claim counts for none.
    pub tried: bool,
    /// The attempt's reply code.
    pub code: Option<u16>,
    /// See `channels::Attempt::reply`; without an attempt why there was none, or nothing.
    pub reply: String,
    /// The address used, kept from the first attempt.
    pub address: Option<Arc<str>>,
    /// The mailbox was refused for good: nothing more goes to `address` through this channel before then.
    pub refused_until: Option<Timestamp>,
}

/// The verdict's row of the state table in `docs/store.md`.
#[derive(Clone, Debug)]
pub enum Settled {
    /// Accepted by the other side: final, whoever holds the claim.
    #[expect(missing_docs, reason = "columns of `message`")]
    Sent { reference: Option<String>, digest: [u8; 32] },
    /// Tried in vain; again at `due_at`.
    #[expect(missing_docs, reason = "column of `due`")]
    Later { due_at: Timestamp },
    /// Not tried; costs no attempt.
    #[expect(missing_docs, reason = "column of `due`")]
    Hold { until: Timestamp },
    /// It may have arrived: the same bytes again at `due_at`.
    #[expect(missing_docs, reason = "columns of `due` and `message`")]
    Ambiguous { due_at: Timestamp, bytes: Bytes },
    /// Failed or expired for good; `escalation`: who hears of it instead (nobody for an escalation itself); `record`: what the
    /// rules hear of it. The store fills in what it knows better: attempts and the last reply's code.
    #[expect(missing_docs, reason = "the enum's text says it")]
    Never { state: FinalState, reason: &'static str, escalation: Vec<Escalation>, record: Option<GivenUp> },
}

/// A final state other than sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum FinalState {
    Failed,
    Expired,
}

/// A new notification that stands for one that could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// `Unresolved` or `Failed`.
    pub kind: Kind,
    /// One entry of the fallback list.
    pub recipient: Recipient,
    /// Channel name.
    pub channel: Arc<str>,
    /// When it is too late.
    pub expires_at: Timestamp,
}

/// The life of a message, as `message.state` keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum State {
    Pending,
    Sent,
    Failed,
    Expired,
    Cancelled,
    Held,
    Discarded,
}

impl State {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Sent, Self::Failed, Self::Expired, Self::Cancelled, Self::Held, Self::Discarded];

    /// The column's value.
    pub(super) const fn code(self) -> i64 {
        self as i64
    }

    /// The column's meaning; `None` for a number this version does not know.
    pub(super) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The word on the command line, in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Held => "held",
            Self::Discarded => "discarded",
        }
    }
}

impl From<FinalState> for State {
    fn from(state: FinalState) -> Self {
        match state {
            FinalState::Failed => Self::Failed,
            FinalState::Expired => Self::Expired,
        }
    }
}

impl Claim {
    /// Of the urgent lane: severity high or above.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.lane == URGENT
    }
}

/// High and critical leave first.
pub(super) const URGENT: i64 = 0;
/// Everything else.
pub(super) const ORDINARY: i64 = 1;

/// The lane of `due` for a severity.
pub(super) fn lane(severity: Severity) -> i64 {
    if severity >= Severity::High { URGENT } else { ORDINARY }
}

/// The severity behind the column's number; a number this version does not know is the gravest, so that it leaves first.
pub(super) fn severity(code: i64) -> Severity {
    match code {
        0 => Severity::Informational,
        1 => Severity::Low,
        2 => Severity::Medium,
        3 => Severity::High,
        _ => Severity::Critical,
    }
}

/// The kind behind the column's number.
pub(super) fn kind(code: i64) -> Option<Kind> {
    [Kind::Normal, Kind::Unresolved, Kind::Failed, Kind::Test].into_iter().find(|kind| *kind as i64 == code)
}
