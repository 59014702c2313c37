//! Owns how whole Kafka messages become rows: identity → groups → brake → rows.
//!
//! Identity first, since only what is new counts for a group or the brake: a replay changes neither.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Result, ToSql};

use super::batch::{Accepted, Planned};
use super::message::{State, URGENT, lane};
use super::writer::Writer;
use super::{brake, origin, sql};
use crate::clock::Timestamp;
use crate::compose::Kind;
use crate::plan::{Fate, Intent, Recipient, Verdict};

/// A notification that is new and to be sent, on its way to a message.
pub(super) struct Entry<'a> {
    pub intent: &'a Intent,
    pub record: &'a Planned,
    /// The number its message has if it gets one of its own.
    message: i64,
    due_at: Timestamp,
    expires_at: Timestamp,
    group: Option<&'a Arc<str>>,
    pub place: Place,
}

/// How a notification gets its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of its own, that may leave.
    Opens,
    /// One of its own, that the brake holds back.
    Held,
    /// The one that its group has already.
    Joins(i64),
}

/// Writes `envelopes`: records with their new notifications, and messages for those.
pub(super) fn write(
    w: &mut Writer,
    config: i64,
    envelopes: &[&[Planned]],
    now: Timestamp,
    accepted: &mut Accepted,
) -> Result<()> {
    let records: Vec<(i64, &Planned)> = (w.next_record..).zip(envelopes.iter().copied().flatten()).collect();
    w.next_record += i64::try_from(records.len()).unwrap_or(i64::MAX);
    let intents =
        records.iter().flat_map(|(id, record)| record.intents.iter().map(move |intent| (*id, *record, intent)));
    // Numbers rise in the order of the records, as messages leave; those of duplicates are left out.
    let mut intents: Vec<_> = (w.next_message..).zip(intents).collect();
    w.next_message += i64::try_from(intents.len()).unwrap_or(i64::MAX);
    intents.sort_by_key(|(_, (_, _, intent))| intent.id);
    let mut fresh = Vec::with_capacity(intents.len());
    let mut entries = Vec::with_capacity(intents.len());
    for (message, (id, record, intent)) in intents {
        if !notify(w, config, (id, message), intent, now)? {
            accepted.duplicates.push((intent.rule.clone(), intent.channel.clone()));
            continue;
        }
        fresh.push((id, record));
        match &intent.fate {
            Fate::Ends { verdict, reason } => {
                accepted.ended.push((intent.rule.clone(), intent.channel.clone(), *verdict, reason));
            }
            Fate::Send { due_at, expires_at, group } => {
                let (due_at, expires_at, group) = (*due_at, *expires_at, group.as_ref());
                entries.push(Entry { intent, record, message, due_at, expires_at, group, place: Place::Opens });
            }
        }
    }
    accepted.messages += entries.len() as u64;
    entries.sort_by_key(|entry| entry.message);
    matched(w, &records, now)?;
    join_groups(w, &mut entries)?;
    brake::hold(w, &mut entries, now, accepted)?;
    for entry in &entries {
        place(w, entry, now, accepted)?;
    }
    fresh.sort_by_key(|(id, _)| *id);
    fresh.dedup_by_key(|(id, _)| *id);
    fresh.iter().try_for_each(|(id, record)| keep(w, *id, record, now))
}

/// Notes that rules matched: one row for each rule in the batch, however many records it has.
fn matched(w: &Writer, records: &[(i64, &Planned)], now: Timestamp) -> Result<()> {
    let rules: BTreeSet<&Arc<str>> =
        records.iter().flat_map(|(_, record)| &record.intents).map(|intent| &intent.rule).collect();
    rules.into_iter().try_for_each(|rule| sql::run(&w.conn, sql::RULE_MATCHED, &[rule, &now]).map(drop))
}

