//! Owns what an operator changes in the outbox: one action on many messages, each of which is changed or says why not.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Result, ToSql};
use serde::Serialize;

use super::super::message::{self, State};
use super::super::writer::{Mark, Writer};
use super::super::{Store, StoreError, refused, sql};
use super::{leave_row, outbox};
use crate::clock::Timestamp;
use crate::plan::{NotificationId, Recipient};

/// How long a message that an operator sets going has at least before it is too late.
const SPAN: Duration = Duration::from_hours(24);
/// Messages per transaction: a daemon beside us waits for some tens of milliseconds.
const SLICE: usize = 500;
/// Pause between transactions. Whoever waits for SQLite's lock looks every 100 ms, so without it a daemon would starve.
const GIVE_WAY: Duration = Duration::from_millis(150);

/// What is to be done with messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Due now: what waits, failed, expired or was cancelled.
    Retry,
    /// Ends what waits.
    Cancel,
    /// Lets go what the brake holds.
    Release,
    /// Ends what the brake holds.
    Discard,
    /// To another channel: what waits or is held.
    Move {
        /// Channel name.
        to: Arc<str>,
        /// Is that channel the recipient itself?
        room: bool,
    },
}

/// What became of a change to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Written.
    Done,
    /// No such message.
    Unknown,
    /// A worker holds it: try again.
    BeingSent,
    /// It is in a state from which this change leads nowhere.
    Ended(State),
    /// Its records are past the content retention: there is nothing left to write a mail from.
    ContentGone,
    /// It is on that channel already.
    There,
    /// It is for a person, and that channel is a room; or the other way round.
    OtherKind,
}

/// Which messages an action is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// What the brake holds.
    Held {
        /// Only of this rule.
        rule: Option<String>,
        /// Only of this channel.
        channel: Option<String>,
    },
    /// What waits or is held on this channel.
    Unfinished {
        /// Channel name.
        channel: String,
    },
}

/// How many messages of one rule and channel wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "columns of `message`")]
pub struct Waiting {
    pub rule: String,
    pub channel: String,
    pub messages: i64,
    pub oldest: Timestamp,
}

impl Store {
    /// The keys of the messages that `which` means, in the order in which they came.
    pub async fn select(&self, which: Which) -> Result<Vec<NotificationId>, StoreError> {
        self.read(move |conn| select(conn, &which)).await
    }

    /// What the brake holds, by rule and channel.
    pub async fn held(&self) -> Result<Vec<Waiting>, StoreError> {
        self.read(|conn| {
            let text =
                "SELECT rule, channel, count(*), min(created_at) FROM message WHERE state=5 GROUP BY channel, rule";
            sql::rows(conn, text, &[], |row| {
                Ok(Waiting { rule: row.get(0)?, channel: row.get(1)?, messages: row.get(2)?, oldest: row.get(3)? })
            })
        })
        .await
    }

    /// Does `action` to each message of `ids` (any notification's id will do), in slices; what became of each, in order.
    /// `said` is what the operator asked for, kept with `who` and how many were changed.
    pub async fn change(
        &self,
        action: &Action,
        ids: &[NotificationId],
        (who, said): (&str, &str),
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        self.in_slices(action, ids, Some((who, said)), now).await
    }

    /// What [`Self::change`] would do now; nothing is changed.
    pub async fn try_change(
        &self,
        action: &Action,
        ids: &[NotificationId],
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        self.in_slices(action, ids, None, now).await
    }

    /// `order`: who wants it, and the words; without one all is taken back.
    async fn in_slices(
        &self,
        action: &Action,
        ids: &[NotificationId],
        order: Option<(&str, &str)>,
        now: Timestamp,
    ) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::with_capacity(ids.len());
        for slice in ids.chunks(SLICE) {
            if !changes.is_empty() {
                tokio::time::sleep(GIVE_WAY).await;
            }
            let (action, slice) = (action.clone(), slice.to_vec());
            let order = order.map(|(who, said)| (who.to_owned(), said.to_owned()));
            let work = move |w: &mut Writer| Ok::<_, StoreError>(slice_of(w, &action, &slice, order.as_ref(), now)?);
            changes.extend(self.write(Mark::Other, work).await?);
        }
        Ok(changes)
    }
}

