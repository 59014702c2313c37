//! Owns `NotificationId`: what makes two notifications the same one. It may never change: a new form would tell every
//! record of the ledger's retention again.

use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::record::Record;
use crate::rules::{Known, OncePer};

use super::Recipient;

/// Identity of a notification: the day of an event as big-endian u32 (0 where it has none, and of what is told once by
/// something else than an event's id), then 12 bytes of hash.
/// Its lower-case hex is the message key and the left side of the Message-ID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub [u8; 16]);

impl NotificationId {
    /// The id of telling `recipient` of `what` by `rule` on `channel`. Nothing in it depends on the rule's wording, the
    /// offset, or the time of processing: the same record read again has the same id.
    #[must_use]
    pub fn new(
        what: &Once<'_>,
        element: Option<&str>,
        rule: &str,
        recipient: Option<&Recipient>,
        channel: &str,
    ) -> Self {
        let recipient = recipient.map(ToString::to_string);
        let hash = digest([
            what.record.dialect.as_str().as_bytes(),
            what.record.tenant.as_deref().unwrap_or_default().as_bytes(),
            &what.identity,
            element.unwrap_or_default().as_bytes(),
            rule.as_bytes(),
            recipient.as_deref().unwrap_or_default().as_bytes(),
            channel.as_bytes(),
        ]);
        Self::with_day(what.day, &hash)
    }

    /// The id of the notification that tells `recipient` on `channel` in place of this one; `kind` is the number of the
    /// message's wording, `round` is 0 unless the message was given up before. Same day, so that both leave the ledger together.
    #[must_use]
    pub fn escalation(self, kind: i64, recipient: &Recipient, channel: &str, round: i64) -> Self {
        let (kind, round, recipient) = (kind.to_be_bytes(), round.to_be_bytes(), recipient.to_string());
        let parts = [&self.0[..], &kind, recipient.as_bytes(), channel.as_bytes()];
        let again = (round != [0; 8]).then_some(&round[..]);
        let hash = digest(parts.into_iter().chain(again));
        let [a, b, c, d, ..] = self.0;
        Self::with_day(u32::from_be_bytes([a, b, c, d]), &hash)
    }

    fn with_day(day: u32, hash: &blake3::Hash) -> Self {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&day.to_be_bytes());
        id[4..].copy_from_slice(&hash.as_bytes()[..12]);
        Self(id)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a rule tells once of a record.
pub struct Once<'a> {
    record: &'a Record,
    identity: [u8; 32],
    day: u32,
}

impl<'a> Once<'a> {
    /// By `once_per`. A record that has none of the values named there is told by its id. The day is that of an event, whose
    /// time is a part of what it is; of everything else it is 0, or what came again on another day would be told again.
    #[must_use]
    pub fn new(record: &'a Record, broker_time: Option<Timestamp>, per: &OncePer, known: Known<'_>) -> Self {
        let revision = Some(&record.revision).filter(|revision| per.revision && !revision.is_empty());
        let values = per.values(record, known);
        let by_id = per.id || (values.is_empty() && revision.is_none());
        let id = if per.revision { record.identity() } else { record.identity_apart() };
        let identity = if by_id && values.is_empty() {
            id.0
        } else {
            let id = if by_id { &id.0[..] } else { &[] };
            let revision = revision.map_or("", String::as_str);
            let parts = [b"once_per", id, revision.as_bytes()].into_iter();
            let values = values.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
            *digest(parts.chain(values)).as_bytes()
        };
        let event = by_id && !record.dialect.is_of_things();
        Self { record, identity, day: if event { record.day(broker_time) } else { 0 } }
    }
}

/// The key under which notifications gather while their group is open: hash of policy, the record's values of `by`,
/// recipient and channel. Neither rule nor template is in it, so that the records of one act that match several rules
/// leave as one message.
pub(super) fn group_key(policy: &str, by: &[Vec<String>], recipient: &Recipient, channel: &str) -> Arc<str> {
    let values = by.iter().map(|values| digest(values.iter().map(String::as_bytes)).to_hex().to_string());
    let recipient = recipient.to_string();
    let parts = [policy.to_owned(), recipient, channel.to_owned()].into_iter().chain(values).collect::<Vec<_>>();
    let hash = digest(parts.iter().map(String::as_bytes)).to_hex();
    // 128 bits: as wide as a notification id.
    hash[..32].into()
}

/// Hash of `parts`, each preceded by its length (8 bytes, big endian): `("ab", "c")` and `("a", "bc")` differ.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
    }
    hasher.finalize()
}
