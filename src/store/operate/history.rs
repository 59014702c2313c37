//! Owns what the ledger tells of a record or of a person: every notification, what was tried for it, and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Result, Row, ToSql};
use schemars::JsonSchema;
use serde::Serialize;

use super::super::message::State;
use super::super::{Store, StoreError, sql};
use super::outbox::{self, Kept, Try};
use crate::clock::Timestamp;
use crate::plan::{NotificationId, Verdict};
use crate::record::Identity;

/// Most bodies that one step of a search for a record's own id looks into.
const SLICE: i64 = 1_000;

/// One thing that happened to a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Event {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// The notification's id.
    pub notification: String,
    /// A final verdict, `pending` or `held` where there is none yet; of an attempt before that `later`, `ambiguous`, `never`.
    pub verdict: &'static str,
    /// Why, in the words of `docs/verdicts.md`.
    pub reason: Option<String>,
    /// Key of the message that it became or joined; null where it became none.
    pub message: Option<String>,
    /// Which attempt, from 1.
    pub attempt: Option<u32>,
    /// What the other side said.
    pub reply: Option<String>,
    /// Rule id.
    pub rule: String,
    /// Null where there is no message: the ledger does not keep it.
    pub channel: Option<String>,
    /// `user:…`, `addr:…`, `room:…`; null where nobody could be named.
    pub recipient: Option<String>,
}

/// A record that the store keeps, with what became of it.
#[derive(Clone, Debug)]
pub struct Told {
    /// What makes it that record.
    pub identity: Identity,
    /// As it is kept.
    pub kept: Kept,
    /// Oldest first.
    pub history: Vec<Event>,
}

/// Somebody, by everything that the ledger may call them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `user:…`, `addr:…`.
    pub recipients: BTreeSet<String>,
    /// Addresses in lower case.
    pub addresses: BTreeSet<String>,
}

impl Store {
    /// What became of the record of this identity, which happened at `at`, and of the notifications with these ids: a thing
    /// is told once, so those of a later record of it may stand under an earlier one. Oldest first.
    pub async fn history(
        &self,
        identity: Identity,
        at: Option<Timestamp>,
        ids: Vec<NotificationId>,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(move |conn| of_identity(conn, identity, at, &ids)).await
    }

    /// The record that the notification `id`, or the first of the message with this key, is about.
    pub async fn told_by(&self, id: NotificationId) -> Result<Option<Told>, StoreError> {
        self.read(move |conn| {
            let row = sql::first::<i64>(conn, "SELECT record FROM notification WHERE id=$1", &[&id.0])?;
            row.map_or(Ok(None), |row| told(conn, row))
        })
        .await
    }

    /// The newest `limit` records of which somebody with these names was told, or was to be, since `since`; oldest first.
    /// Walks the ledger.
    pub async fn told_of(&self, names: Names, since: Timestamp, limit: u32) -> Result<Vec<Told>, StoreError> {
        self.read(move |conn| {
            let text = "SELECT DISTINCT n.record FROM notification n LEFT JOIN message m ON m.id=n.message \
                WHERE n.at>=$1 AND (coalesce(m.recipient,n.recipient) IN (SELECT value FROM json_each($2)) \
                OR lower(m.address) IN (SELECT value FROM json_each($3))) ORDER BY n.record DESC LIMIT $4";
            let [recipients, addresses] =
                [&names.recipients, &names.addresses].map(|set| serde_json::json!(set).to_string());
            let mut rows: Vec<i64> =
                sql::rows(conn, text, &[&since, &recipients, &addresses, &limit], |row| row.get(0))?;
            rows.reverse();
            rows.into_iter().filter_map(|row| told(conn, row).transpose()).collect()
        })
        .await
    }

    /// A slice of the records that are kept with their content, newest first, from below row `before`: those that hold
    /// `text` anywhere, in any case of A to Z. `None` as the second: there are no more to look into.
    pub async fn holding(&self, text: String, before: i64) -> Result<(Vec<Told>, Option<i64>), StoreError> {
        self.read(move |conn| {
            let slice = "SELECT id FROM record WHERE id<$1 AND body IS NOT NULL ORDER BY id DESC LIMIT $2";
            let last: Vec<i64> = sql::rows(conn, slice, &[&before, &SLICE], |row| row.get(0))?;
            let Some(last) = last.last().copied() else { return Ok((Vec::new(), None)) };
            let found =
                "SELECT id FROM record WHERE id<$1 AND id>=$2 AND instr(lower(CAST(body AS TEXT)),lower($3))>0 ORDER BY id DESC";
            let rows: Vec<i64> = sql::rows(conn, found, &[&before, &last, &text], |row| row.get(0))?;
            let told = rows.into_iter().filter_map(|row| told(conn, row).transpose()).collect::<Result<_>>()?;
            Ok((told, Some(last)))
        })
        .await
    }
}

