//! Owns the decision who is told: a record and the rules it matched, to intents. Pure: no I/O, no clock.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::record::Severity;

/// Identity of a notification: the record's day as big-endian u32 (0 where it has none), then 12 bytes of hash.
/// Its lower-case hex is the message key and the left side of the Message-ID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub [u8; 16]);

impl std::fmt::Display for NotificationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Whom a notification is for, canonical: one person has one recipient. Not yet an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Recipient {
    /// `user:` + object id where known, else the UPN, folded to lower case.
    User(Arc<str>),
    /// `addr:` + an address from the config (a list entry or a literal).
    Address(Arc<str>),
}

/// `user:…` or `addr:…`, the form the store and the hash use.
impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Address(address) => write!(f, "addr:{address}"),
        }
    }
}

impl std::str::FromStr for Recipient {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(id.into())),
            Some(("addr", address)) => Ok(Self::Address(address.into())),
            _ => Err(anyhow::anyhow!("not a recipient")),
        }
    }
}

/// One notification that plan wants: a (rule, record, recipient, channel) and what shall become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Unique in the store: the second time it is a `duplicate`.
    pub id: NotificationId,
    /// Rule id.
    pub rule: Arc<str>,
    /// Channel name.
    pub channel: Arc<str>,
    /// `None` only with `Fate::Ends` where nobody could be named.
    pub recipient: Option<Recipient>,
    /// With `each`: which element. Always `None` until that is due.
    pub element: Option<Arc<str>>,
    /// Template name.
    pub template: Arc<str>,
    /// The rule's description, kept on the message row for the fallback template.
    pub title: Arc<str>,
    /// The rule's, else the record's, else medium.
    pub severity: Severity,
    /// Send it, or end it at once with a verdict.
    pub fate: Fate,
}

/// What becomes of a new notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Becomes (or joins) a message.
    Send {
        /// When the message may leave.
        due_at: Timestamp,
        /// When it is too late to leave.
        expires_at: Timestamp,
        /// The group it joins while that is open: hash of (policy key, recipient, channel, rule's template).
        group: Option<Arc<str>>,
    },
    /// Has a verdict and no message.
    Ends {
        /// The verdict.
        verdict: Verdict,
        /// Why, in the closed vocabulary of `docs/verdicts.md`: `too-old`, `before-rule`, `no-user`, `shadow`, …
        reason: &'static str,
    },
}

/// The verdict of a notification, as the ledger keeps it (the attempt's verdict is `channels::Verdict`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i64)]
#[expect(missing_docs, reason = "design invariant 8 names them")]
pub enum Verdict {
    /// See the message: pending, or as its state says.
    Message = 0,
    Sent = 1,
    Failed = 2,
    Expired = 3,
    Cancelled = 4,
    Discarded = 5,
    Silenced = 6,
    Muted = 7,
    Skipped = 8,
    Shadow = 9,
    Duplicate = 10,
}
