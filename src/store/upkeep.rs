//! Owns what the maintenance loop asks for: gauges, the expired, the clock that went back. And what a reload does.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Result, ToSql};

use super::message::State;
use super::writer::{Mark, Writer};
use super::{Store, StoreError, sql};
use crate::clock::Timestamp;

/// Due rows looked at per round when searching the expired: 10 ms of a reader, a million rows in 17 minutes.
const EXPIRED_SLICE: i64 = 5_000;
/// Where retried rows go when the clock stepped back.
const SOON: Duration = Duration::from_mins(1);

/// What maintenance learned in one round, for the gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of the gauges")]
pub struct Upkeep {
    /// Messages not yet finished per (channel, `free` | `claimed` | `suspect` | `held`).
    pub messages: Vec<(Arc<str>, &'static str, u64)>,
    /// Oldest `created_at` of the pending ones, per channel.
    pub oldest_pending: Vec<(Arc<str>, Timestamp)>,
    pub bytes: u64,
    pub free_bytes: u64,
}

/// How an unfinished message stands.
pub(super) const STATES: [&str; 4] = ["free", "claimed", "suspect", HELD];
const HELD: &str = "held";

/// The place in `due` after which the next search goes on.
pub(super) type Cursor = Option<DueKey>;

/// The key of a due row: channel, lane, due time, message.
pub(super) type DueKey = (Arc<str>, i64, Timestamp, i64);

/// Counts what is due.
pub(super) fn gauges(conn: &Connection) -> Result<Upkeep> {
    let mut upkeep = Upkeep::default();
    let counts = "SELECT c.channel, c.free, c.claimed, c.suspect, m.created_at FROM (SELECT channel, \
          sum(CASE WHEN owner=0 AND suspect=0 THEN 1 ELSE 0 END) free, sum(CASE WHEN owner<>0 THEN 1 ELSE 0 END) claimed, \
          sum(CASE WHEN owner=0 AND suspect>0 THEN 1 ELSE 0 END) suspect, min(message) oldest FROM due GROUP BY channel) c \
        LEFT JOIN message m ON m.id=c.oldest ORDER BY c.channel";
    sql::rows(conn, counts, &[], |row| {
        let channel: Arc<str> = row.get(0)?;
        for (column, state) in (1..).zip(STATES).filter(|(_, state)| *state != HELD) {
            upkeep.messages.push((channel.clone(), state, u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)));
        }
        if let Some(oldest) = row.get(4)? {
            upkeep.oldest_pending.push((channel, oldest));
        }
        Ok(())
    })?;
    let held = "SELECT channel, count(*) FROM message WHERE state=5 GROUP BY channel";
    sql::rows(conn, held, &[], |row| {
        upkeep.messages.push((row.get(0)?, HELD, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)));
        Ok(())
    })?;
    Ok(upkeep)
}

/// Free rows of other channels than those that are `claimed` from, past their end, in a slice after `cursor`, and the place to go on from.
pub(super) fn expired(
    conn: &Connection,
    cursor: &Cursor,
    claimed: &[Arc<str>],
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<DueKey>, Cursor)> {
    let (channel, lane, due_at, message) = cursor.clone().unwrap_or_default();
    let params: [&dyn ToSql; 5] = [&channel, &lane, &due_at, &message, &EXPIRED_SLICE];
    let walk = "SELECT d.channel, d.lane, d.due_at, d.message, d.owner, m.expires_at FROM due d \
        JOIN message m ON m.id=d.message WHERE (d.channel,d.lane,d.due_at,d.message)>($1,$2,$3,$4) \
        ORDER BY d.channel, d.lane, d.due_at, d.message LIMIT $5";
    let mut found = Vec::new();
    let mut last = None;
    let mut full = false;
    let mut seen = 0;
    sql::rows(conn, walk, &params, |row| {
        seen += 1;
        if full {
            return Ok(());
        }
        let place: DueKey = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        if row.get::<_, i64>(4)? == 0 && row.get::<_, Timestamp>(5)? < now && !claimed.contains(&place.0) {
            found.push(place.clone());
            full = found.len() >= limit;
        }
        last = Some(place);
        Ok(())
    })?;
    // A short slice was the last one: the next search begins at the front.
    let next = if seen == EXPIRED_SLICE || full { last } else { None };
    Ok((found, next))
}

/// Rows that were tried or held and wait for a time that the clock will not reach soon any more are due in a minute; and
/// those that were accepted by the wrong clock, an open group included. Other groups keep their time.
pub(super) fn clock_stepped_back(w: &mut Writer, now: Timestamp) -> Result<()> {
    let pull = "UPDATE due SET due_at=$1 WHERE owner=0 AND due_at>$1 AND (open_key IS NULL \
        OR EXISTS (SELECT 1 FROM message m WHERE m.id=due.message AND m.created_at>$2))";
    let moved = sql::run(&w.conn, pull, &[&now.plus(SOON), &now])?;
    tracing::warn!(moved, "the clock went back: retries are due in a minute");
    w.now = now;
    w.bounds.clear();
    Ok(())
}

/// Rows of `channel` that were held are due now: what held them is gone. They were due when they were held, tried before or not.
/// A suspect one keeps its time, and so does what waits for its next try.
fn held_are_due(w: &mut Writer, channel: &Arc<str>, now: Timestamp) -> Result<usize> {
    w.bounds.remove(channel);
    sql::run(&w.conn, sql::HELD_ARE_DUE, &[channel, &now])
}

impl Store {
    /// `channel` was opened anew: what was held for the breaker of the one before need not wait for it. How many rows.
    pub async fn held_are_due(&self, channel: &Arc<str>, now: Timestamp) -> Result<usize, StoreError> {
        let channel = channel.clone();
        self.write(Mark::Other, move |w| Ok(held_are_due(w, &channel, now)?)).await
    }
}

/// Drops the due rows of claimed messages that turned out to be final.
pub(super) fn drop_finished(w: &mut Writer, messages: &[i64]) -> Result<()> {
    for message in messages {
        let finished =
            "DELETE FROM due WHERE message=$1 AND NOT EXISTS (SELECT 1 FROM message WHERE id=$1 AND state=$2)";
        sql::run(&w.conn, finished, &[message, &State::Pending.code()])?;
        w.out_of_hand(*message);
    }
    Ok(())
}
