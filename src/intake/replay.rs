//! Owns reading a dead letter again: by today's code and today's rules, as if its message had just come.

use std::time::Duration;

use bytes::Bytes;

use super::read::{Basis, Reader};
use crate::clock::Timestamp;
use crate::source::Envelope;
use crate::store::Batch;
use crate::store::operate::{DeadLetterRow, Reread};

/// What `letter`, whose bytes are `body`, reads as now. Records whose Kafka time is older than `remembered` are read and
/// not told: the ledger may have forgotten that they were. Their number is the second answer.
pub fn replay(
    letter: &DeadLetterRow,
    body: Bytes,
    basis: &Basis,
    remembered: Duration,
    now: Timestamp,
) -> (Reread, u64) {
    let reader = Reader { source: letter.source.as_str().into(), remembered };
    let envelope = Envelope {
        topic: letter.topic.as_str().into(),
        partition: letter.partition,
        offset: letter.offset,
        timestamp: letter.broker_time,
        payload: Some(body),
    };
    let first = letter.item.and_then(|item| u32::try_from(item).ok());
    let message = reader.read_from(basis, &envelope, first, now);
    if let (true, Some(letter)) = (message.is_bad(), message.dead_letters.first()) {
        return (Reread::Dead(letter.error), 0);
    }
    let records = message.tally.records.values().sum();
    let batch = Batch {
        records: message.planned,
        dead_letters: message.dead_letters,
        config: basis.revision,
        ..Batch::default()
    };
    (Reread::Understood { batch, records }, message.tally.too_old)
}