fn slice_of(
    w: &mut Writer,
    action: &Action,
    ids: &[NotificationId],
    order: Option<&(String, String)>,
    now: Timestamp,
) -> Result<Vec<Change>> {
    sql::run(&w.conn, "SAVEPOINT slice", &[])?;
    let changes = ids.iter().map(|id| change(w, action, *id, now)).collect::<Result<Vec<_>>>()?;
    let done = changes.iter().filter(|change| **change == Change::Done).count();
    match order {
        None => drop(sql::run(&w.conn, "ROLLBACK TO slice", &[])?),
        Some((who, said)) if done > 0 => leave_row(w, who, &format!("{said}: {done}"), now)?,
        Some(_) => {}
    }
    sql::run(&w.conn, "RELEASE slice", &[])?;
    w.bounds.clear();
    Ok(changes)
}

fn select(conn: &Connection, which: &Which) -> Result<Vec<NotificationId>> {
    let key = |row: &rusqlite::Row<'_>| Ok(NotificationId(row.get(0)?));
    match which {
        Which::Held { rule, channel } => {
            let text = "SELECT key FROM message WHERE state=5 AND ($1 IS NULL OR rule=$1) AND ($2 IS NULL OR channel=$2) \
                ORDER BY id";
            sql::rows(conn, text, &[rule, channel], key)
        }
        Which::Unfinished { channel } => {
            let text = "SELECT key FROM message WHERE id IN (SELECT message FROM due WHERE channel=$1 \
                UNION ALL SELECT id FROM message WHERE state=5 AND channel=$1) ORDER BY id";
            sql::rows(conn, text, &[channel], key)
        }
    }
}

/// A message as it stands.
struct Standing {
    state: State,
    /// 0 = nobody.
    owner: i64,
    channel: String,
    recipient: String,
}

fn standing(w: &Writer, message: i64) -> Result<Option<Standing>> {
    let text = "SELECT m.state, coalesce((SELECT owner FROM due d WHERE d.message=m.id),0), m.channel, m.recipient \
        FROM message m WHERE m.id=$1";
    let read = |row: &rusqlite::Row<'_>| {
        let state = State::from_code(row.get(0)?).ok_or_else(|| sql::unreadable(0, "no state that we know"))?;
        Ok(Standing { state, owner: row.get(1)?, channel: row.get(2)?, recipient: row.get(3)? })
    };
    Ok(sql::rows(&w.conn, text, &[&message], read)?.into_iter().next())
}

fn change(w: &Writer, action: &Action, id: NotificationId, now: Timestamp) -> Result<Change> {
    let Some(message) = outbox::number(&w.conn, id)? else { return Ok(Change::Unknown) };
    let Some(standing) = standing(w, message)? else { return Ok(Change::Unknown) };
    if standing.owner != 0 {
        return Ok(Change::BeingSent);
    }
    match (action, standing.state) {
        (Action::Retry, State::Pending) => {
            sql::run(&w.conn, "UPDATE due SET due_at=$2, open_key=NULL WHERE message=$1", &[&message, &now])?;
            reopen(w, message, now)?;
        }
        (Action::Retry, State::Failed | State::Expired | State::Cancelled) => {
            if content_is_gone(w, message)? {
                return Ok(Change::ContentGone);
            }
            sql::run(&w.conn, sql::REASON, &[&message, &None::<String>])?;
            set_going(w, message, now)?;
        }
        (Action::Release, State::Held) => set_going(w, message, now)?,
        (Action::Cancel, State::Pending) => end(w, message, State::Cancelled, now)?,
        (Action::Discard, State::Held) => end(w, message, State::Discarded, now)?,
        (Action::Move { to, room }, State::Pending | State::Held) => {
            return relocate(w, message, &standing, (to, *room), now);
        }
        (_, state) => return Ok(Change::Ended(state)),
    }
    if matches!(action, Action::Retry) {
        refused::lift(&w.conn, message)?;
    }
    Ok(Change::Done)
}

