//! Owns what makes a record that record: its id where the producer gave none, and the hash behind "told once".

use std::borrow::Cow;
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};

use super::fold::fold_number;
use super::{Dialect, ProblemCode, Record, azure_activity};
use crate::clock::Timestamp;

/// What "told once" hashes: equal for two deliveries of one record, different for any two records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity(pub [u8; 32]);

/// A day, in milliseconds.
const DAY: i64 = 86_400_000;

/// JSON without white space, its numbers as they are compared: a script on the way reads `5.0` and writes `5`.
struct Canonical;

impl Formatter for Canonical {
    fn write_f64<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        writer.write_all(fold_number(value).as_bytes())
    }
}

/// `sha256:` and 32 hex digits of the canonical JSON of a record, or of a part of it, its keys sorted (a tree keeps them so):
/// the same however a forwarder rewrites it.
pub(crate) fn of_content(raw: &Value) -> String {
    let mut canonical = Vec::new();
    // A tree has text for keys, and writing into memory does not fail.
    let _ = raw.serialize(&mut Serializer::with_formatter(&mut canonical, Canonical));
    let digest = Sha256::digest(&canonical);
    digest[..16].iter().fold(String::from("sha256:"), |mut id, byte| {
        // Writing into a string cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Whether `id` is a GUID or longer, and of nothing but hexadecimal digits and what joins them.
fn is_of_digits(id: &str) -> bool {
    id.len() >= "00000000-0000-0000-0000-000000000000".len()
        && id.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_'))
}

impl Record {
    /// When it happened, if the record says so itself. The broker's time differs between two deliveries of one record
    /// and is therefore no part of any identity.
    #[must_use]
    pub fn own_time(&self) -> Option<Timestamp> {
        self.time.filter(|_| !self.problems.iter().any(|problem| problem.code == ProblemCode::TimeFromBroker))
    }

    /// The day that a notification's id begins with, in days since 1970: 0 where the record has no time of its own, or
    /// claims one more than a day ahead of the broker's, which would keep its row from ever being purged.
    #[must_use]
    pub fn day(&self, broker_time: Option<Timestamp>) -> u32 {
        let limit = broker_time.map_or(i64::MAX, |at| at.as_millis().saturating_add(DAY));
        let own = self.own_time().filter(|at| at.as_millis() <= limit);
        own.and_then(|at| u32::try_from(at.day()).ok()).unwrap_or(0)
    }

    /// What `once_per = ["id"]`, the default, tells once. As [`Self::identity`], but of a thing without its revision: that it
    /// stands otherwise now is news only to a rule that says so.
    #[must_use]
    pub fn identity_apart(&self) -> Identity {
        self.hashed(if self.dialect.is_of_things() { "" } else { &self.revision })
    }

    /// Design invariant 4: no offset and no time of processing. Of an event dialect, tenant, id, activity and the record's
    /// own time, since distinct records share an id; where there is no time, the content stands in for it. Of a thing, which
    /// is written again and again, dialect, tenant, id and revision alone: what else changed is no news.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.hashed(&self.revision)
    }

    fn hashed(&self, revision: &str) -> Identity {
        let event = !self.dialect.is_of_things();
        // Of what nobody here knows, the id may be that of a thing of which many records tell in one millisecond.
        let time = || self.own_time().filter(|_| self.dialect != Dialect::Other);
        let moment = || time().map_or_else(|| of_content(&self.raw), |at| at.as_millis().to_string());
        let moment = event.then(moment);
        let activity = self.activity.as_deref().or(self.operation.as_deref()).filter(|_| event);
        // Resource Manager's ids are paths whose case means nothing: services write `resourceGroups` and `resourcegroups`.
        // Neither does that of a GUID, alone or behind a number.
        let id = if azure_activity::is_managed(&self.id) || is_of_digits(&self.id) {
            self.id.to_ascii_lowercase().into()
        } else {
            Cow::from(&self.id)
        };
        let mut hasher = blake3::Hasher::new();
        for part in [
            Some(self.dialect.as_str()),
            self.tenant.as_deref(),
            Some(&*id),
            Some(revision),
            activity,
            moment.as_deref(),
        ] {
            // The length before each part keeps ("ab", "c") and ("a", "bc") apart, and nothing from the empty text.
            let part = part.map(str::as_bytes);
            hasher.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hasher.update(part.unwrap_or_default());
        }
        Identity(*hasher.finalize().as_bytes())
    }
}
