//! Owns what an operator sees and changes: the outbox, the dead letters, the positions. Works beside a running daemon,
//! which notices within 2 s. Every change leaves a row: who, when, what.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Result, Row, ToSql};
use serde::Serialize;

use super::message::{self, State};
use super::position::PositionRow;
use super::writer::{Mark, Writer};
use super::{Store, StoreError, position, sql};
use crate::clock::Timestamp;
use crate::plan::NotificationId;

/// How long a message that was retried by hand has before it is too late again.
const RETRY_SPAN: Duration = Duration::from_hours(24);

/// Which messages to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these.
    pub state: Option<State>,
    /// Only this channel's.
    pub channel: Option<String>,
    /// Only numbers below this one: the last of the page before.
    pub before: Option<i64>,
    /// Most rows.
    pub limit: u32,
}

/// One line of the outbox.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "columns of `message` and `due`")]
pub struct Message {
    pub number: i64,
    pub key: String,
    pub state: &'static str,
    pub channel: String,
    pub recipient: String,
    pub rule: String,
    pub severity: crate::record::Severity,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub due_at: Option<Timestamp>,
    pub claimed: bool,
    pub attempts: u32,
    pub reply: Option<String>,
    pub done_at: Option<Timestamp>,
    pub address: Option<String>,
    pub reference: Option<String>,
}

/// A message with what it stands for and what was tried.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "rows of `notification` and `attempt`")]
pub struct Detail {
    #[serde(flatten)]
    pub message: Message,
    pub notifications: Vec<Notification>,
    pub tries: Vec<Try>,
}

/// One notification of a message.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "columns of `notification`")]
pub struct Notification {
    pub id: String,
    pub rule: String,
    pub at: Timestamp,
    pub origin: Option<String>,
    pub reason: Option<String>,
}

/// One attempt that is on record (a first-try success is not).
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "columns of `attempt`")]
pub struct Try {
    pub n: u32,
    pub at: Timestamp,
    pub verdict: &'static str,
    pub code: Option<u16>,
    pub reply: Option<String>,
}

/// What became of a change to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Written.
    Done,
    /// No such message.
    Unknown,
    /// A worker holds it: try again.
    BeingSent,
    /// It has ended in a state from which this change leads nowhere.
    Ended(State),
    /// Its records are past the content retention: there is nothing left to write a mail from.
    ContentGone,
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
    pub error: String,
    /// Length of the body; `None` after the content retention.
    pub bytes: Option<i64>,
}

impl Store {
    /// The outbox, newest first.
    pub async fn messages(&self, filter: Filter) -> Result<Vec<Message>, StoreError> {
        self.read(move |conn| list(conn, &filter)).await
    }

    /// The message to which the notification `id` belongs; a message's key is the id of its first notification.
    pub async fn message(&self, id: NotificationId) -> Result<Option<Detail>, StoreError> {
        self.read(move |conn| detail(conn, id)).await
    }

    /// Makes a message due now: one that waits, or one that failed, expired or was cancelled.
    pub async fn retry(&self, id: NotificationId, who: &str, now: Timestamp) -> Result<Change, StoreError> {
        let who = who.to_owned();
        self.write(Mark::Other, move |w| Ok(retry(w, id, &who, now)?)).await
    }

    /// Ends a message that nobody is sending.
    pub async fn cancel(&self, id: NotificationId, who: &str, now: Timestamp) -> Result<Change, StoreError> {
        let who = who.to_owned();
        self.write(Mark::Other, move |w| Ok(cancel(w, id, &who, now)?)).await
    }

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

    /// All positions of all sources.
    pub async fn all_positions(&self) -> Result<Vec<PositionRow>, StoreError> {
        self.read(position::all).await
    }
}

const MESSAGES: &str = "SELECT m.id, m.key, m.state, m.channel, m.recipient, m.rule, m.severity, m.created_at, \
    m.expires_at, d.due_at, coalesce(d.owner,0), m.attempts, m.reply, m.done_at, m.address, m.reference \
    FROM message m LEFT JOIN due d ON d.message=m.id";

fn list(conn: &Connection, filter: &Filter) -> Result<Vec<Message>> {
    let text = format!(
        "{MESSAGES} WHERE m.id<$1 AND ($2 IS NULL OR m.state=$2) AND ($3 IS NULL OR m.channel=$3) ORDER BY m.id DESC LIMIT $4"
    );
    let before = filter.before.unwrap_or(i64::MAX);
    let params: [&dyn ToSql; 4] = [&before, &filter.state.map(State::code), &filter.channel, &filter.limit];
    sql::rows(conn, &text, &params, read)
}

fn read(row: &Row<'_>) -> Result<Message> {
    Ok(Message {
        number: row.get(0)?,
        key: NotificationId(row.get(1)?).to_string(),
        state: State::from_code(row.get(2)?).map_or("unknown", State::name),
        channel: row.get(3)?,
        recipient: row.get(4)?,
        rule: row.get(5)?,
        severity: message::severity(row.get(6)?),
        created_at: row.get(7)?,
        expires_at: row.get(8)?,
        due_at: row.get(9)?,
        claimed: row.get::<_, i64>(10)? != 0,
        attempts: row.get(11)?,
        reply: row.get(12)?,
        done_at: row.get(13)?,
        address: row.get(14)?,
        reference: row.get(15)?,
    })
}

fn number(conn: &Connection, id: NotificationId) -> Result<Option<i64>> {
    Ok(sql::first::<Option<i64>>(conn, "SELECT message FROM notification WHERE id=$1", &[&id.0])?.flatten())
}

