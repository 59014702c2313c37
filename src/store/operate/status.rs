//! Owns what the store knows of how things stand, at one moment.

use std::sync::Arc;

use rusqlite::{Connection, Result};
use serde::Serialize;

use super::super::disk::Disk;
use super::super::position::{self, PositionRow};
use super::super::{Store, StoreError, sql, sqlite, upkeep};
use crate::clock::Timestamp;

/// How things stand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "names of the tables")]
pub struct Standing {
    pub positions: Vec<PositionRow>,
    /// By channel and state.
    pub queues: Vec<Queue>,
    pub dead_letters: i64,
    /// At most one on SQLite; it may be that of a daemon that is gone.
    pub workers: Vec<Worker>,
    /// The revision of the configuration asked for, if any daemon has ever run it.
    pub revision: Option<Revision>,
    /// Bytes of the store's files, and free bytes on their disk.
    pub bytes: u64,
    pub free_bytes: u64,
}

/// The unfinished messages of one channel in one state: `free` `claimed` `suspect` `held`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "columns of `due` and `message`")]
pub struct Queue {
    pub channel: Arc<str>,
    pub state: &'static str,
    pub messages: i64,
    pub oldest: Option<Timestamp>,
}

/// Who holds claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "columns of `worker`")]
pub struct Worker {
    pub name: String,
    pub seen_at: Timestamp,
}

/// A configuration that a daemon has run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "columns of `config`")]
pub struct Revision {
    pub revision: i64,
    /// When it was first taken over.
    pub at: Timestamp,
}

impl Store {
    /// How things stand; `config` is the hash of the configuration to look for.
    pub async fn standing(&self, config: [u8; 32]) -> Result<Standing, StoreError> {
        let path = &self.shared.settings.path;
        let (bytes, free_bytes) = (sqlite::bytes(path), Disk::new(path).free);
        let standing = self.read(move |conn| standing(conn, config)).await?;
        Ok(Standing { bytes, free_bytes, ..standing })
    }

    /// The revision of the configuration with this hash, if any daemon has ever run it.
    pub async fn revision(&self, config: [u8; 32]) -> Result<Option<Revision>, StoreError> {
        self.read(move |conn| revision(conn, config)).await
    }
}

fn revision(conn: &Connection, config: [u8; 32]) -> Result<Option<Revision>> {
    let newest = "SELECT revision, at FROM config WHERE hash=$1 ORDER BY revision DESC LIMIT 1";
    let rows = sql::rows(conn, newest, &[&config], |row| Ok(Revision { revision: row.get(0)?, at: row.get(1)? }))?;
    Ok(rows.into_iter().next())
}

fn standing(conn: &Connection, config: [u8; 32]) -> Result<Standing> {
    // One transaction: every number is of the same moment.
    let moment = conn.unchecked_transaction()?;
    Ok(Standing {
        positions: position::all(&moment)?,
        queues: queues(&moment)?,
        dead_letters: sql::first(&moment, "SELECT count(*) FROM dead_letter", &[])?.unwrap_or_default(),
        workers: sql::rows(&moment, "SELECT name, seen_at FROM worker ORDER BY seen_at DESC", &[], |row| {
            Ok(Worker { name: row.get(0)?, seen_at: row.get(1)? })
        })?,
        revision: revision(&moment, config)?,
        bytes: 0,
        free_bytes: 0,
    })
}

/// Numbers rise with time, so the lowest is the oldest.
fn queues(conn: &Connection) -> Result<Vec<Queue>> {
    let text = "SELECT q.channel, q.state, q.messages, m.created_at FROM (\
          SELECT channel, CASE WHEN owner<>0 THEN 1 WHEN suspect>0 THEN 2 ELSE 0 END state, count(*) messages, \
            min(message) oldest FROM due GROUP BY 1, 2 \
          UNION ALL SELECT channel, 3, count(*), min(id) FROM message WHERE state=5 GROUP BY channel) q \
        LEFT JOIN message m ON m.id=q.oldest ORDER BY q.channel, q.state";
    sql::rows(conn, text, &[], |row| {
        let state = usize::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        let state = upkeep::STATES.get(state).copied().unwrap_or("unknown");
        Ok(Queue { channel: row.get(0)?, state, messages: row.get(2)?, oldest: row.get(3)? })
    })
}
