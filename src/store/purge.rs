//! Owns the two retentions: bodies go after `content`, ids and verdicts after `ledger`; what is not finished never goes.
//! It works in slices of 500 rows, whenever the writer has nothing else to do.

use std::time::Duration;

use rusqlite::{Connection, Result};

use super::StoreError;
use super::sql;
use super::writer::{Answer, Command, Mark, Writer};
use crate::clock::Timestamp;

/// Rows per transaction: a command that arrives meanwhile waits for a few milliseconds.
const SLICE: i64 = 500;
/// How often a new round begins.
const EVERY: Duration = Duration::from_hours(1);

/// Keys of `meta`.
const NEXT_RECORD: &str = "next_record";
const NEXT_MESSAGE: &str = "next_message";

/// What one round has to do, as ids found beforehand by a reader.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// No record from here on loses its body, since a message that is not finished may need it.
    content_records: i64,
    content: Timestamp,
    /// The same for whole rows.
    ledger_records: i64,
    ledger_messages: i64,
    ledger: Timestamp,
}

/// The steps of a round, in an order in which no row ever points to one that is gone before it.
#[derive(Clone, Copy, Debug)]
enum Step {
    RecordBodies { from: i64 },
    Bodies,
    Notifications { after: [u8; 16] },
    Messages { from: i64 },
    Records,
    Rest,
}

/// Where the purge stands.
#[derive(Default)]
pub(super) struct Purge {
    plan: Plan,
    step: Option<Step>,
    last: Option<Timestamp>,
    /// Records before this one have no body any more.
    stripped: i64,
}

impl Purge {
    /// Nothing to do just now?
    pub(super) fn is_done(&self) -> bool {
        self.step.is_none()
    }

    /// Is it time for a new round?
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.is_done() && self.last.is_none_or(|last| now.since(last) >= EVERY || last > now)
    }

    /// Begins a round.
    pub(super) fn begin(&mut self, plan: Plan, now: Timestamp) {
        self.last = Some(now);
        self.step = Some(Step::RecordBodies { from: self.stripped });
        self.plan = plan;
    }
}

/// Notes which numbers come next, before a round may delete the rows that say so: none is given twice, since they stand in
/// operators' hands, and a notification may outlive its record.
pub(super) fn note(w: &Writer) -> Result<()> {
    let note =
        "INSERT INTO meta(key,value) VALUES($1,$2) ON CONFLICT(key) DO UPDATE SET value=max(value,excluded.value)";
    for (key, next) in [(NEXT_RECORD, w.next_record), (NEXT_MESSAGE, w.next_message)] {
        sql::run(&w.conn, note, &[&key, &next])?;
    }
    Ok(())
}

/// The next numbers of a record and a message as the last round began.
pub(super) fn tide(conn: &Connection) -> Result<(i64, i64)> {
    let noted = |key: &str| -> Result<i64> {
        Ok(sql::first(conn, "SELECT value FROM meta WHERE key=$1", &[&key])?.unwrap_or_default())
    };
    Ok((noted(NEXT_RECORD)?, noted(NEXT_MESSAGE)?))
}

/// Finds the boundaries of a round. A reader's work: it looks at every row that is due.
pub(super) fn plan(conn: &Connection, ledger: Duration, content: Duration, now: Timestamp) -> Result<Plan> {
    let (ledger, content) = (now.minus(ledger), now.minus(content));
    let pending = "SELECT min(n.record) FROM notification n WHERE n.message IN \
        (SELECT message FROM due UNION ALL SELECT id FROM message WHERE state=5)";
    let pending = sql::first::<Option<i64>>(conn, pending, &[])?.flatten().unwrap_or(i64::MAX);
    let records = "SELECT id, accepted_at FROM record WHERE id>=$1 ORDER BY id LIMIT 1";
    let messages = "SELECT id, created_at FROM message WHERE id>=$1 ORDER BY id LIMIT 1";
    Ok(Plan {
        content_records: boundary(conn, records, "SELECT max(id) FROM record", content)?.min(pending),
        content,
        ledger_records: boundary(conn, records, "SELECT max(id) FROM record", ledger)?.min(pending),
        ledger_messages: boundary(conn, messages, "SELECT max(id) FROM message", ledger)?,
        ledger,
    })
}