fn detail(conn: &Connection, id: NotificationId) -> Result<Option<Detail>> {
    let Some(number) = number(conn, id)? else { return Ok(None) };
    let found = sql::rows(conn, &format!("{MESSAGES} WHERE m.id=$1"), &[&number], read)?;
    let Some(message) = found.into_iter().next() else { return Ok(None) };
    let notifications = "SELECT n.id, n.rule, n.at, r.origin, n.reason FROM notification n \
        LEFT JOIN record r ON r.id=n.record WHERE n.message=$1 ORDER BY n.record, n.id";
    let notifications = sql::rows(conn, notifications, &[&number], |row| {
        Ok(Notification {
            id: NotificationId(row.get(0)?).to_string(),
            rule: row.get(1)?,
            at: row.get(2)?,
            origin: row.get(3)?,
            reason: row.get(4)?,
        })
    })?;
    let tries = "SELECT n, at, verdict, code, reply FROM attempt WHERE message=$1 ORDER BY n";
    let tries = sql::rows(conn, tries, &[&number], |row| {
        let verdict = ["sent", "later", "ambiguous", "never"];
        let verdict = usize::try_from(row.get::<_, i64>(2)? - 1).ok().and_then(|n| verdict.get(n).copied());
        Ok(Try {
            n: row.get(0)?,
            at: row.get(1)?,
            verdict: verdict.unwrap_or("unknown"),
            code: row.get(3)?,
            reply: row.get(4)?,
        })
    })?;
    Ok(Some(Detail { message, notifications, tries }))
}

/// State and owner (0 = nobody) of a message.
fn standing(w: &Writer, message: i64) -> Result<Option<(State, i64)>> {
    let text =
        "SELECT m.state, coalesce((SELECT owner FROM due d WHERE d.message=m.id),0) FROM message m WHERE m.id=?1";
    let found = w.conn.query_row(text, [message], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).optional()?;
    Ok(found.and_then(|(state, owner)| Some((State::from_code(state)?, owner))))
}

fn retry(w: &mut Writer, id: NotificationId, who: &str, now: Timestamp) -> Result<Change> {
    let Some(message) = number(&w.conn, id)? else { return Ok(Change::Unknown) };
    match standing(w, message)? {
        None => return Ok(Change::Unknown),
        Some((_, owner)) if owner != 0 => return Ok(Change::BeingSent),
        Some((state @ (State::Sent | State::Held | State::Discarded), _)) => return Ok(Change::Ended(state)),
        Some((State::Pending, _)) => {
            sql::run(&w.conn, "UPDATE due SET due_at=$2, open_key=NULL WHERE message=$1", &[&message, &now])?;
        }
        Some((State::Failed | State::Expired | State::Cancelled, _)) => {
            let gone = "SELECT count(*) FROM notification n JOIN message m ON m.id=n.message \
                LEFT JOIN record r ON r.id=n.record WHERE n.message=$1 AND r.body IS NULL AND m.body IS NULL";
            if sql::first::<i64>(&w.conn, gone, &[&message])? != Some(0) {
                return Ok(Change::ContentGone);
            }
            let joined = "INSERT INTO due(channel,lane,due_at,message,owner,attempt,suspect,joined) \
                SELECT channel, CASE WHEN severity>=$3 THEN $4 ELSE $5 END, $2, id, 0, attempts, 0, \
                (SELECT count(*) FROM notification n WHERE n.message=$1) FROM message WHERE id=$1";
            let urgent = crate::record::Severity::High as i64;
            sql::run(&w.conn, joined, &[&message, &now, &urgent, &message::URGENT, &message::ORDINARY])?;
            sql::run(&w.conn, sql::REASON, &[&message, &None::<String>])?;
        }
    }
    let open = "UPDATE message SET state=0, done_at=NULL, expires_at=CASE WHEN expires_at<$2 THEN $2 ELSE expires_at END \
        WHERE id=$1";
    sql::run(&w.conn, open, &[&message, &now.plus(RETRY_SPAN)])?;
    w.bounds.clear();
    leave_row(w, who, &format!("messages retry {id}"), now)?;
    Ok(Change::Done)
}

fn cancel(w: &mut Writer, id: NotificationId, who: &str, now: Timestamp) -> Result<Change> {
    let Some(message) = number(&w.conn, id)? else { return Ok(Change::Unknown) };
    match standing(w, message)? {
        None => return Ok(Change::Unknown),
        Some((_, owner)) if owner != 0 => return Ok(Change::BeingSent),
        Some((State::Pending, _)) => {}
        Some((ended, _)) => return Ok(Change::Ended(ended)),
    }
    sql::run(&w.conn, sql::DROP_DUE_ANYWHERE, &[&message])?;
    let cancelled = State::Cancelled.code();
    sql::run(&w.conn, "UPDATE message SET state=$2, done_at=$3 WHERE id=$1", &[&message, &cancelled, &now])?;
    leave_row(w, who, &format!("messages cancel {id}"), now)?;
    Ok(Change::Done)
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
    w.dead_letters = super::writer::usage(&w.conn)?;
    if discarded > 0 {
        let which = numbers.map_or_else(|| "--all".to_owned(), |some| format!("{some:?}"));
        leave_row(w, who, &format!("dead-letters discard {which}: {discarded}"), now)?;
    }
    Ok(discarded)
}

pub(super) fn leave_row(w: &Writer, who: &str, what: &str, now: Timestamp) -> Result<()> {
    sql::run(&w.conn, "INSERT INTO operator(at,who,what) VALUES($1,$2,$3)", &[&now, &who, &what])?;
    Ok(())
}
