//! Owns the mailboxes that were refused for good, each for the channel whose other side said so: nothing is sent there for a
//! while, unless an operator asks for it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, Result};

use super::{Store, StoreError, sql};
use crate::clock::Timestamp;

/// Every mailbox that may stand in the table. Asked first, so that a mail to any other costs no statement; the table has the
/// last word, for the command line takes rows away. It only grows, up to the people there are.
#[derive(Default)]
pub(super) struct Suspects(Mutex<HashSet<(Box<str>, Box<str>)>>);

impl Suspects {
    /// Those of the table.
    pub(super) fn load(conn: &Connection) -> Result<Self> {
        let all = sql::rows(conn, "SELECT channel, address FROM refused", &[], |row| {
            Ok((row.get::<_, Box<str>>(0)?, row.get::<_, Box<str>>(1)?))
        })?;
        Ok(Self(Mutex::new(all.into_iter().collect())))
    }

    pub(super) fn contain(&self, channel: &str, address: &str) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !all.is_empty() && all.contains(&(channel.into(), folded(address).into()))
    }

    pub(super) fn add(&self, channel: &str, address: &str) {
        let all = &mut self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((channel.into(), folded(address).into()));
    }
}

impl Store {
    /// Whether `channel` was told for good, and not too long ago, that it cannot have a mail for `address`.
    pub async fn is_refused(&self, channel: &str, address: &str, now: Timestamp) -> Result<bool, StoreError> {
        if !self.shared.refused.contain(channel, address) {
            return Ok(false);
        }
        let (channel, address) = (channel.to_owned(), address.to_owned());
        self.read(move |conn| stands(conn, &channel, &address, now)).await
    }
}

/// RFC 5321 2.4 leaves the case of the part before the `@` to the host; none that we mail to tells people apart by it.
fn folded(address: &str) -> String {
    address.to_ascii_lowercase()
}

/// `address` was refused; nothing goes there before `until`.
pub(super) fn write(conn: &Connection, channel: &str, address: &str, until: Timestamp) -> Result<()> {
    let text = "INSERT INTO refused(channel,address,until) VALUES($1,$2,$3) \
        ON CONFLICT(channel,address) DO UPDATE SET until=excluded.until";
    sql::run(conn, text, &[&channel, &folded(address), &until])?;
    Ok(())
}

/// Whether the refusal of `address` stands.
pub(super) fn stands(conn: &Connection, channel: &str, address: &str, now: Timestamp) -> Result<bool> {
    let text = "SELECT 1 FROM refused WHERE channel=$1 AND address=$2 AND until>$3";
    Ok(sql::first::<i64>(conn, text, &[&channel, &folded(address), &now])?.is_some())
}

/// An operator wants `message` tried again: whatever its mailbox was refused for may have been mended.
pub(super) fn lift(conn: &Connection, message: i64) -> Result<()> {
    let text = "DELETE FROM refused WHERE (channel,address) IN \
        (SELECT channel, lower(address) FROM message WHERE id=$1 AND address IS NOT NULL)";
    sql::run(conn, text, &[&message])?;
    Ok(())
}
