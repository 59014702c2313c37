//! Owns claims: who may send which message now. A claim belongs to a worker and is void when the worker is.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Result, Row, ToSql};

use super::message::{Claim, ORDINARY, URGENT};
use super::upkeep::DueKey;
use super::writer::Writer;
use super::{StoreError, sql, upkeep};
use crate::clock::{SET_BACK, Timestamp};

/// How long suspect rows give way to the others before the window is drained for them.
const SUSPECT_PATIENCE: Duration = Duration::from_mins(1);
/// How long a worker may be unseen before its claims are void.
const UNSEEN: Duration = Duration::from_secs(30);
/// From this many crashes on a message waits between tries.
const SUSPECT_WAITS: i64 = 3;
/// How long it waits.
const SUSPECT_WAIT: Duration = Duration::from_hours(1);
/// How long the others give way to a channel that does not ask again: its lane looks every 2 s, unless a reload removed it or its
/// gate has shut meanwhile.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// When to ask again while a suspect row keeps others from being claimed.
const BLOCKED: Duration = Duration::from_secs(1);

/// How many may be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the lanes")]
pub struct Room {
    pub urgent: usize,
    pub ordinary: usize,
    /// Of both together.
    pub most: usize,
    /// Which of them has the first claim on that.
    pub ordinary_first: bool,
}

/// So many, of whichever lane.
impl From<usize> for Room {
    fn from(most: usize) -> Self {
        Self { urgent: most, ordinary: most, most, ordinary_first: false }
    }
}

/// As many due rows as there is room for, the one lane before the other. A suspect row is given out alone, when nothing else
/// is in hand, so that a crash can be laid at its door; nothing is claimed beside it.
pub(super) fn claim(
    w: &mut Writer,
    channel: &Arc<str>,
    worker: i64,
    now: Timestamp,
    room: Room,
) -> Result<Vec<Claim>, StoreError> {
    w.now = w.now.max(now);
    if w.suspect.is_some() || room.most == 0 {
        return Ok(Vec::new());
    }
    let suspect = sql::first::<Timestamp>(&w.conn, sql::NEXT_SUSPECT, &[channel])?.filter(|due_at| *due_at <= now);
    if elsewhere(w, channel, now) {
        return Ok(Vec::new());
    }
    let patient = suspect.is_none_or(|due_at| due_at > now.minus(SUSPECT_PATIENCE));
    // What other channels hold must go too, or one that is busy for hours would keep this one waiting as long.
    w.drained_for = (!patient).then(|| Drain { channel: channel.clone(), asked_at: now });
    let mut claims = Vec::new();
    if patient {
        let mut lanes = [(URGENT, room.urgent), (ORDINARY, room.ordinary)];
        if room.ordinary_first {
            lanes.reverse();
        }
        for (lane, of_lane) in lanes {
            let left = of_lane.min(room.most - claims.len());
            if left > 0 {
                claims.extend(window(w, channel, worker, lane, now, left)?);
            }
        }
    }
    if claims.is_empty() && w.in_hand.is_empty() && suspect.is_some() {
        claims = sql::rows(&w.conn, sql::CLAIM_SUSPECT, &[&worker, channel, &now], |row| read(row, channel, worker))?;
        w.suspect = claims.first().map(|claim| claim.message);
        w.drained_for = None;
    }
    w.in_hand.extend(claims.iter().map(|claim| claim.message));
    Ok(claims)
}

/// Which channel the window is drained for.
pub(super) struct Drain {
    channel: Arc<str>,
    /// When it asked last.
    asked_at: Timestamp,
}

/// Is the window drained for another channel, which still asks? A clock that was set back ends it, too.
fn elsewhere(w: &Writer, channel: &str, now: Timestamp) -> bool {
    w.drained_for.as_ref().is_some_and(|drain| {
        let lately = drain.asked_at <= now.plus(DRAIN_PATIENCE) && now <= drain.asked_at.plus(DRAIN_PATIENCE);
        *drain.channel != *channel && lately
    })
}

