//! Owns the dead letters as an operator sees them: list, look, discard.

use rusqlite::{Result, Row};
use serde::Serialize;

use super::super::writer::{Mark, Writer};
use super::super::{Store, StoreError, sql, writer};
use super::leave_row;
use crate::clock::Timestamp;

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

    /// Deletes dead letters (`None`: all); how many. A partition that was held for too many bad messages goes on.
    pub async fn discard(&self, numbers: Option<Vec<i64>>, who: &str, now: Timestamp) -> Result<usize, StoreError> {
        let who = who.to_owned();
        self.write(Mark::Other, move |w| Ok(discard(w, numbers.as_deref(), &who, now)?)).await
    }
}

const DEAD_LETTERS: &str = "SELECT id, source, topic, part, offset_, item, at, error, length(body) FROM dead_letter";

fn dead_letter(row: &Row<'_>) -> Result<DeadLetterRow> {
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
    })
}

fn discard(w: &mut Writer, numbers: Option<&[i64]>, who: &str, now: Timestamp) -> Result<usize> {
    let calm = "UPDATE position SET bad=0 WHERE EXISTS (SELECT 1 FROM dead_letter d WHERE d.source=position.source \
        AND d.topic=position.topic AND d.part=position.part AND ($1 IS NULL OR d.id=$1))";
    let gone = "DELETE FROM dead_letter WHERE $1 IS NULL OR id=$1";
    let which: Vec<Option<i64>> = numbers.map_or_else(|| vec![None], |some| some.iter().copied().map(Some).collect());
    let mut discarded = 0;
    for number in which {
        sql::run(&w.conn, calm, &[&number])?;
        discarded += sql::run(&w.conn, gone, &[&number])?;
    }
    w.dead_letters = writer::usage(&w.conn)?;
    if discarded > 0 {
        let which = numbers.map_or_else(|| "--all".to_owned(), |some| format!("{some:?}"));
        leave_row(w, who, &format!("dead-letters discard {which}: {discarded}"), now)?;
    }
    Ok(discarded)
}