fn told(conn: &Connection, row: i64) -> Result<Option<Told>> {
    let key = "SELECT key FROM record WHERE id=$1";
    let Some(identity) = sql::first::<[u8; 32]>(conn, key, &[&row])? else { return Ok(None) };
    let Some(kept) = outbox::kept(conn, "id=$1", row)?.into_iter().next() else { return Ok(None) };
    let (identity, at) = (Identity(identity), kept.at);
    Ok(Some(Told { identity, history: of_identity(conn, identity, Some(at), &[])?, kept }))
}

/// An id begins with its record's day, or with 0 where the record does not tell it (`NotificationId`): two stretches of the
/// ledger, instead of all of it.
fn of_identity(
    conn: &Connection,
    identity: Identity,
    at: Option<Timestamp>,
    ids: &[NotificationId],
) -> Result<Vec<Event>> {
    let columns = "SELECT n.id, n.at, n.verdict, n.reason, n.rule, coalesce(m.recipient,n.recipient), \
          m.id, m.key, m.channel, m.state, m.created_at, m.done_at, m.attempts, m.reply \
        FROM notification n JOIN record r ON r.id=n.record LEFT JOIN message m ON m.id=n.message";
    let days: BTreeSet<u32> = at.and_then(|at| u32::try_from(at.day()).ok()).into_iter().chain([0]).collect();
    let mut found = BTreeMap::new();
    for day in days {
        let (from, to) = (prefix(day), prefix(day.saturating_add(1)));
        let params: [&dyn ToSql; 3] = [&from, &to, &identity.0];
        let text = format!("{columns} WHERE n.id>=$1 AND n.id<$2 AND r.key=$3");
        found.extend(sql::rows(conn, &text, &params, row)?);
    }
    for id in ids {
        found.extend(sql::rows(conn, &format!("{columns} WHERE n.id=$1"), &[&id.0], row)?);
    }
    let mut history = Vec::with_capacity(found.len());
    for (message, end) in found.into_values() {
        if let Some(message) = message {
            history.extend(outbox::tries(conn, message)?.into_iter().filter_map(|tried| before(&end, tried)));
        }
        history.push(end);
    }
    history.sort_by(|a, b| (a.time, &a.notification, a.attempt).cmp(&(b.time, &b.notification, b.attempt)));
    Ok(history)
}

/// A notification as it stands, by its id, with the number of its message.
type Standing = ([u8; 16], (Option<i64>, Event));

fn row(row: &Row<'_>) -> Result<Standing> {
    let id: [u8; 16] = row.get(0)?;
    let number: Option<i64> = row.get(6)?;
    let key = row.get::<_, Option<[u8; 16]>>(7)?.map(|key| NotificationId(key).to_string());
    let base = Event {
        time: row.get(1)?,
        notification: NotificationId(id).to_string(),
        verdict: verdict(row.get(2)?),
        reason: row.get(3)?,
        message: key,
        attempt: None,
        reply: None,
        rule: row.get(4)?,
        channel: row.get(8)?,
        recipient: row.get(5)?,
    };
    let Some(number) = number else { return Ok((id, (None, base))) };
    let state = State::from_code(row.get(9)?);
    let at = match row.get::<_, Option<Timestamp>>(11)? {
        Some(done) => done,
        None => row.get(10)?,
    };
    let attempt = row.get::<_, u32>(12)?;
    let end = Event {
        time: at,
        verdict: state.map_or("unknown", State::name),
        attempt: (attempt > 0).then_some(attempt),
        reply: row.get(13)?,
        ..base
    };
    Ok((id, (Some(number), end)))
}

/// An attempt that is not the end itself, as an event of the same notification.
fn before(end: &Event, Try { n, at, verdict, reply, .. }: Try) -> Option<Event> {
    let is_end = end.attempt == Some(n) && matches!(verdict, "sent" | "never");
    let event = Event { time: at, verdict, reason: None, attempt: Some(n), reply, ..end.clone() };
    (!is_end).then_some(event)
}

fn prefix(day: u32) -> Vec<u8> {
    day.to_be_bytes().to_vec()
}

fn verdict(code: i64) -> &'static str {
    let all = [
        Verdict::Message,
        Verdict::Sent,
        Verdict::Failed,
        Verdict::Expired,
        Verdict::Cancelled,
        Verdict::Discarded,
        Verdict::Silenced,
        Verdict::Muted,
        Verdict::Skipped,
        Verdict::Shadow,
        Verdict::Duplicate,
    ];
    all.into_iter().find(|verdict| *verdict as i64 == code).map_or("unknown", Verdict::as_str)
}
