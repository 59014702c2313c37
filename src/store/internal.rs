//! Owns the rows of our own records: written in the transaction of what they tell of, and taken out by the transaction that
//! accounts for them. An id is never given twice, so the deletion of a row is a fence: it succeeds for one reader.

use bytes::Bytes;
use rusqlite::Connection;

use super::batch::{AcceptError, Batch};
use super::writer::{Mark, Writer};
use super::{Store, StoreError, sql};
use crate::clock::Timestamp;
use crate::record::own::{self, Own};

impl Store {
    /// Keeps a record of ours until the rules have seen it.
    pub async fn tell(&self, own: Own, at: Timestamp) -> Result<(), StoreError> {
        let body = own.json(at);
        let tell = move |w: &mut Writer| {
            let said = match &own {
                Own::Stopped { channel, .. } => {
                    Some((channel, "INSERT INTO meta(key) VALUES($1) ON CONFLICT(key) DO NOTHING"))
                }
                Own::Works { channel } => Some((channel, "DELETE FROM meta WHERE key=$1")),
                Own::GivenUp(_) | Own::Held { .. } => None,
            };
            if let Some((channel, statement)) = said {
                sql::run(&w.conn, statement, &[&stopped(channel)])?;
            }
            Ok::<_, StoreError>(write(&w.conn, &body)?)
        };
        self.write(Mark::Other, tell).await?;
        self.shared.told.notify_one();
        Ok(())
    }

    /// Whether the last that was told of this channel is that it stopped.
    pub async fn is_stopped(&self, channel: &str) -> Result<bool, StoreError> {
        let key = stopped(channel);
        let said = "SELECT EXISTS (SELECT 1 FROM meta WHERE key=$1)";
        self.read(move |conn| Ok(sql::first::<bool>(conn, said, &[&key])? == Some(true))).await
    }

    /// The oldest records of ours that no rule has seen, at most `limit`, with their ids for [`Batch::internal`].
    pub async fn told(&self, limit: usize) -> Result<Vec<(i64, Bytes)>, StoreError> {
        self.read(move |conn| oldest(conn, limit)).await
    }

    /// Waits until this process has written one. What another one writes is found by looking.
    pub async fn told_more(&self) {
        self.shared.told.notified().await;
    }
}

/// The row of `meta` that stands while a channel is told to have stopped.
fn stopped(channel: &str) -> String {
    format!("stopped:{channel}")
}

/// Keeps `body`, a record of dialect `auditbell.delivery`, until a rule has seen it.
pub(super) fn write(conn: &Connection, body: &[u8]) -> rusqlite::Result<()> {
    sql::run(conn, "INSERT INTO internal(body) VALUES($1)", &[&body]).map(drop)
}

/// The oldest rows, at most `limit`.
pub(super) fn oldest(conn: &Connection, limit: usize) -> rusqlite::Result<Vec<(i64, Bytes)>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let oldest = "SELECT id, body FROM internal ORDER BY id LIMIT $1";
    sql::rows(conn, oldest, &[&limit], |row| Ok((row.get(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?))))
}

/// Deletes the rows that `batch` accounts for. `false`: all of it was committed before.
pub(super) fn take(conn: &Connection, batch: &Batch, again: bool) -> Result<bool, AcceptError> {
    let ids = &batch.internal;
    let Some(first) = ids.first() else { return Ok(true) };
    let taken =
        sql::run(conn, "DELETE FROM internal WHERE id IN (SELECT value FROM json_each($1))", &[&format!("{ids:?}")])?;
    if taken == ids.len() {
        return Ok(true);
    }
    if again && taken == 0 {
        return Ok(false);
    }
    Err(AcceptError::Fenced { topic: own::TOPIC.into(), partition: 0, from: *first })
}
