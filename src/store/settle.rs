//! Owns the state table of a message: one verdict, written once, by whoever may.
//!
//! `Sent` wins over everything, whoever holds the claim; every other verdict is fenced by (owner, attempt).

use rusqlite::{Result, ToSql};

use super::message::severity;
use super::message::{Claim, Escalation, Settle, Settled, State, lane};
use super::writer::Writer;
use super::{StoreError, internal, refused, sql};
use crate::clock::Timestamp;
use crate::crash;
use crate::plan::NotificationId;
use crate::record::own::{GivenUp, Own};

/// Fewer crashes than this are forgiven by an attempt that ended with a verdict: it was not this message.
const FORGIVEN_BELOW: i64 = 3;

/// `attempt.verdict`.
#[derive(Clone, Copy)]
enum Tried {
    Sent = 1,
    Later = 2,
    Ambiguous = 3,
    Never = 4,
}

/// Writes one verdict; `false`: nothing was written, since the claim is no longer ours or the message was sent before.
pub(super) fn settle(w: &mut Writer, settle: &Settle) -> Result<bool, StoreError> {
    if crash::planted("any-owner") {
        sql::run(
            &w.conn,
            "UPDATE due SET owner=$1, attempt=$2 WHERE message=$3",
            &[&settle.claim.owner, &settle.claim.attempt, &settle.claim.message],
        )?;
    }
    let claim = &settle.claim;
    let written = match &settle.outcome {
        Settled::Sent { reference, digest } => return Ok(sent(w, settle, reference.as_deref(), digest)?),
        Settled::Later { due_at } => {
            let mine = hand_back(w, claim, *due_at)?;
            if mine {
                tried(w, settle, Tried::Later)?;
            }
            mine
        }
        Settled::Ambiguous { due_at, bytes } => {
            let mine = hand_back(w, claim, *due_at)?;
            if mine {
                tried(w, settle, Tried::Ambiguous)?;
                let digest = *blake3::hash(bytes).as_bytes();
                sql::run(&w.conn, sql::FREEZE, &[&claim.message, &&bytes[..], &digest])?;
            }
            mine
        }
        Settled::Hold { until } => {
            let [channel, lane, due_at, message, owner, attempt] = mine(claim);
            let params = [channel, lane, due_at, message, owner, attempt, until as &dyn ToSql];
            let mine = sql::run(&w.conn, sql::HOLD, &params)? == 1;
            if mine {
                w.lower_bound(&claim.channel, claim.lane, *until);
                if !settle.reply.is_empty() {
                    sql::run(&w.conn, "UPDATE message SET reply=$2 WHERE id=$1", &[&claim.message, &settle.reply])?;
                }
            }
            mine
        }
        Settled::Never { .. } => never(w, settle)?,
    };
    if let (true, Some(address), Some(until)) = (written, &settle.address, settle.refused_until) {
        refused::write(&w.conn, &claim.channel, address, until)?;
    }
    // A claim that was not ours any more says nothing of the one that may be in hand now.
    if written {
        w.out_of_hand(claim.message);
    }
    Ok(written)
}

/// The parameters of a statement that is fenced by (owner, attempt).
fn mine(claim: &Claim) -> [&dyn ToSql; 6] {
    [&claim.channel, &claim.lane, &claim.due_at, &claim.message, &claim.owner, &claim.attempt]
}

fn sent(w: &mut Writer, settle: &Settle, reference: Option<&str>, digest: &[u8; 32]) -> Result<bool> {
    let claim = &settle.claim;
    let params: [&dyn ToSql; 7] =
        [&claim.message, &settle.at, &claim.attempt, &settle.reply, &reference, digest, &settle.address];
    let written = sql::run(&w.conn, sql::SENT, &params)? == 1;
    let place: [&dyn ToSql; 4] = [&claim.channel, &claim.lane, &claim.due_at, &claim.message];
    if sql::run(&w.conn, sql::DROP_DUE, &place)? == 0 {
        // Freed and handed on meanwhile, or ended by somebody else: it was sent all the same.
        sql::run(&w.conn, sql::DROP_DUE_ANYWHERE, &[&claim.message])?;
        sql::run(&w.conn, sql::REASON, &[&claim.message, &None::<String>])?;
    }
    if written && claim.attempt > 1 {
        attempt_row(w, settle, Tried::Sent)?;
    }
    w.out_of_hand(claim.message);
    Ok(written)
}

/// Frees the row until `due_at`; `false` if it is not ours.
fn hand_back(w: &mut Writer, claim: &Claim, due_at: Timestamp) -> Result<bool> {
    let [channel, lane, was_due, message, owner, attempt] = mine(claim);
    let params: [&dyn ToSql; 8] = [channel, lane, was_due, message, owner, attempt, &due_at, &FORGIVEN_BELOW];
    let mine = sql::run(&w.conn, sql::HAND_BACK, &params)? == 1;
    if mine {
        w.lower_bound(&claim.channel, claim.lane, due_at);
    }
    Ok(mine)
}