/// The first id that is not older than `horizon`, by bisection: times rise with ids. `at` gives the first (id, time)
/// at or after an id.
fn boundary(conn: &Connection, at: &str, last: &str, horizon: Timestamp) -> Result<i64> {
    let mut low = 0;
    let mut high = sql::first::<Option<i64>>(conn, last, &[])?.flatten().unwrap_or(0) + 1;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = sql::rows(conn, at, &[&middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Timestamp>(1)?)))?;
        match found.first() {
            Some((id, time)) if *time < horizon => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// One slice, as a command of its own.
pub(super) fn slice() -> Command {
    let work = |writer: std::result::Result<&mut Writer, StoreError>| {
        let done = writer.and_then(|w| work(w).map_err(StoreError::from).inspect_err(|_| w.purge.step = None));
        let keep = done.is_ok();
        let tell = move |lost: Option<StoreError>| {
            if let Some(error) = done.err().or(lost) {
                tracing::warn!(%error, "purging stopped until the next round");
            }
        };
        Answer { keep, tell: Box::new(tell) }
    };
    Command { mark: Mark::Other, work: Box::new(work) }
}

/// Does one slice and moves on to the next.
pub(super) fn work(w: &mut Writer) -> Result<()> {
    let Some(step) = w.purge.step else { return Ok(()) };
    let plan = w.purge.plan.clone();
    w.purge.step = match step {
        Step::RecordBodies { from } => {
            let to = from.saturating_add(SLICE).min(plan.content_records);
            let strip = "UPDATE record SET body=NULL WHERE id>=$1 AND id<$2 AND body IS NOT NULL";
            sql::run(&w.conn, strip, &[&from, &to])?;
            w.purge.stripped = w.purge.stripped.max(to);
            Some(if to < plan.content_records { Step::RecordBodies { from: to } } else { Step::Bodies })
        }
        Step::Bodies => {
            let strip = "UPDATE message SET body=NULL WHERE id IN \
                (SELECT id FROM message WHERE body IS NOT NULL AND state<>0 AND done_at<$1 LIMIT $2)";
            let messages = sql::run(&w.conn, strip, &[&plan.content, &SLICE])?;
            let strip = "UPDATE dead_letter SET body=NULL WHERE id IN \
                (SELECT id FROM dead_letter WHERE body IS NOT NULL AND at<$1 LIMIT $2)";
            let letters = sql::run(&w.conn, strip, &[&plan.content, &SLICE])?;
            let more = messages > 0 || letters > 0;
            Some(if more { Step::Bodies } else { Step::Notifications { after: [0; 16] } })
        }
        Step::Notifications { after } => Some(notifications(w, &plan, after)?),
        Step::Messages { from } => Some(messages(w, &plan, from)?),
        Step::Records => {
            let gone = "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE id<$1 ORDER BY id LIMIT $2)";
            let gone = sql::run(&w.conn, gone, &[&plan.ledger_records, &SLICE])?;
            Some(if gone > 0 { Step::Records } else { Step::Rest })
        }
        Step::Rest => rest(w, &plan)?,
    };
    Ok(())
}

/// Ids of finished notifications, by range. A message's notifications go when it has been finished long enough.
fn notifications(w: &Writer, plan: &Plan, after: [u8; 16]) -> Result<Step> {
    let mut until = [0; 16];
    let day = u32::try_from(plan.ledger.day()).unwrap_or(0);
    until[..4].copy_from_slice(&day.to_be_bytes());
    let walk = "SELECT id FROM notification WHERE id>$1 AND id<$2 AND at<$3 ORDER BY id LIMIT $4";
    let ids: Vec<[u8; 16]> = sql::rows(&w.conn, walk, &[&after, &until, &plan.ledger, &SLICE], |row| row.get(0))?;
    let gone = "DELETE FROM notification WHERE id=$1 AND (message IS NULL OR NOT EXISTS \
        (SELECT 1 FROM message m WHERE m.id=notification.message AND (m.state IN (0,5) OR m.done_at>=$2)))";
    for id in &ids {
        sql::run(&w.conn, gone, &[id, &plan.ledger])?;
    }
    Ok(ids.last().map_or(Step::Messages { from: 0 }, |last| Step::Notifications { after: *last }))
}

/// Finished messages whose last notification is gone, and their attempts.
fn messages(w: &Writer, plan: &Plan, from: i64) -> Result<Step> {
    let walk = "SELECT id FROM message WHERE id>=$1 AND id<$2 ORDER BY id LIMIT $3";
    let ids: Vec<i64> = sql::rows(&w.conn, walk, &[&from, &plan.ledger_messages, &SLICE], |row| row.get(0))?;
    let gone = "DELETE FROM message WHERE id=$1 AND state<>0 AND done_at<$2 \
        AND NOT EXISTS (SELECT 1 FROM notification n WHERE n.message=message.id)";
    for id in &ids {
        if sql::run(&w.conn, gone, &[id, &plan.ledger])? == 1 {
            sql::run(&w.conn, "DELETE FROM attempt WHERE message=$1", &[id])?;
        }
    }
    Ok(ids.last().map_or(Step::Records, |last| Step::Messages { from: last + 1 }))
}

/// Dead letters, operators' rows, throttle counters, refusals that are over.
fn rest(w: &mut Writer, plan: &Plan) -> Result<Option<Step>> {
    let mut gone = 0;
    for text in [
        "DELETE FROM dead_letter WHERE id IN (SELECT id FROM dead_letter WHERE at<$1 ORDER BY id LIMIT $2)",
        "DELETE FROM operator WHERE id IN (SELECT id FROM operator WHERE at<$1 ORDER BY id LIMIT $2)",
        "DELETE FROM throttle WHERE key IN (SELECT key FROM throttle WHERE since<$1 LIMIT $2)",
    ] {
        gone += sql::run(&w.conn, text, &[&plan.ledger, &SLICE])?;
    }
    let over = "DELETE FROM refused WHERE (channel,address) IN \
        (SELECT channel, address FROM refused WHERE until<$1 LIMIT $2)";
    gone += sql::run(&w.conn, over, &[&w.now, &SLICE])?;
    w.dead_letters = super::writer::usage(&w.conn)?;
    Ok((gone > 0).then_some(Step::Rest))
}
