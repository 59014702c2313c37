//! Owns the accountant: is every accepted record accounted for? Read-only; it proves consistency, not completeness.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::message::State;
use super::{StoreError, sql, sqlite};
use crate::plan::Verdict;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// One sentence.
    pub what: &'static str,
    /// How many rows.
    pub rows: i64,
}

/// What the accountant found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Empty: everything is accounted for.
    pub findings: Vec<Finding>,
    /// Notifications per verdict; those with a message count under the message's state.
    pub notifications: Vec<(&'static str, i64)>,
    /// Messages per state.
    pub messages: Vec<(&'static str, i64)>,
    /// Rows in the dead-letter table.
    pub dead_letters: i64,
}

/// Each counts rows that must not be there.
const RULES: [(&str, &str); 10] = [
    (
        "notification without a message and without a verdict",
        "SELECT count(*) FROM notification n LEFT JOIN message m ON m.id=n.message WHERE n.verdict=0 AND m.id IS NULL",
    ),
    (
        "notification with a verdict of its own and a message",
        "SELECT count(*) FROM notification WHERE verdict<>0 AND message IS NOT NULL",
    ),
    (
        "message without a notification",
        "SELECT count(*) FROM message m WHERE NOT EXISTS (SELECT 1 FROM notification n WHERE n.message=m.id)",
    ),
    (
        "pending message without exactly one due row",
        "SELECT count(*) FROM (SELECT m.id FROM message m LEFT JOIN due d ON d.message=m.id WHERE m.state=0 \
         GROUP BY m.id HAVING count(d.message)<>1) odd",
    ),
    (
        "due row without a pending message",
        "SELECT count(*) FROM due d LEFT JOIN message m ON m.id=d.message WHERE m.id IS NULL OR m.state<>0",
    ),
    (
        "group kept open by a message that is not held, or that is open twice",
        "SELECT count(*) FROM message m WHERE m.open_key IS NOT NULL \
         AND (m.state<>5 OR EXISTS (SELECT 1 FROM due d WHERE d.open_key=m.open_key))",
    ),
    (
        "due row on another channel than its message",
        "SELECT count(*) FROM due d JOIN message m ON m.id=d.message WHERE m.channel<>d.channel",
    ),
    (
        "claim of a worker that is not there",
        "SELECT count(*) FROM due d LEFT JOIN worker w ON w.id=d.owner WHERE d.owner<>0 AND w.id IS NULL",
    ),
    (
        "pending or held message without its record",
        "SELECT count(*) FROM message m JOIN notification n ON n.message=m.id LEFT JOIN record r ON r.id=n.record \
         WHERE m.state IN (0,5) AND r.id IS NULL",
    ),
    (
        "message with a state, or notification with a verdict, that this version does not know",
        "SELECT (SELECT count(*) FROM message WHERE state NOT BETWEEN 0 AND 6) \
         + (SELECT count(*) FROM notification WHERE verdict NOT BETWEEN 0 AND 10)",
    ),
];

/// Looks at the whole store at `path`, beside a running daemon if there is one. Blocking.
pub fn check(path: &Path) -> Result<Report, StoreError> {
    let conn = sqlite::read_only(path)?;
    sqlite::quick_check(&conn, path)?;
    // One transaction: every question is about the same moment.
    let moment = conn.unchecked_transaction()?;
    let mut findings = Vec::new();
    for (what, count) in RULES {
        let rows = sql::first::<i64>(&moment, count, &[])?.unwrap_or_default();
        if rows > 0 {
            findings.push(Finding { what, rows });
        }
    }
    Ok(Report {
        findings,
        notifications: notifications(&moment)?,
        messages: counts(&moment, "SELECT state, count(*) FROM message GROUP BY state", state)?,
        dead_letters: sql::first(&moment, "SELECT count(*) FROM dead_letter", &[])?.unwrap_or_default(),
    })
}

fn notifications(conn: &Connection) -> Result<Vec<(&'static str, i64)>, StoreError> {
    let told = "SELECT m.state, count(*) FROM notification n JOIN message m ON m.id=n.message \
        WHERE n.verdict=0 GROUP BY m.state";
    let mut all = counts(conn, told, state)?;
    all.extend(counts(conn, "SELECT verdict, count(*) FROM notification WHERE verdict<>0 GROUP BY verdict", verdict)?);
    // "expired" may stand in both: too old on arrival, and too old in the queue.
    all.sort_unstable();
    all.dedup_by(|b, a| {
        a.0 == b.0 && {
            a.1 += b.1;
            true
        }
    });
    Ok(all)
}

fn counts(
    conn: &Connection,
    text: &str,
    name: fn(i64) -> &'static str,
) -> Result<Vec<(&'static str, i64)>, StoreError> {
    Ok(sql::rows(conn, text, &[], |row| Ok((name(row.get(0)?), row.get(1)?)))?)
}

fn state(code: i64) -> &'static str {
    State::from_code(code).map_or("unknown", State::name)
}

fn verdict(code: i64) -> &'static str {
    let known = [
        (Verdict::Sent, "sent"),
        (Verdict::Failed, "failed"),
        (Verdict::Expired, "expired"),
        (Verdict::Cancelled, "cancelled"),
        (Verdict::Discarded, "discarded"),
        (Verdict::Silenced, "silenced"),
        (Verdict::Muted, "muted"),
        (Verdict::Skipped, "skipped"),
        (Verdict::Shadow, "shadow"),
        (Verdict::Duplicate, "duplicate"),
    ];
    known.into_iter().find(|(verdict, _)| *verdict as i64 == code).map_or("unknown", |(_, name)| name)
}
