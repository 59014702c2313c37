//! Owns where each partition is read, when each rule was first active, and which config decided.

use std::sync::Arc;

use rusqlite::{Connection, Result, Row, ToSql};

use super::writer::Mark;
use super::{Store, StoreError, sql};
use crate::clock::Timestamp;

/// One row of `position`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "columns of `position`")]
pub struct PositionRow {
    pub source: Arc<str>,
    pub topic: Arc<str>,
    pub partition: i32,
    pub cluster: String,
    pub next: i64,
    pub at: Timestamp,
    pub bad: u32,
}

/// What the start table decided for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Kafka topic.
    pub topic: Arc<str>,
    /// Kafka partition.
    pub partition: i32,
    /// The position it decided from; `None`: there was no row.
    pub from: Option<i64>,
    /// Where to read next.
    pub next: i64,
}

const COLUMNS: &str = "SELECT source, topic, part, cluster, next, at, bad FROM position";

fn read(row: &Row<'_>) -> Result<PositionRow> {
    Ok(PositionRow {
        source: row.get(0)?,
        topic: row.get(1)?,
        partition: row.get(2)?,
        cluster: row.get(3)?,
        next: row.get(4)?,
        at: row.get(5)?,
        bad: row.get(6)?,
    })
}

/// All positions of one source.
pub(super) fn of_source(conn: &Connection, source: &str) -> Result<Vec<PositionRow>> {
    sql::rows(conn, &format!("{COLUMNS} WHERE source=$1 ORDER BY topic, part"), &[&source], read)
}

/// All positions of all sources.
pub(super) fn all(conn: &Connection) -> Result<Vec<PositionRow>> {
    sql::rows(conn, &format!("{COLUMNS} ORDER BY source, topic, part"), &[], read)
}

/// Writes what the start table decided, unless the row is not what it decided from. A `cluster` that is not known (empty)
/// leaves the one that was.
pub(super) fn place(
    conn: &Connection,
    source: &str,
    cluster: &str,
    rows: &[Placement],
    now: Timestamp,
) -> Result<(), StoreError> {
    for Placement { topic, partition, from, next } in rows {
        let params: [&dyn ToSql; 6] = [&source, topic, partition, &cluster, next, &now];
        match from {
            None => sql::run(
                conn,
                "INSERT INTO position(source,topic,part,cluster,next,at) VALUES($1,$2,$3,$4,$5,$6) \
                 ON CONFLICT(source,topic,part) DO NOTHING",
                &params,
            )?,
            Some(from) => sql::run(
                conn,
                "UPDATE position SET cluster=CASE WHEN $4='' THEN cluster ELSE $4 END, next=$5, at=$6, bad=CASE WHEN next=$5 THEN bad ELSE 0 END \
                 WHERE source=$1 AND topic=$2 AND part=$3 AND next=$7",
                &[params[0], params[1], params[2], params[3], params[4], params[5], from],
            )?,
        };
    }
    Ok(())
}

/// When each rule was first active.
pub(super) fn rules_seen(
    conn: &Connection,
    rules: &[Arc<str>],
    since: Timestamp,
) -> Result<Vec<(Arc<str>, Timestamp)>, StoreError> {
    for rule in rules {
        let insert = "INSERT INTO rule_seen(rule,since) VALUES($1,$2) \
                      ON CONFLICT(rule) DO UPDATE SET since=0 WHERE excluded.since=0";
        sql::run(conn, insert, &[rule, &since])?;
    }
    let all = "SELECT rule, since FROM rule_seen ORDER BY rule";
    Ok(sql::rows(conn, all, &[], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// When each rule that ever matched did so last.
pub(super) fn last_matches(conn: &Connection) -> Result<Vec<(Arc<str>, Timestamp)>> {
    let matched = "SELECT rule, last_match FROM rule_seen WHERE last_match IS NOT NULL ORDER BY rule";
    sql::rows(conn, matched, &[], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The newest revision with this hash, else a new one.
pub(super) fn config_revision(conn: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<i64, StoreError> {
    let known = "SELECT revision FROM config WHERE hash=$1 ORDER BY revision DESC LIMIT 1";
    if let Some(revision) = sql::first(conn, known, &[hash])? {
        return Ok(revision);
    }
    sql::run(conn, "INSERT INTO config(hash,at) VALUES($1,$2)", &[hash, &now])?;
    Ok(conn.last_insert_rowid())
}

impl Store {
    /// What this store calls itself towards others: 16 hexadecimal digits, made at random once and kept with the file.
    pub async fn instance(&self) -> Result<String, StoreError> {
        self.write(Mark::Other, |w| instance(&w.conn)).await
    }
}

fn instance(conn: &Connection) -> Result<String, StoreError> {
    let make = "INSERT INTO meta(key,value) VALUES('instance',lower(hex(randomblob(8)))) ON CONFLICT(key) DO NOTHING";
    sql::run(conn, make, &[])?;
    let kept = sql::first(conn, "SELECT value FROM meta WHERE key='instance'", &[])?;
    kept.ok_or_else(|| StoreError::Other(anyhow::anyhow!("the store has no name")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Settings;

    #[tokio::test]
    async fn a_store_keeps_its_name_and_no_two_have_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let retention = Duration::from_hours(24);
        let open = |file| {
            let settings = Settings { path: directory.path().join(file), ledger: retention, content: retention };
            Store::open(&settings, true).unwrap()
        };
        let store = open("a.db");
        let name = store.instance().await.unwrap();
        assert_eq!(name.len(), 16);
        store.close().await;
        assert_eq!(open("a.db").instance().await.unwrap(), name);
        assert_ne!(open("b.db").instance().await.unwrap(), name);
    }
}