fn window(
    w: &mut Writer,
    channel: &Arc<str>,
    worker: i64,
    lane: i64,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Claim>, StoreError> {
    let bound = bound(w, channel, lane);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let params: [&dyn ToSql; 6] = [&worker, channel, &lane, &bound, &now, &limit];
    let mut claims = sql::rows(&w.conn, sql::CLAIM, &params, |row| read(row, channel, worker))?;
    claims.sort_by_key(|claim| (claim.due_at, claim.message));
    if let Some(last) = claims.last()
        && let Some(bound) = usize::try_from(lane)
            .ok()
            .and_then(|lane| w.bounds.entry(channel.clone()).or_insert([i64::MIN; 2]).get_mut(lane))
    {
        *bound = last.due_at.as_millis();
    }
    Ok(claims)
}

fn bound(w: &Writer, channel: &str, lane: i64) -> i64 {
    let lane = usize::try_from(lane).unwrap_or(usize::MAX);
    w.bounds.get(channel).and_then(|bounds| bounds.get(lane)).copied().unwrap_or(i64::MIN)
}

fn read(row: &Row<'_>, channel: &Arc<str>, owner: i64) -> Result<Claim> {
    Ok(Claim {
        channel: channel.clone(),
        owner,
        lane: row.get(0)?,
        due_at: row.get(1)?,
        message: row.get(2)?,
        attempt: row.get(3)?,
        suspect: row.get(4)?,
        first_at: row.get(5)?,
    })
}

/// Claims exactly these rows, as far as they are still free; for maintenance, which found them by another way.
pub(super) fn claim_rows(
    w: &mut Writer,
    worker: i64,
    now: Timestamp,
    rows: &[DueKey],
) -> Result<Vec<Claim>, StoreError> {
    let mut claims = Vec::new();
    for (channel, lane, due_at, message) in rows {
        let params: [&dyn ToSql; 6] = [&worker, channel, lane, due_at, message, &now];
        claims.extend(sql::rows(&w.conn, sql::CLAIM_ONE, &params, |row| read(row, channel, worker))?);
    }
    w.in_hand.extend(claims.iter().map(|claim| claim.message));
    Ok(claims)
}

/// Gives claims back untouched: the attempt is not counted, the due time stays.
pub(super) fn release(w: &mut Writer, claims: &[Claim]) -> Result<(), StoreError> {
    for claim in claims {
        let params: [&dyn ToSql; 6] =
            [&claim.channel, &claim.lane, &claim.due_at, &claim.message, &claim.owner, &claim.attempt];
        if sql::run(&w.conn, sql::RELEASE, &params)? == 1 {
            w.out_of_hand(claim.message);
            w.lower_bound(&claim.channel, claim.lane, claim.due_at);
        }
    }
    Ok(())
}

/// A delivery panicked: that counts as a crash of the process does, for this row alone. `false` if it is not ours.
pub(super) fn blame(w: &mut Writer, claim: &Claim, now: Timestamp) -> Result<bool, StoreError> {
    let Claim { channel, lane, due_at, message, owner, attempt, .. } = claim;
    let params: [&dyn ToSql; 8] =
        [channel, lane, due_at, message, owner, attempt, &SUSPECT_WAITS, &now.plus(SUSPECT_WAIT)];
    let mine = sql::run(
        &w.conn,
        "UPDATE due SET owner=0, suspect=suspect+1, due_at=CASE WHEN suspect+1>=$7 THEN $8 ELSE due_at END \
         WHERE channel=$1 AND lane=$2 AND due_at=$3 AND message=$4 AND owner=$5 AND attempt=$6",
        &params,
    )? == 1;
    if mine {
        w.out_of_hand(*message);
    }
    Ok(mine)
}

/// When this channel's next row can be claimed; rows in hand do not count.
pub(super) fn next_due(w: &mut Writer, channel: &Arc<str>) -> Result<Option<Timestamp>, StoreError> {
    let mut next = None;
    for lane in [URGENT, ORDINARY] {
        let bound = bound(w, channel, lane);
        let due_at = sql::first::<Timestamp>(&w.conn, sql::NEXT_DUE, &[channel, &lane, &bound])?;
        next = next.into_iter().chain(due_at).min();
    }
    let suspect = sql::first::<Timestamp>(&w.conn, sql::NEXT_SUSPECT, &[channel])?;
    // What is due and was not given out waits for what is in hand; asking at once again would only spin.
    let later = w.now.plus(BLOCKED);
    let overdue = suspect.is_some_and(|due_at| due_at <= w.now.minus(SUSPECT_PATIENCE));
    let elsewhere = elsewhere(w, channel, w.now);
    if w.suspect.is_some() || elsewhere || (overdue && !w.in_hand.is_empty()) {
        next = next.map(|due_at| due_at.max(later));
    }
    let free = w.in_hand.is_empty() && !elsewhere;
    let suspect = suspect.map(|due_at| if free { due_at } else { due_at.max(later) });
    Ok(next.into_iter().chain(suspect).min())
}

/// When the last worker was seen or went.
const LAST_SEEN: &str =
    "SELECT max(at) FROM (SELECT seen_at at FROM worker UNION ALL SELECT value FROM meta WHERE key='gone')";

/// A new worker. On SQLite there is one daemon, so every other owner is dead and its rows are suspect.
pub(super) fn register(w: &mut Writer, worker: i64, name: &str, now: Timestamp) -> Result<(), StoreError> {
    w.now = w.now.max(now);
    let last_seen = sql::first::<Option<Timestamp>>(&w.conn, LAST_SEEN, &[])?.flatten();
    if last_seen.is_some_and(|at| at.since(now) > SET_BACK) {
        tracing::error!("the system's clock was set back by more than a minute since the last daemon ran");
        upkeep::clock_stepped_back(w, now)?;
    }
    for owner in sql::rows(&w.conn, sql::OWNERS, &[], |row| row.get(0))? {
        void(w, owner, now)?;
    }
    sql::run(&w.conn, "DELETE FROM worker", &[])?;
    sql::run(&w.conn, "INSERT INTO worker(id,name,seen_at) VALUES($1,$2,$3)", &[&worker, &name, &now])?;
    w.worker = Some(worker);
    w.in_hand.clear();
    w.suspect = None;
    Ok(())
}

/// `false`: this worker was declared dead; its claims are gone.
pub(super) fn heartbeat(w: &mut Writer, worker: i64, now: Timestamp) -> Result<bool, StoreError> {
    Ok(sql::run(&w.conn, "UPDATE worker SET seen_at=$2 WHERE id=$1", &[&worker, &now])? == 1)
}

/// An orderly end: what is still claimed goes back untouched.
pub(super) fn unregister(w: &mut Writer, worker: i64, now: Timestamp) -> Result<(), StoreError> {
    let gone = "INSERT INTO meta(key,value) VALUES('gone',$1) ON CONFLICT(key) DO UPDATE SET value=excluded.value";
    sql::run(&w.conn, gone, &[&now])?;
    sql::run(
        &w.conn,
        "UPDATE due SET owner=0, attempt=attempt-1, \
         first_at=CASE WHEN attempt>1 THEN first_at END WHERE owner=$1",
        &[&worker],
    )?;
    sql::run(&w.conn, "DELETE FROM worker WHERE id=$1", &[&worker])?;
    w.in_hand.clear();
    w.suspect = None;
    w.bounds.clear();
    Ok(())
}

/// Frees the claims of workers that nobody has seen for 30 s. Never our own: whoever asks is alive, however far the clock
/// has jumped since the last heartbeat (a suspended machine), and what it holds may be on its way to a relay.
pub(super) fn void_unseen(w: &mut Writer, now: Timestamp) -> Result<(), StoreError> {
    let unseen = "SELECT id FROM worker WHERE seen_at<$1 AND id<>$2";
    let params: [&dyn ToSql; 2] = [&now.minus(UNSEEN), &w.worker.unwrap_or(0)];
    for worker in sql::rows(&w.conn, unseen, &params, |row| row.get(0))? {
        tracing::warn!(worker, "a worker was not seen for 30 s: its claims are void");
        void(w, worker, now)?;
        sql::run(&w.conn, "DELETE FROM worker WHERE id=$1", &[&worker])?;
    }
    Ok(())
}

/// Frees the rows of a dead owner. Each is suspect now; of those that were suspect before, only one that was claimed
/// alone is blamed again. From the third time on it also waits an hour.
fn void(w: &mut Writer, owner: i64, now: Timestamp) -> Result<(), StoreError> {
    let rows = sql::rows(&w.conn, "SELECT message FROM due WHERE owner=$1", &[&owner], |row| row.get::<_, i64>(0))?;
    let alone = rows.len() == 1;
    sql::run(
        &w.conn,
        "UPDATE due SET owner=0, suspect=suspect+1, due_at=CASE WHEN suspect+1>=$3 THEN $4 ELSE due_at END \
         WHERE owner=$1 AND (suspect=0 OR $2)",
        &[&owner, &alone, &SUSPECT_WAITS, &now.plus(SUSPECT_WAIT)],
    )?;
    sql::run(&w.conn, "UPDATE due SET owner=0 WHERE owner=$1", &[&owner])?;
    for message in rows {
        w.out_of_hand(message);
    }
    w.bounds.clear();
    Ok(())
}
