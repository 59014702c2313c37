//! Owns the brake: how many new messages of a rule may leave a channel at once. What is beyond that is held: it has no due
//! row, does not expire and is not purged, until an operator releases or discards it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Result, Row};

use super::batch::{Accepted, Trip};
use super::ledger::{Entry, Place};
use super::writer::Writer;
use super::{internal, sql};
use crate::clock::Timestamp;
use crate::plan::Throttle;
use crate::record::own::Own;

/// How far a window may seem to begin after now without the clock having gone back: batches of different times meet here.
const CLOCK_STEP: Duration = Duration::from_mins(1);

/// Holds those of `entries`, given in the order in which they would leave, that open a message beyond the limit of their
/// rule. Only those count: whatever joins a message is no message of its own. Once per
/// window the log is told that a brake holds, and once the rules are, by a record of our own: with the first that is held,
/// whether the limit was reached or lowered.
pub(super) fn hold(w: &Writer, entries: &mut [Entry<'_>], now: Timestamp, accepted: &mut Accepted) -> Result<()> {
    // Sorted, so that two stores on one database cannot lock each other out.
    let mut braked: BTreeMap<(Arc<str>, Arc<str>), Vec<&mut Entry<'_>>> = BTreeMap::new();
    for entry in entries.iter_mut().filter(|entry| entry.place == Place::Opens && entry.intent.throttle.is_some()) {
        let key = (entry.intent.channel.clone(), entry.intent.rule.clone());
        braked.entry(key).or_default().push(entry);
    }
    for ((channel, rule), entries) in braked {
        let Some(throttle) = entries.first().and_then(|entry| entry.intent.throttle) else { continue };
        // A channel's name has no colon, so no two pairs share a key.
        let key = format!("{channel}:{rule}");
        let new = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let window = enter(w, &key, throttle, new, now)?;
        let free = usize::try_from(i64::from(throttle.max) - window.before).unwrap_or(0);
        let held = entries.len().saturating_sub(free) as u64;
        if held == 0 {
            continue;
        }
        // Whatever stems from a record of our own never causes another.
        let mut foreign = false;
        for entry in entries.into_iter().skip(free) {
            entry.place = Place::Held;
            foreign |= !entry.record.dialect.starts_with("auditbell.");
        }
        if foreign && !window.told {
            let held = Own::Held { channel: channel.clone(), rule: rule.clone() };
            internal::write(&w.conn, &held.json(now))?;
        }
        if !window.logged {
            accepted.trips.push(Trip { rule: rule.clone(), channel: channel.clone(), throttle });
        }
        sql::run(&w.conn, sql::THROTTLE_HOLDS, &[&key, &(window.told || foreign)])?;
        accepted.held.push((rule, channel, held));
    }
    Ok(())
}

/// A brake's window, as it was when more messages came.
#[derive(Default)]
struct Window {
    /// How many messages began in it before these.
    before: i64,
    /// The log was told that the brake holds.
    logged: bool,
    /// The rules were.
    told: bool,
}

/// Counts `new` messages into the window of `key`, or into one that begins now.
fn enter(w: &Writer, key: &str, throttle: Throttle, new: i64, now: Timestamp) -> Result<Window> {
    sql::run(&w.conn, sql::THROTTLE_OVER, &[&key, &now.minus(throttle.per), &now.plus(CLOCK_STEP)])?;
    let read =
        |row: &Row<'_>| Ok(Window { before: row.get::<_, i64>(0)? - new, logged: row.get(1)?, told: row.get(2)? });
    Ok(sql::rows(&w.conn, sql::THROTTLE, &[&key, &now, &new], read)?.into_iter().next().unwrap_or_default())
}