fn tried(w: &Writer, settle: &Settle, verdict: Tried) -> Result<()> {
    let claim = &settle.claim;
    sql::run(&w.conn, sql::TRIED, &[&claim.message, &claim.attempt, &settle.reply, &settle.address])?;
    attempt_row(w, settle, verdict)
}

fn attempt_row(w: &Writer, settle: &Settle, verdict: Tried) -> Result<()> {
    let claim = &settle.claim;
    let params: [&dyn ToSql; 6] =
        [&claim.message, &claim.attempt, &settle.at, &(verdict as i64), &settle.code, &settle.reply];
    sql::run(&w.conn, sql::ATTEMPT, &params)?;
    Ok(())
}

fn never(w: &mut Writer, settle: &Settle) -> Result<bool> {
    let Settled::Never { state, reason, escalation, record } = &settle.outcome else { return Ok(false) };
    let claim = &settle.claim;
    if sql::run(&w.conn, sql::DROP_MY_DUE, &mine(claim))? == 0 {
        return Ok(false);
    }
    let state = State::from(*state);
    // One that was claimed only to be ended (it had expired, nobody is behind the recipient …) was not tried once more.
    let attempts = if settle.tried { claim.attempt } else { claim.attempt.saturating_sub(1) };
    let params: [&dyn ToSql; 6] =
        [&claim.message, &state.code(), &settle.at, &attempts, &settle.reply, &settle.address];
    sql::run(&w.conn, sql::END, &params)?;
    sql::run(&w.conn, sql::REASON, &[&claim.message, &reason])?;
    if settle.tried {
        attempt_row(w, settle, Tried::Never)?;
    }
    let round = round(w, claim.message)?;
    for escalation in escalation {
        escalate(w, claim.message, escalation, round, settle.at)?;
    }
    if let Some(record) = record {
        // What had no attempt of its own ended for what the last one met.
        let last = "SELECT code FROM attempt WHERE message=$1 AND code IS NOT NULL ORDER BY n DESC LIMIT 1";
        let code =
            settle.code.map_or_else(|| sql::first::<u16>(&w.conn, last, &[&claim.message]), |code| Ok(Some(code)))?;
        let record = Own::GivenUp(GivenUp { attempts, code, ..record.clone() });
        internal::write(&w.conn, &record.json(settle.at))?;
    }
    Ok(true)
}

/// A message that tells of the end of `message`, with a notification for each of that one's: it is about all its records.
fn escalate(w: &mut Writer, message: i64, escalation: &Escalation, round: i64, now: Timestamp) -> Result<()> {
    let Escalation { kind, recipient, channel, expires_at } = escalation;
    let (kind, id) = (*kind as i64, w.next_message);
    let told = "SELECT n.id FROM notification n JOIN message m ON m.id=n.message WHERE m.id=$1 ORDER BY n.id<>m.key";
    let told: Vec<NotificationId> = sql::rows(&w.conn, told, &[&message], |row| Ok(NotificationId(row.get(0)?)))?;
    let Some(key) = told.first().map(|first| first.escalation(kind, recipient, channel, round)) else { return Ok(()) };
    for old in told {
        let new = old.escalation(kind, recipient, channel, round);
        let written = sql::run(
            &w.conn,
            "INSERT INTO notification(id,at,record,message,rule,element,config,verdict) \
             SELECT $1,$2,record,$3,rule,element,config,0 FROM notification WHERE id=$4 ON CONFLICT(id) DO NOTHING",
            &[&new.0, &now, &id, &old.0],
        )?;
        if written == 0 {
            return Ok(()); // this very way stands in the fallback twice
        }
    }
    w.next_message += 1;
    let recipient = recipient.to_string();
    let params: [&dyn ToSql; 8] = [&id, &key.0, channel, &recipient, &kind, &now, expires_at, &message];
    let grave = sql::first::<i64>(
        &w.conn,
        "INSERT INTO message(id,key,channel,recipient,rule,rank,template,kind,title,severity,created_at,expires_at,state,attempts,stands_for) \
         SELECT $1,$2,$3,$4,rule,rank,template,$5,title,severity,$6,$7,0,0,id FROM message WHERE id=$8 RETURNING severity",
        &params,
    )?;
    let lane = lane(severity(grave.unwrap_or_default()));
    sql::run(&w.conn, sql::DUE, &[channel, &lane, &now, &id])?;
    w.lower_bound(channel, lane, now);
    Ok(())
}

/// How many messages tell of earlier ends of `message`: an operator may have tried it again since.
fn round(w: &Writer, message: i64) -> Result<i64> {
    Ok(sql::first(&w.conn, "SELECT count(*) FROM message WHERE stands_for=$1", &[&message])?.unwrap_or_default())
}
