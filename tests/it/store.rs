//! Every promise of the store, against a real file: one test, one sentence. Here stands the
//! vocabulary; each file tells one part of the story.

mod accept;
mod away;
mod brake;
mod claims;
mod commands;
mod fence;
mod file;
mod internal;
mod late;
mod model;
mod operate;
mod upkeep;
mod verdicts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use auditbell::clock::Timestamp;
use auditbell::compose::Kind;
use auditbell::plan::{Fate, Intent, NotificationId, Recipient, Verdict};
use auditbell::record::{Position, Severity};
use auditbell::store::{
    AcceptError, Batch, Claim, DeadLetter, Escalation, Fence, FinalState, Loaded, Placement, Planned, Settings, Settle,
    Settled, Store, StoreError,
};
use bytes::Bytes;
use tempfile::TempDir;

/// Ten minutes after the epoch of these tests.
const NOW: Timestamp = at(60);
const END: Timestamp = at(1_000_000);

const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + seconds * 1_000)
}

fn id(n: u32) -> NotificationId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&u32::try_from(at(0).day()).unwrap().to_be_bytes());
    id[12..].copy_from_slice(&n.to_be_bytes());
    NotificationId(id)
}

fn body(n: u32) -> Bytes {
    Bytes::from(format!(r#"{{"n":{n}}}"#))
}

fn position(offset: i64) -> Position {
    Position { source: "entra".into(), topic: Some("logs".into()), partition: Some(0), offset: Some(offset), index: 0 }
}

/// An intent that becomes a message of its own, due now.
fn send(n: u32) -> Intent {
    Intent {
        id: id(n),
        rule: "rule".into(),
        rank: 0,
        channel: "email".into(),
        recipient: Some(Recipient::User("alice".into())),
        element: None,
        template: "template".into(),
        title: "title".into(),
        severity: Severity::Medium,
        throttle: None,
        fate: Fate::Send { due_at: NOW, expires_at: END, group: None },
    }
}

fn due_at(intent: Intent, due_at: Timestamp) -> Intent {
    Intent { fate: Fate::Send { due_at, expires_at: END, group: None }, ..intent }
}

fn in_group(intent: Intent, key: &str) -> Intent {
    Intent { fate: Fate::Send { due_at: NOW, expires_at: END, group: Some(key.into()) }, ..intent }
}

/// One Kafka message per intent, from `from`; the record's body carries the intent's number.
fn batch(from: i64, to: i64, intents: &[Intent]) -> Batch {
    let fence = Fence { source: "entra".into(), topic: "logs".into(), partition: 0, from, to, bad: 0 };
    let records = (from..).zip(intents).map(|(offset, intent)| {
        let n = u32::from_be_bytes(intent.id.0[12..].try_into().unwrap());
        Planned {
            identity: [9; 32],
            at: at(i64::from(n)),
            dialect: "entra.audit",
            position: position(offset),
            body: body(n),
            broker_time: Some(at(2)),
            intents: vec![intent.clone()],
        }
    });
    Batch { fences: vec![fence], records: records.collect(), config: 1, ..Batch::default() }
}

fn sent(claim: &Claim) -> Settle {
    Settle {
        claim: claim.clone(),
        at: NOW,
        outcome: Settled::Sent { reference: Some("queue-1".into()), digest: [3; 32] },
        tried: true,
        code: Some(250),
        reply: "250 ok".into(),
        address: Some("alice@example.com".into()),
        refused_until: None,
    }
}

fn later(claim: &Claim, due_at: Timestamp) -> Settle {
    Settle { outcome: Settled::Later { due_at }, code: Some(451), reply: "451 later".into(), ..sent(claim) }
}

fn never(claim: &Claim, state: FinalState, tell: &[&str]) -> Settle {
    let escalation = tell.iter().map(|address| {
        let recipient = Recipient::Address((*address).into());
        Escalation { kind: Kind::Failed, recipient, channel: "email".into(), expires_at: END }
    });
    let outcome = Settled::Never { state, reason: "recipient-refused", escalation: escalation.collect(), record: None };
    let tried = state == FinalState::Failed;
    Settle { outcome, tried, code: Some(550), reply: "550 no".into(), ..sent(claim) }
}

async fn place(store: &Store, next: i64) {
    let rows = [Placement { topic: "logs".into(), partition: 0, from: None, next }];
    store.place("entra", "cluster-1", &rows, NOW).await.unwrap();
}

async fn place_partition(store: &Store, partition: i32, next: i64) {
    let rows = [Placement { topic: "logs".into(), partition, from: None, next }];
    store.place("entra", "cluster-1", &rows, NOW).await.unwrap();
}

async fn next(store: &Store) -> i64 {
    store.positions("entra").await.unwrap()[0].next
}

/// Claims without registering a worker.
async fn claim(store: &Store, limit: usize) -> Vec<Claim> {
    // Any number will do: registering frees the claims of all others.
    let worker = 4_711;
    store.claim("email", worker, NOW, limit).await.unwrap()
}

async fn load(store: &Store, limit: usize) -> Vec<Loaded> {
    let claims = claim(store, limit).await;
    store.load(claims).await.unwrap()
}

/// One message, claimed.
async fn claimed(store: &Store) -> Claim {
    place(store, 0).await;
    store.accept(batch(0, 1, &[send(1)]), NOW).await.unwrap();
    claim(store, 1).await.remove(0)
}

fn count(file: &File, table: &str) -> i64 {
    file.query(&format!("SELECT count(*) FROM {table}"), |row| row.get(0))
}

/// A store's file in a directory of its own, and a second way to look into it.
struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn settings(&self) -> Settings {
        Settings {
            path: self.0.path().join("auditbell.db"),
            ledger: Duration::from_hours(90 * 24),
            content: Duration::from_hours(14 * 24),
        }
    }

    /// While another test starts a process, that one shares all our files until it has become another program, the lock of a
    /// store that we have just closed among them.
    fn open(&self) -> Store {
        let began = Instant::now();
        loop {
            match Store::open(&self.settings(), true) {
                Err(StoreError::Busy(_)) if began.elapsed() < Duration::from_secs(10) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => return opened.unwrap(),
            }
        }
    }

    fn connection(&self) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.settings().path).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn
    }

    fn query<T>(&self, sql: &str, read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> T {
        self.connection().query_row(sql, [], read).unwrap()
    }

    fn column(&self, sql: &str) -> Vec<i64> {
        let conn = self.connection();
        let mut statement = conn.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn execute(&self, sql: &str) {
        self.connection().execute(sql, []).unwrap();
    }

    fn execute_all(&self, sql: &str) {
        self.connection().execute_batch(sql).unwrap();
    }
}