/// Is there nothing left to write a message from?
fn content_is_gone(w: &Writer, message: i64) -> Result<bool> {
    let gone = "SELECT count(*) FROM notification n JOIN message m ON m.id=n.message \
        LEFT JOIN record r ON r.id=n.record WHERE n.message=$1 AND r.body IS NULL AND m.body IS NULL";
    Ok(sql::first::<i64>(&w.conn, gone, &[&message])? != Some(0))
}

/// A due row for a message that has none. A group that is still open stays so until the message is claimed.
fn set_going(w: &Writer, message: i64, now: Timestamp) -> Result<()> {
    let due = "INSERT INTO due(channel,lane,due_at,message,owner,attempt,suspect,open_key,joined) \
        SELECT channel, CASE WHEN severity>=$3 THEN $4 ELSE $5 END, $2, id, 0, attempts, 0, open_key, \
        (SELECT count(*) FROM notification n WHERE n.message=$1) FROM message WHERE id=$1";
    let urgent = crate::record::Severity::High as i64;
    sql::run(&w.conn, due, &[&message, &now, &urgent, &message::URGENT, &message::ORDINARY])?;
    reopen(w, message, now)
}

fn reopen(w: &Writer, message: i64, now: Timestamp) -> Result<()> {
    let open = "UPDATE message SET state=0, done_at=NULL, open_key=NULL, \
        expires_at=CASE WHEN expires_at<$2 THEN $2 ELSE expires_at END WHERE id=$1";
    sql::run(&w.conn, open, &[&message, &now.plus(SPAN)])?;
    Ok(())
}

fn end(w: &Writer, message: i64, state: State, now: Timestamp) -> Result<()> {
    sql::run(&w.conn, sql::DROP_DUE_ANYWHERE, &[&message])?;
    let end = "UPDATE message SET state=$2, done_at=$3, open_key=NULL WHERE id=$1";
    sql::run(&w.conn, end, &[&message, &state.code(), &now])?;
    Ok(())
}

/// To another channel of its kind: what waits at once, what is held to be held there. Its group is closed: the key is of the channel that it leaves. What a room was
/// given in the old channel's form is written anew; the bytes of a mail stay, since they may have arrived.
fn relocate(
    w: &Writer,
    message: i64,
    standing: &Standing,
    (to, room): (&Arc<str>, bool),
    now: Timestamp,
) -> Result<Change> {
    if *standing.channel == **to {
        return Ok(Change::There);
    }
    if standing.recipient.parse().is_ok_and(|old: Recipient| matches!(old, Recipient::Room(_)) != room) {
        return Ok(Change::OtherKind);
    }
    let recipient = if room { Recipient::Room(to.clone()).to_string() } else { standing.recipient.clone() };
    let moved = "UPDATE message SET channel=$2, recipient=$3, open_key=NULL, \
        body=CASE WHEN $4 THEN NULL ELSE body END, digest=CASE WHEN $4 THEN NULL ELSE digest END, \
        expires_at=CASE WHEN expires_at<$5 THEN $5 ELSE expires_at END WHERE id=$1";
    let params: [&dyn ToSql; 5] = [&message, to, &recipient, &room, &now.plus(SPAN)];
    sql::run(&w.conn, moved, &params)?;
    let due = "UPDATE due SET channel=$2, due_at=$3, open_key=NULL WHERE message=$1";
    sql::run(&w.conn, due, &[&message, to, &now])?;
    Ok(Change::Done)
}
