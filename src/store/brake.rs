//! Owns the brake: how many new messages of a rule may leave a channel at once. What is beyond that is held: it has no due
//! row, does not expire and is not purged, until an operator releases or discards it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Result, ToSql};

use super::batch::{Accepted, Trip};
use super::ledger::{Entry, Place};
use super::writer::Writer;
use super::{internal, sql};
use crate::clock::Timestamp;
use crate::record::own::Own;

/// Holds those of `entries`, given in the order in which they would leave, that open a message beyond the limit of their
/// rule. Only those count: whatever joins a message is no message of its own. Once per
/// window the rules are told that a brake holds, by a record of our own.
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
        let params: [&dyn ToSql; 4] = [&key, &now, &now.minus(throttle.per), &new];
        let count = sql::first::<i64>(&w.conn, sql::THROTTLE, &params)?.unwrap_or(new);
        let before = count - new;
        let free = usize::try_from(i64::from(throttle.max) - before).unwrap_or(0);
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
        if before <= i64::from(throttle.max) {
            if foreign {
                let held = Own::Held { channel: channel.clone(), rule: rule.clone() };
                internal::write(&w.conn, &held.json(now))?;
            }
            accepted.trips.push(Trip { rule: rule.clone(), channel: channel.clone(), throttle });
        }
        accepted.held.push((rule, channel, held));
    }
    Ok(())
}
