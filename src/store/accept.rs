//! Owns the transaction that accounts for what intake read: fence → dead letters → the rows of [`ledger`].

use std::sync::Arc;

use rusqlite::{ErrorCode, ToSql};

use super::batch::{AcceptError, Accepted, Batch, DeadLetter, Fence, Planned};
use super::writer::{Mark, Writer};
use super::{Store, StoreError, internal, ledger, origin, sql};
use crate::clock::Timestamp;
use crate::crash;

/// Most rows of the dead-letter table; full means hold.
const DEAD_LETTER_ROWS: i64 = 100_000;
/// Most bytes in it.
const DEAD_LETTER_BYTES: i64 = 1 << 30;
/// `error` of a record that the store itself refused.
const REFUSED: &str = "store-refused";

impl Store {
    /// fence → identity → groups → brake → rows, one transaction (grouped with whatever else waits). Call it with the same batch until it answers; repeating is harmless.
    pub async fn accept(&self, batch: Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
        let batch = Arc::new(batch);
        let batch = if crash::planted("position-first") { self.position_first(batch, now).await? } else { batch };
        let first = batch.clone();
        let accepted = match self.write(Mark::Accept, move |w| accept(w, &first, now, false)).await {
            // The reply to COMMIT may be all that was lost: the same batch finds its position moved if so.
            Err(AcceptError::Store(StoreError::Other(error))) => {
                tracing::warn!(%error, "accepting once more");
                self.write(Mark::Accept, move |w| accept(w, &batch, now, true)).await
            }
            answer => answer,
        }?;
        if !accepted.trips.is_empty() {
            self.shared.told.notify_one();
        }
        Ok(accepted)
    }

    /// A bug on purpose ([`crash::BUGS`]), in the crash suite's build only.
    async fn position_first(&self, batch: Arc<Batch>, now: Timestamp) -> Result<Arc<Batch>, AcceptError> {
        let fences = batch.fences.clone();
        self.write(Mark::Other, move |w| move_positions(w, &fences, now, false)).await?;
        Ok(Arc::new(Batch { fences: Vec::new(), ..Arc::unwrap_or_clone(batch) }))
    }
}

/// Accounts for `batch`. With `again` the reply to an earlier COMMIT of this very batch was lost: a position that stands
/// where the batch would have moved it says that it was committed.
fn accept(w: &mut Writer, batch: &Batch, now: Timestamp, again: bool) -> Result<Accepted, AcceptError> {
    if w.disk.is_low() {
        return Err(w.disk.low());
    }
    if !move_positions(w, &batch.fences, now, again)? || !internal::take(&w.conn, batch, again)? {
        return Ok(Accepted::default());
    }
    let before = w.dead_letters;
    let result = insert(w, batch, now);
    if result.is_err() {
        w.dead_letters = before; // the rows are rolled back, so is their count
    }
    result
}

/// The rows of `batch`. Whoever rolls back takes `w.dead_letters` back, too.
pub(super) fn insert(w: &mut Writer, batch: &Batch, now: Timestamp) -> Result<Accepted, AcceptError> {
    let mut accepted = Accepted::default();
    for letter in &batch.dead_letters {
        accepted.dead_letters += u64::from(bury(w, letter, now)?);
    }
    let envelopes: Vec<&[Planned]> = batch.records.chunk_by(same_envelope).collect();
    write(w, batch.config, &envelopes, now, &mut accepted)?;
    Ok(accepted)
}

/// Compare and swap, sorted, so that two stores on one database cannot lock each other out. `false`: all of it was
/// committed before.
fn move_positions(w: &mut Writer, fences: &[Fence], now: Timestamp, again: bool) -> Result<bool, AcceptError> {
    let mut sorted: Vec<&Fence> = fences.iter().collect();
    sorted.sort_by(|a, b| (&a.source, &a.topic, a.partition).cmp(&(&b.source, &b.topic, b.partition)));
    let mut committed = 0;
    for fence in &sorted {
        let place: [&dyn ToSql; 3] = [&fence.source, &fence.topic, &fence.partition];
        let params: [&dyn ToSql; 7] = [&fence.to, &now, &fence.bad, place[0], place[1], place[2], &fence.from];
        if sql::run(&w.conn, sql::FENCE, &params)? == 1 {
            continue;
        }
        if again && sql::first::<i64>(&w.conn, sql::POSITION_NEXT, &place)? == Some(fence.to) {
            committed += 1;
            continue;
        }
        return Err(fenced(fence));
    }
    match sorted.first() {
        Some(fence) if committed > 0 && committed < sorted.len() => Err(fenced(fence)),
        _ => Ok(committed == 0),
    }
}

fn fenced(fence: &Fence) -> AcceptError {
    AcceptError::Fenced { topic: fence.topic.clone(), partition: fence.partition, from: fence.from }
}

fn same_envelope(a: &Planned, b: &Planned) -> bool {
    let (a, b) = (&a.position, &b.position);
    (&a.source, &a.topic, a.partition, a.offset) == (&b.source, &b.topic, b.partition, b.offset)
}

