//! What the store costs per mail, one line per batch size.
//!
//! The file holds 300,000 old ids of 90 days; each mail is one record of 1.6 KB, one notification, one message. One task does accept,
//! claim, load and settle in turn, so the times add up; the daemon overlaps them. Settles are sent one by one and all at
//! once, as sessions do, and meet in the writer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use auditbell::clock::Timestamp;
use auditbell::plan::{Fate, Intent, NotificationId, Recipient, Verdict};
use auditbell::record::{Position, Severity};
use auditbell::store::{Batch, Claim, Fence, Placement, Planned, Settings, Settle, Settled, Store};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::Run;

const OLD_IDS: u64 = 300_000;
const BODY: usize = 1_600;
const BATCHES: [u64; 3] = [32, 100, 256];
/// Mails per line of the table.
const MAILS: u64 = 12_800;
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

pub fn run(run: &Run) {
    let directory = run.directory();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(bench(directory.path(), run)).unwrap();
}

async fn bench(directory: &Path, run: &Run) -> Result<()> {
    let (old_ids, mails_per_line) = run.size((OLD_IDS, MAILS), (2_000, 512));
    let settings = Settings {
        path: directory.join("bench.db"),
        ledger: Duration::from_hours(24 * 90),
        content: Duration::from_hours(24 * 14),
    };
    let mut mails = Mails { next: 0, body: Bytes::from(vec![b'x'; BODY]) };
    let store = Store::open(&settings, true)?;
    let row = Placement { topic: "logs".into(), partition: 0, from: None, next: 0 };
    store.place("bench", "cluster", &[row], NOW).await?;
    while mails.next < old_ids {
        let mut batch = mails.batch(1_000);
        for record in &mut batch.records {
            record.body = Bytes::new();
            record.intents[0].fate = Fate::Ends { verdict: Verdict::Shadow, reason: "shadow" };
        }
        store.accept(batch, NOW).await?;
    }
    store.close().await;
    println!("{old_ids} old ids, records of {BODY} bytes, {mails_per_line} mails each; wall µs per mail");
    println!("| batch | mails/s | accept | claim | load | settle | WAL bytes/mail |");
    println!("|---|---|---|---|---|---|---|");
    for size in BATCHES {
        let wal = wal_per_mail(&settings, &mut mails, size).await?;
        let store = Store::open(&settings, true)?;
        let worker = store.register("bench", NOW).await?;
        round(&store, worker, &mut mails, size).await?;
        let mut sum = [Duration::ZERO; 4];
        for _ in 0..mails_per_line / size {
            let times = round(&store, worker, &mut mails, size).await?;
            for (sum, time) in sum.iter_mut().zip(times) {
                *sum += time;
            }
        }
        let count = f64::from(u32::try_from(mails_per_line / size * size)?);
        let [accept, claim, load, settle] = sum.map(|time| time.as_secs_f64() * 1e6 / count);
        let rate = 1e6 / (accept + claim + load + settle);
        println!("| {size} | {rate:.0} | {accept:.1} | {claim:.1} | {load:.1} | {settle:.1} | {wal} |");
        store.close().await;
    }
    Ok(())
}

/// Bytes that the WAL grows by, over rounds that together stay below the size at which it is copied back.
async fn wal_per_mail(settings: &Settings, mails: &mut Mails, size: u64) -> Result<u64> {
    let store = Store::open(settings, true)?;
    let worker = store.register("bench", NOW).await?;
    let rounds = 1_000 / size;
    for _ in 0..rounds {
        round(&store, worker, mails, size).await?;
    }
    let wal = std::fs::metadata(settings.path.with_extension("db-wal"))?.len();
    store.close().await;
    Ok(wal / (rounds * size))
}

/// Accept, claim, load, settle: the time of each.
async fn round(store: &Store, worker: i64, mails: &mut Mails, size: u64) -> Result<[Duration; 4]> {
    let batch = mails.batch(size);
    let start = Instant::now();
    let accepted = store.accept(batch, NOW).await?;
    let accept = start.elapsed();
    anyhow::ensure!(accepted.messages == size, "{accepted:?}");
    let start = Instant::now();
    let claims = store.claim("email", worker, NOW, usize::try_from(size)?).await?;
    let claim = start.elapsed();
    let start = Instant::now();
    let loaded = store.load(claims).await?;
    let load = start.elapsed();
    anyhow::ensure!(loaded.len() == usize::try_from(size)? && loaded[0].records[0].body.is_some());
    let start = Instant::now();
    let mut settles = JoinSet::new();
    for one in loaded {
        let store = store.clone();
        settles.spawn(async move { store.settle(sent(one.claim)).await });
    }
    while let Some(settled) = settles.join_next().await {
        anyhow::ensure!(settled??, "a claim was lost");
    }
    Ok([accept, claim, load, start.elapsed()])
}

fn sent(claim: Claim) -> Settle {
    Settle {
        claim,
        at: NOW,
        outcome: Settled::Sent { reference: Some("4bXyzQ1234z9rwT".into()), digest: [7; 32] },
        tried: true,
        code: Some(250),
        reply: "250 2.0.0 Ok: queued as 4bXyzQ1234z9rwT".into(),
        address: Some("alice.example@example.com".into()),
        refused_until: None,
    }
}

/// An endless topic of matching records.
struct Mails {
    next: u64,
    body: Bytes,
}

impl Mails {
    fn batch(&mut self, size: u64) -> Batch {
        let from = self.next.cast_signed();
        self.next += size;
        let to = self.next.cast_signed();
        let fence = Fence { source: "bench".into(), topic: "logs".into(), partition: 0, from, to, bad: 0 };
        let records = (from..to).map(|offset| self.record(offset)).collect();
        Batch { fences: vec![fence], records, config: 1, ..Batch::default() }
    }

    fn record(&self, offset: i64) -> Planned {
        let identity = *blake3::hash(&offset.to_be_bytes()).as_bytes();
        let mut id = [0; 16];
        // The old ones spread over the ledger's 90 days, the new ones all of today.
        let age = (OLD_IDS.cast_signed() - offset).max(0) * 90 / OLD_IDS.cast_signed();
        id[..4].copy_from_slice(&u32::try_from(NOW.day() - age).unwrap_or_default().to_be_bytes());
        id[4..].copy_from_slice(&identity[..12]);
        let intent = Intent {
            id: NotificationId(id),
            rule: "password-reset".into(),
            rank: 0,
            channel: "email".into(),
            recipient: Some(Recipient::User("33333333-3333-4333-8333-333333333333".into())),
            element: None,
            template: "password-reset".into(),
            title: "Somebody reset a user's password".into(),
            severity: Severity::Medium,
            throttle: None,
            fate: Fate::Send { due_at: NOW, expires_at: NOW.plus(Duration::from_hours(72)), group: None },
        };
        Planned {
            identity,
            at: NOW,
            dialect: "entra.audit",
            position: Position {
                source: "bench".into(),
                topic: Some("logs".into()),
                partition: Some(0),
                offset: Some(offset),
                index: 0,
            },
            body: self.body.clone(),
            broker_time: Some(NOW),
            intents: vec![intent],
        }
    }
}
