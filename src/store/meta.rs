//! Owns the notes of the daemon and its commands to each other (table `meta`), and the row that an order leaves.

use super::writer::Mark;
use super::{Store, StoreError, operate, sql};
use crate::clock::Timestamp;

impl Store {
    /// Writes the note `key` over the one before.
    pub async fn note(&self, key: &'static str, value: Vec<u8>) -> Result<(), StoreError> {
        let upsert = "INSERT INTO meta(key,value) VALUES($1,$2) ON CONFLICT(key) DO UPDATE SET value=excluded.value";
        self.write(Mark::Other, move |w| Ok::<_, StoreError>(sql::run(&w.conn, upsert, &[&key, &value])?)).await?;
        Ok(())
    }

    /// The note `key`, if there is one.
    pub async fn noted(&self, key: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |conn| sql::first(conn, "SELECT value FROM meta WHERE key=$1", &[&key])).await
    }

    /// Leaves the row of an order that changes nothing in the store: who, when, what.
    pub async fn ordered(&self, who: &str, what: &'static str, now: Timestamp) -> Result<(), StoreError> {
        let who = who.to_owned();
        self.write(Mark::Other, move |w| Ok::<_, StoreError>(operate::leave_row(w, &who, what, now)?)).await
    }
}
