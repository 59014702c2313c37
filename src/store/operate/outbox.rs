//! Owns looking into the outbox: lists, and one message with everything that is known of it.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Result, Row, ToSql};
use serde::Serialize;

use super::super::message::{self, State};
use super::super::{Store, StoreError, origin, sql};
use crate::clock::Timestamp;
use crate::compose::Kind;
use crate::plan::NotificationId;
use crate::record::Position;

/// Which messages to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these.
    pub state: Option<State>,
    /// Only this rule's.
    pub rule: Option<String>,
    /// Only this channel's.
    pub channel: Option<String>,
    /// Only pending ones of other channels than these: nobody delivers them.
    pub orphans_of: Option<Vec<Arc<str>>>,
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

/// A message with what it stands for, what was tried, and what came of it.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "rows of `notification` and `attempt`")]
pub struct Detail {
    #[serde(flatten)]
    pub message: Message,
    pub notifications: Vec<Notification>,
    pub tries: Vec<Try>,
    /// Oldest first, each once; the caller decides how much of them is shown.
    #[serde(skip)]
    pub records: Vec<Kept>,
    /// The message that was given up, if this one tells of it.
    pub stands_for: Option<Relative>,
    /// The messages that tell of this one's end.
    pub escalations: Vec<Relative>,
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

/// A record as it is kept.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns of `record`")]
pub struct Kept {
    pub position: Position,
    pub dialect: String,
    pub at: Timestamp,
    pub broker_time: Option<Timestamp>,
    /// `None` after the content retention.
    pub body: Option<Bytes>,
}

/// Another message that this one has to do with.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "columns of `message`")]
pub struct Relative {
    pub key: String,
    pub kind: &'static str,
    pub state: &'static str,
    pub channel: String,
    pub recipient: String,
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
}

const MESSAGES: &str = "SELECT m.id, m.key, m.state, m.channel, m.recipient, m.rule, m.severity, m.created_at, \
    m.expires_at, d.due_at, coalesce(d.owner,0), m.attempts, m.reply, \
    m.done_at, m.address, m.reference FROM message m LEFT JOIN due d ON d.message=m.id";

fn list(conn: &Connection, filter: &Filter) -> Result<Vec<Message>> {
    let text = format!(
        "{MESSAGES} WHERE m.id<$1 AND ($2 IS NULL OR m.state=$2) AND ($3 IS NULL OR m.channel=$3) \
         AND ($4 IS NULL OR m.rule=$4) AND ($5 IS NULL OR (m.state=0 AND m.channel NOT IN \
         (SELECT value FROM json_each($5)))) ORDER BY m.id DESC LIMIT $6"
    );
    let before = filter.before.unwrap_or(i64::MAX);
    let channels = filter.orphans_of.as_ref().map(|names| serde_json::json!(names).to_string());
    let state = filter.state.map(State::code);
    let params: [&dyn ToSql; 6] = [&before, &state, &filter.channel, &filter.rule, &channels, &filter.limit];
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

/// The number of the message to which the notification `id` belongs.
pub(super) fn number(conn: &Connection, id: NotificationId) -> Result<Option<i64>> {
    Ok(sql::first::<Option<i64>>(conn, "SELECT message FROM notification WHERE id=$1", &[&id.0])?.flatten())
}

fn detail(conn: &Connection, id: NotificationId) -> Result<Option<Detail>> {
    let Some(number) = number(conn, id)? else { return Ok(None) };
    let found = sql::rows(conn, &format!("{MESSAGES} WHERE m.id=$1"), &[&number], read)?;
    let Some(message) = found.into_iter().next() else { return Ok(None) };
    let relatives = "SELECT m.key, m.kind, m.state, m.channel, m.recipient FROM message m";
    let stands_for = format!("{relatives} WHERE m.id=(SELECT stands_for FROM message WHERE id=$1)");
    let escalations = format!("{relatives} WHERE m.stands_for=$1 ORDER BY m.id");
    Ok(Some(Detail {
        message,
        notifications: notifications(conn, number)?,
        tries: tries(conn, number)?,
        records: records(conn, number)?,
        stands_for: sql::rows(conn, &stands_for, &[&number], relative)?.into_iter().next(),
        escalations: sql::rows(conn, &escalations, &[&number], relative)?,
    }))
}

fn notifications(conn: &Connection, message: i64) -> Result<Vec<Notification>> {
    let text = "SELECT n.id, n.rule, n.at, r.origin, n.reason FROM notification n \
        LEFT JOIN record r ON r.id=n.record WHERE n.message=$1 ORDER BY n.record, n.id";
    sql::rows(conn, text, &[&message], |row| {
        Ok(Notification {
            id: NotificationId(row.get(0)?).to_string(),
            rule: row.get(1)?,
            at: row.get(2)?,
            origin: row.get(3)?,
            reason: row.get(4)?,
        })
    })
}

pub(super) fn tries(conn: &Connection, message: i64) -> Result<Vec<Try>> {
    let text = "SELECT n, at, verdict, code, reply FROM attempt WHERE message=$1 ORDER BY n";
    sql::rows(conn, text, &[&message], |row| {
        let verdict = ["sent", "later", "ambiguous", "never"];
        let verdict = usize::try_from(row.get::<_, i64>(2)? - 1).ok().and_then(|n| verdict.get(n).copied());
        Ok(Try {
            n: row.get(0)?,
            at: row.get(1)?,
            verdict: verdict.unwrap_or("unknown"),
            code: row.get(3)?,
            reply: row.get(4)?,
        })
    })
}

fn records(conn: &Connection, message: i64) -> Result<Vec<Kept>> {
    kept(conn, "id IN (SELECT record FROM notification WHERE message=$1)", message)
}

/// The records of this condition on `$1`, oldest first.
pub(super) fn kept(conn: &Connection, condition: &str, number: i64) -> Result<Vec<Kept>> {
    let text = format!("SELECT origin, dialect, at, broker_at, body FROM record WHERE {condition} ORDER BY at, id");
    sql::rows(conn, &text, &[&number], |row| {
        let place =
            origin::parse(&row.get::<_, String>(0)?).ok_or_else(|| sql::unreadable(0, "no place of a record"))?;
        Ok(Kept {
            position: place,
            dialect: row.get(1)?,
            at: row.get(2)?,
            broker_time: row.get(3)?,
            body: row.get::<_, Option<Vec<u8>>>(4)?.map(Bytes::from),
        })
    })
}

fn relative(row: &Row<'_>) -> Result<Relative> {
    Ok(Relative {
        key: NotificationId(row.get(0)?).to_string(),
        kind: match message::kind(row.get(1)?) {
            Some(Kind::Normal) => "normal",
            Some(Kind::Unresolved) => "unresolved",
            Some(Kind::Failed) => "failed",
            Some(Kind::Test) => "test",
            None => "unknown",
        },
        state: State::from_code(row.get(2)?).map_or("unknown", State::name),
        channel: row.get(3)?,
        recipient: row.get(4)?,
    })
}
