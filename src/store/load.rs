//! Owns reading a window of claimed messages, each with its records, in one statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Result, Row};

use super::message::{self, Claim, Loaded, LoadedRecord, RECORDS, State};
use super::{origin, sql};
use crate::plan::{Extent, NotificationId, Recipient};

/// What a window came to.
pub(super) struct Window {
    /// In the order of the claims.
    pub loaded: Vec<Loaded>,
    /// Claimed messages that are final or gone: their due rows must be dropped.
    pub finished: Vec<Claim>,
}

/// One claimed message while its rows come in.
struct Partial {
    message: Loaded,
    /// By id, so that a record that joined through two rules stands once, and in the order of arrival.
    records: BTreeMap<i64, LoadedRecord>,
}

/// Loads `claims`; the records of each message are sorted by their own time.
pub(super) fn load(conn: &Connection, claims: Vec<Claim>) -> Result<Window> {
    let ids: Vec<i64> = claims.iter().map(|claim| claim.message).collect();
    let list = format!("{ids:?}");
    let mut found: BTreeMap<usize, Partial> = BTreeMap::new();
    sql::rows(conn, sql::LOAD, &[&list], |row| {
        let place = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
        let Some(claim) = claims.get(place).filter(|_| row.get(1) == Ok(State::Pending.code())) else {
            return Ok(());
        };
        let partial = match found.entry(place) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Partial { message: read_message(row, claim)?, records: BTreeMap::new() })
            }
        };
        let rule = row.get::<_, Option<Arc<str>>>(20)?.unwrap_or_else(|| partial.message.rule.clone());
        *partial.message.counts.entry(rule).or_default() += 1;
        let Some(record) = row.get::<_, Option<i64>>(13)? else { return Ok(()) };
        let element = row.get::<_, Option<Arc<str>>>(21)?;
        if let Some(known) = partial.records.get_mut(&record) {
            known.extent.add(element);
        } else if partial.records.len() < RECORDS {
            partial.records.insert(record, read_record(row, Extent::of(element))?);
        }
        Ok(())
    })?;
    let finished = (0..).zip(claims).filter(|(place, _)| !found.contains_key(place)).map(|(_, claim)| claim).collect();
    let loaded = found.into_values().map(|Partial { mut message, records }| {
        message.records = records.into_values().collect();
        message.records.sort_by_key(|record| record.at);
        message
    });
    Ok(Window { loaded: loaded.collect(), finished })
}

fn read_message(row: &Row<'_>, claim: &Claim) -> Result<Loaded> {
    let recipient: String = row.get(3)?;
    Ok(Loaded {
        claim: claim.clone(),
        key: NotificationId(row.get(2)?),
        recipient: recipient.parse().map_err(|_| sql::unreadable(3, "recipient"))?,
        rule: row.get(4)?,
        template: row.get(5)?,
        kind: message::kind(row.get(6)?).ok_or_else(|| sql::unreadable(6, "kind"))?,
        title: row.get(7)?,
        severity: message::severity(row.get(8)?),
        address: row.get(9)?,
        created_at: row.get(10)?,
        expires_at: row.get(11)?,
        frozen: row.get::<_, Option<Vec<u8>>>(12)?.map(Bytes::from),
        about: about(row)?,
        counts: BTreeMap::new(),
        records: Vec::new(),
    })
}

/// With an escalation: whom the message it stands for was for, and why that one ended.
fn about(row: &Row<'_>) -> Result<Option<(Recipient, Arc<str>)>> {
    let Some(recipient) = row.get::<_, Option<String>>(18)? else { return Ok(None) };
    let recipient = recipient.parse().map_err(|_| sql::unreadable(18, "recipient"))?;
    Ok(Some((recipient, row.get::<_, Option<Arc<str>>>(19)?.unwrap_or_default())))
}

fn read_record(row: &Row<'_>, extent: Extent) -> Result<LoadedRecord> {
    let place: String = row.get(14)?;
    Ok(LoadedRecord {
        position: origin::parse(&place).ok_or_else(|| sql::unreadable(14, "origin"))?,
        at: row.get(15)?,
        broker_time: row.get(16)?,
        body: row.get::<_, Option<Vec<u8>>>(17)?.map(Bytes::from),
        extent,
    })
}
