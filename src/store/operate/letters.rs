//! Owns the dead letters as an operator sees them: list, look, discard.

use rusqlite::Row;
use serde::Serialize;

use super::super::batch::{AcceptError, Accepted, Batch};
use super::super::writer::{Mark, Writer};
use super::super::{Store, StoreError, accept, sql, writer};
use super::leave_row;
use crate::clock::Timestamp;

/// What a dead letter reads as today.
#[derive(Clone, Debug)]
pub enum Reread {
    /// It can be read.
    Understood {
        /// What is to be told of it, and what of it is a dead letter still. No fence.
        batch: Batch,
        /// How many records it holds.
        records: u64,
    },
    /// It cannot, for this reason.
    Dead(&'static str),
}

/// A record that could not be read.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "columns of `dead_letter`")]
pub struct DeadLetterRow {
    pub number: i64,
    pub source: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Which record of the Kafka message; `None` = the whole message.
    pub item: Option<i64>,
    pub at: Timestamp,
    /// Kafka's time of the message.
    pub broker_time: Option<Timestamp>,
    pub error: String,
    /// Length of the body; `None` after the content retention.
    pub bytes: Option<i64>,
}

impl Store {
    /// Dead letters, newest first: up to `limit` with numbers below `before`.
    pub async fn dead_letters(&self, before: Option<i64>, limit: u32) -> Result<Vec<DeadLetterRow>, StoreError> {
        self.read(move |conn| {
            let list = format!("{DEAD_LETTERS} WHERE id<$1 ORDER BY id DESC LIMIT $2");
            sql::rows(conn, &list, &[&before.unwrap_or(i64::MAX), &limit], dead_letter)
        })
        .await
    }

    /// One dead letter with its bytes (`None` after the content retention).
    pub async fn dead_letter(&self, number: i64) -> Result<Option<(DeadLetterRow, Option<Vec<u8>>)>, StoreError> {
        self.read(move |conn| {
            let found = sql::rows(conn, &format!("{DEAD_LETTERS} WHERE id=$1"), &[&number], dead_letter)?;
            let Some(row) = found.into_iter().next() else { return Ok(None) };
            let body = "SELECT body FROM dead_letter WHERE id=$1";
            Ok(Some((row, sql::first::<Option<Vec<u8>>>(conn, body, &[&number])?.flatten())))
        })
        .await
    }

    /// Accounts for dead letters that were read again, in one transaction: what was understood is accepted and the letter
    /// deleted, what was not keeps its letter with the new reason. Per letter what was accepted; `None`: the letter is not
    /// there any more, and nothing was written.
    pub async fn replay(
        &self,
        letters: Vec<(i64, Reread)>,
        who: &str,
        now: Timestamp,
    ) -> Result<Vec<Option<Accepted>>, AcceptError> {
        let who = who.to_owned();
        self.write(Mark::Accept, move |w| replay(w, &letters, &who, now)).await
    }

    /// The numbers of all dead letters, oldest first.
    pub async fn dead_letter_numbers(&self) -> Result<Vec<i64>, StoreError> {
        self.read(|conn| sql::rows(conn, "SELECT id FROM dead_letter ORDER BY id", &[], |row| row.get(0))).await
    }

    /// Deletes dead letters (`None`: all); how many. A partition that was held for too many bad messages goes on.
    pub async fn discard(&self, numbers: Option<Vec<i64>>, who: &str, now: Timestamp) -> Result<usize, StoreError> {
        let who = who.to_owned();
        self.write(Mark::Other, move |w| Ok(discard(w, numbers.as_deref(), &who, now)?)).await
    }
}

const DEAD_LETTERS: &str =
    "SELECT id, source, topic, part, offset_, item, at, error, length(body), broker_at FROM dead_letter";

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetterRow> {
    Ok(DeadLetterRow {
        number: row.get(0)?,
        source: row.get(1)?,
        topic: row.get(2)?,
        partition: row.get(3)?,
        offset: row.get(4)?,
        item: Some(row.get(5)?).filter(|item| *item >= 0),
        at: row.get(6)?,
        error: row.get(7)?,
        bytes: row.get(8)?,
        broker_time: row.get(9)?,
    })
}

const CALM: &str = "UPDATE position SET bad=0 WHERE EXISTS (SELECT 1 FROM dead_letter d WHERE d.source=position.source \
    AND d.topic=position.topic AND d.part=position.part AND ($1 IS NULL OR d.id=$1))";

fn replay(
    w: &mut Writer,
    letters: &[(i64, Reread)],
    who: &str,
    now: Timestamp,
) -> Result<Vec<Option<Accepted>>, AcceptError> {
    if w.disk.is_low() {
        return Err(w.disk.low());
    }
    let before = w.dead_letters;
    let replayed: Result<Vec<_>, _> = letters.iter().map(|(number, reread)| one(w, *number, reread, now)).collect();
    let replayed = replayed.inspect_err(|_| w.dead_letters = before)?; // the rows are rolled back, so is their count
    let read: Vec<i64> = letters
        .iter()
        .zip(&replayed)
        .filter(|((_, reread), done)| done.is_some() && matches!(reread, Reread::Understood { .. }))
        .map(|((number, _), _)| *number)
        .collect();
    if !read.is_empty() {
        leave_row(w, who, &format!("dead-letters replay {read:?}"), now)?;
    }
    Ok(replayed)
}

fn one(w: &mut Writer, number: i64, reread: &Reread, now: Timestamp) -> Result<Option<Accepted>, AcceptError> {
    let length = "SELECT coalesce(length(body),0) FROM dead_letter WHERE id=$1";
    let Some(bytes) = sql::first::<i64>(&w.conn, length, &[&number])? else { return Ok(None) };
    match reread {
        Reread::Dead(error) => {
            sql::run(&w.conn, "UPDATE dead_letter SET error=$2 WHERE id=$1", &[&number, error])?;
            Ok(Some(Accepted::default()))
        }
        Reread::Understood { batch, .. } => {
            sql::run(&w.conn, CALM, &[&number])?;
            // First: what of it is a dead letter still has the same place.
            sql::run(&w.conn, "DELETE FROM dead_letter WHERE id=$1", &[&number])?;
            w.dead_letters.rows -= 1;
            w.dead_letters.bytes -= bytes;
            accept::insert(w, batch, now).map(Some)
        }
    }
}

fn discard(w: &mut Writer, numbers: Option<&[i64]>, who: &str, now: Timestamp) -> rusqlite::Result<usize> {
    let gone = "DELETE FROM dead_letter WHERE $1 IS NULL OR id=$1";
    let which: Vec<Option<i64>> = numbers.map_or_else(|| vec![None], |some| some.iter().copied().map(Some).collect());
    let mut discarded = 0;
    for number in which {
        sql::run(&w.conn, CALM, &[&number])?;
        discarded += sql::run(&w.conn, gone, &[&number])?;
    }
    w.dead_letters = writer::usage(&w.conn)?;
    if discarded > 0 {
        let which = numbers.map_or_else(|| "--all".to_owned(), |some| format!("{some:?}"));
        leave_row(w, who, &format!("dead-letters discard {which}: {discarded}"), now)?;
    }
    Ok(discarded)
}