/// One notification; `false` if its id was there before.
fn notify(w: &Writer, config: i64, (record, message): (i64, i64), intent: &Intent, now: Timestamp) -> Result<bool> {
    let (message, verdict, reason, recipient) = match &intent.fate {
        Fate::Send { .. } => (Some(message), Verdict::Message, None, None),
        Fate::Ends { verdict, reason } => (None, *verdict, Some(*reason), intent.recipient.as_ref()),
    };
    let params: [&dyn ToSql; 10] = [
        &intent.id.0,
        &now,
        &record,
        &message,
        &intent.rule,
        &intent.element,
        &recipient.map(Recipient::to_string),
        &config,
        &(verdict as i64),
        &reason,
    ];
    Ok(sql::run(&w.conn, sql::NOTIFY, &params)? == 1)
}

/// Finds the message of each open group, or opens the group with a due row. A group is open until its message is claimed
/// for the first time, so one whose message is held takes whoever comes.
fn join_groups(w: &Writer, entries: &mut [Entry<'_>]) -> Result<()> {
    for entry in entries {
        let Some(key) = entry.group else { continue };
        let open = if let Some(held) = sql::first::<i64>(&w.conn, sql::HELD_GROUP, &[key])? {
            held
        } else {
            let lane = lane(entry.intent.severity);
            let params: [&dyn ToSql; 5] = [&entry.intent.channel, &lane, &entry.due_at, &entry.message, key];
            sql::first(&w.conn, sql::JOIN_GROUP, &params)?.unwrap_or(entry.message)
        };
        if open != entry.message {
            entry.place = Place::Joins(open);
        }
    }
    Ok(())
}

/// The rows of one entry: a message with or without a due row, or its place in another's.
fn place(w: &mut Writer, entry: &Entry<'_>, now: Timestamp, accepted: &mut Accepted) -> Result<()> {
    let Entry { intent, message, due_at, group, .. } = entry;
    let severity = intent.severity as i64;
    let lane = lane(intent.severity);
    let due: [&dyn ToSql; 4] = [&intent.channel, &lane, due_at, message];
    let (state, open_key) = match entry.place {
        Place::Joins(open) => {
            sql::run(&w.conn, sql::ASSIGN, &[&intent.id.0, &open])?;
            let params: [&dyn ToSql; 7] =
                [&open, &intent.rank, &intent.rule, &intent.template, &intent.title, &severity, &entry.expires_at];
            sql::run(&w.conn, sql::JOIN_MESSAGE, &params)?;
            if lane == URGENT
                && let Some(due_at) = sql::first::<Timestamp>(&w.conn, sql::HURRY, &[group, &lane])?
            {
                w.lower_bound(&intent.channel, lane, due_at);
                accepted.wake(&intent.channel);
            }
            return Ok(());
        }
        Place::Held => {
            if group.is_some() {
                sql::run(&w.conn, sql::DROP_DUE, &due)?;
            }
            (State::Held, *group)
        }
        Place::Opens => {
            if group.is_none() {
                sql::run(&w.conn, sql::DUE, &due)?;
            }
            w.lower_bound(&intent.channel, lane, *due_at);
            accepted.wake(&intent.channel);
            (State::Pending, None)
        }
    };
    let params: [&dyn ToSql; 14] = [
        message,
        &intent.id.0,
        &intent.channel,
        &intent.recipient.as_ref().map(Recipient::to_string),
        &intent.rule,
        &intent.rank,
        &intent.template,
        &(Kind::Normal as i64),
        &intent.title,
        &severity,
        &now,
        &entry.expires_at,
        &state.code(),
        &open_key,
    ];
    sql::run(&w.conn, sql::MESSAGE, &params)?;
    Ok(())
}

fn keep(w: &Writer, id: i64, record: &Planned, now: Timestamp) -> Result<()> {
    let params: [&dyn ToSql; 8] = [
        &id,
        &record.identity,
        &record.at,
        &now,
        &record.broker_time,
        &record.dialect,
        &origin::text(&record.position),
        &&record.body[..],
    ];
    sql::run(&w.conn, sql::RECORD, &params)?;
    Ok(())
}