/// Writes whole Kafka messages. One bad row must not fail a batch for ever: on a data error the batch is halved until
/// the one Kafka message is found, whose records then go to the dead letters.
fn write(
    w: &mut Writer,
    config: i64,
    envelopes: &[&[Planned]],
    now: Timestamp,
    accepted: &mut Accepted,
) -> Result<(), AcceptError> {
    if envelopes.is_empty() {
        return Ok(());
    }
    sql::run(&w.conn, "SAVEPOINT envelopes", &[])?;
    let mut part = Accepted::default();
    let written = ledger::write(w, config, envelopes, now, &mut part);
    match written {
        Ok(()) => {
            sql::run(&w.conn, "RELEASE envelopes", &[])?;
            accepted.add(part);
            Ok(())
        }
        Err(error) if is_data_error(&error) => {
            sql::run(&w.conn, "ROLLBACK TO envelopes", &[])?;
            sql::run(&w.conn, "RELEASE envelopes", &[])?;
            if let [envelope] = envelopes {
                return refuse(w, envelope, now, accepted);
            }
            let (left, right) = envelopes.split_at(envelopes.len() / 2);
            write(w, config, left, now, accepted)?;
            write(w, config, right, now, accepted)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_data_error(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
    )
}

/// The records of one Kafka message that the tables do not take.
fn refuse(w: &mut Writer, envelope: &[Planned], now: Timestamp, accepted: &mut Accepted) -> Result<(), AcceptError> {
    for record in envelope {
        let place = &record.position;
        tracing::error!(origin = origin::text(place), "the store refuses a record: it goes to the dead letters");
        let letter = DeadLetter {
            source: place.source.clone(),
            topic: place.topic.clone().unwrap_or_default(),
            partition: place.partition.unwrap_or(-1),
            offset: place.offset.unwrap_or(-1),
            item: i64::from(place.index),
            broker_time: record.broker_time,
            error: REFUSED,
            body: record.body.clone(),
        };
        accepted.dead_letters += u64::from(bury(w, &letter, now)?);
    }
    Ok(())
}

/// Writes one dead letter; `false` if it was there before.
fn bury(w: &mut Writer, letter: &DeadLetter, now: Timestamp) -> Result<bool, AcceptError> {
    let bytes = i64::try_from(letter.body.len()).unwrap_or(i64::MAX);
    let used = &w.dead_letters;
    if used.rows >= DEAD_LETTER_ROWS || used.bytes.saturating_add(bytes) > DEAD_LETTER_BYTES {
        return Err(AcceptError::DeadLettersFull);
    }
    let params: [&dyn ToSql; 9] = [
        &letter.source,
        &letter.topic,
        &letter.partition,
        &letter.offset,
        &letter.item,
        &now,
        &letter.broker_time,
        &letter.error,
        &&letter.body[..],
    ];
    let new = sql::run(&w.conn, sql::DEAD_LETTER, &params)? == 1;
    if new {
        w.dead_letters.rows += 1;
        w.dead_letters.bytes += bytes;
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::store::sqlite;

    /// A writer on a file of its own, with one position at 0.
    fn writer(directory: &tempfile::TempDir) -> Writer {
        let path = directory.path().join("a.db");
        let conn = sqlite::create_or_open(&path, false).unwrap();
        conn.execute("INSERT INTO position(source,topic,part,cluster,next,at) VALUES('s','t',0,'c',0,0)", []).unwrap();
        let (readers, _) = mpsc::channel(1);
        Writer::new(conn, &path, readers.downgrade()).unwrap()
    }

    fn batch(from: i64, to: i64) -> Batch {
        let fence = Fence { source: "s".into(), topic: "t".into(), partition: 0, from, to, bad: 0 };
        Batch { fences: vec![fence], ..Batch::default() }
    }

    #[test]
    fn a_disk_that_is_nearly_full_holds_the_partition_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut w = writer(&directory);
        (w.disk.free, w.disk.total) = (511 << 20, 1 << 40);
        let error = accept(&mut w, &batch(0, 1), Timestamp::default(), false).unwrap_err();
        assert!(matches!(error, AcceptError::DiskLow { free, .. } if free == 511 << 20), "{error:?}");
        w.disk.free = 512 << 20;
        accept(&mut w, &batch(0, 1), Timestamp::default(), false).unwrap();
    }

    #[test]
    fn letters_that_are_rolled_back_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let mut w = writer(&directory);
        w.dead_letters.rows = DEAD_LETTER_ROWS - 1;
        let letter = |offset| DeadLetter {
            source: "s".into(),
            topic: "t".into(),
            partition: 0,
            offset,
            item: -1,
            broker_time: None,
            error: "not-json",
            body: bytes::Bytes::from_static(b"x"),
        };
        let two = Batch { dead_letters: vec![letter(0), letter(1)], ..batch(0, 2) };
        let error = accept(&mut w, &two, Timestamp::default(), false).unwrap_err();
        assert!(matches!(error, AcceptError::DeadLettersFull), "{error:?}");
        assert_eq!((w.dead_letters.rows, w.dead_letters.bytes), (DEAD_LETTER_ROWS - 1, 0));
    }

    #[test]
    fn when_only_the_reply_to_commit_was_lost_the_same_batch_is_found_committed() {
        let directory = tempfile::tempdir().unwrap();
        let mut w = writer(&directory);
        let now = Timestamp::default();
        accept(&mut w, &batch(0, 5), now, false).unwrap();
        assert!(matches!(accept(&mut w, &batch(0, 5), now, false), Err(AcceptError::Fenced { .. })));
        assert_eq!(accept(&mut w, &batch(0, 5), now, true).unwrap(), Accepted::default());
        // Moved elsewhere by somebody else: that was not us.
        assert!(matches!(accept(&mut w, &batch(0, 4), now, true), Err(AcceptError::Fenced { .. })));
    }
}
