//! Owns one run: a bench, a topic that is fed to it wave by wave, the daemon's deaths, and the reckoning.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::books::{Charged, Findings, compare, overcharged};
use crate::harness::{Bench, PATIENCE};
use crate::smtp_server::Options;
use crate::topic::{Expected, Message, PARTITIONS, RULES, waves};

/// `[channel.email] connections`. Fewer than usual, so that the bound on copies is smaller than the number of mails.
const CONNECTIONS: usize = 2;
/// docs/delivery.md, "What can be sent twice": eight that are not on disk and one in flight, per connection and kill.
const COPIES_OF_A_KILL: usize = CONNECTIONS * 9;
/// How long a step may be late after everything it could be passed for is done.
const LATE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(30);
const DUPLICATE: (&str, &[&str]) = ("auditbell_notifications_total", &["verdict=\"duplicate\""]);

pub struct Run {
    pub bench: Bench,
    waves: VecDeque<Vec<Message>>,
    expected: Vec<Expected>,
    /// Messages in the topic, and the notifications that are planned when all of it is read.
    produced: u64,
    notifications: u64,
    /// Copies that what happened so far may have made.
    copies: usize,
    kills: usize,
}

/// A daemon that is to die; it does not outlive a test that fails.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // An error says that it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Run {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(relay: Options) -> Self {
        let mut bench = Bench::with(PARTITIONS, relay).await;
        RULES.clone_into(&mut bench.rules);
        bench.replace("retry = [\"1s\"]", &format!("retry = [\"1s\"]\nconnections = {CONNECTIONS}"));
        Self { bench, waves: waves(), expected: Vec::new(), produced: 0, notifications: 0, copies: 0, kills: 0 }
    }

    /// Produces the next wave; `false` when there is none.
    pub async fn produce(&mut self) -> bool {
        let Some(wave) = self.waves.pop_front() else { return false };
        for (message, partition) in wave.into_iter().zip((0..PARTITIONS).cycle()) {
            self.bench.kafka.publish(partition, message.payload.as_bytes()).await;
            self.produced += 1;
            self.notifications += message.notifications;
            self.expected.extend(message.mails);
        }
        true
    }

    pub async fn produce_all(&mut self) {
        while self.produce().await {}
    }

    /// One copy more is allowed: the relay was made to take a mail and not to say so.
    pub fn allow_copy(&mut self) {
        self.copies += 1;
    }

    /// One attempt of each message may have been heard by nobody: another worker claimed it.
    pub fn allow_attempt(&mut self) {
        self.kills += 1;
    }

    /// Runs the daemon until `reached` holds of its log, and stops it in order.
    pub async fn runs_until(&mut self, what: &str, reached: impl Fn(&str) -> bool) {
        self.bench.start().await;
        self.bench.until(what, |bench| reached(&bench.log()).then_some(())).await;
        assert!(self.bench.stop().await.success(), "{}", self.bench.log());
    }

    /// Everything produced is accepted, and nothing is left to be sent. Asked of the file itself, for a daemon that is
    /// about to die answers nothing.
    pub fn is_done(&self) -> bool {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let counted = Connection::open_with_flags(&self.bench.store, flags).and_then(|store| {
            store.query_row(
                "SELECT (SELECT coalesce(sum(next), 0) FROM position), (SELECT count(*) FROM due)",
                [],
                |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?)),
            )
        });
        // An error says that the daemon has not made its file yet; who waits for it has a deadline.
        counted.is_ok_and(|counted| counted == (self.produced, 0))
    }

    /// Changes the store of a dead daemon.
    pub fn edit_store(&self, statement: &str) -> usize {
        Connection::open(&self.bench.store).unwrap().execute(statement, []).unwrap()
    }

    /// Runs the daemon, a wave at a time, until it kills itself at the n-th passage of `step`. A run in which it does not is
    /// a failure: it would prove nothing.
    pub async fn killed_at(&mut self, step: &str, n: usize) {
        let environment = self.bench.environment.len();
        self.bench.environment.push(("AUDITBELL_CRASH".into(), format!("{step}:{n}")));
        let before = self.bench.log().len();
        let mut victim = Victim(self.bench.spawn());
        let mut last_wave = Instant::now();
        let mut done_since = None;
        let status = loop {
            if let Some(status) = victim.0.try_wait().unwrap() {
                break status;
            }
            let done = self.is_done();
            if done && self.produce().await {
                last_wave = Instant::now();
                done_since = None;
            } else if done {
                let since = *done_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < LATE, "{step} was not passed {n} times; the case proves nothing");
            }
            assert!(last_wave.elapsed() < PATIENCE, "{step}:{n}: nothing moves:\n{}", self.bench.log());
            tokio::time::sleep(LOOK).await;
        };
        self.bench.environment.truncate(environment);
        let log = self.bench.log();
        assert_eq!(status.signal(), Some(9), "{step}:{n}: it died of something else, {status}:\n{log}");
        assert!(log[before..].contains(&format!("crash point {step}:{n}")), "{step}:{n}: killed elsewhere:\n{log}");
        self.died();
    }

    /// It was killed: what that may cost.
    pub fn died(&mut self) {
        self.copies += COPIES_OF_A_KILL;
        self.kills += 1;
    }

    /// Runs the daemon until `mails` more were taken, and kills it from outside, wherever it is.
    pub async fn killed_after(&mut self, mails: usize) {
        let mails = self.bench.relay.accepted().len() + mails;
        self.bench.start().await;
        self.bench.relay.wait_for(mails).await;
        self.bench.kill();
        self.died();
    }

    /// Produces what is left, runs the daemon until there is nothing to do, and stops it in order.
    pub async fn drain(&mut self) {
        self.produce_all().await;
        self.bench.start().await;
        self.done().await;
        assert!(self.bench.stop().await.success(), "{}", self.bench.log());
        self.bench.books_balance();
    }

    /// Everything produced is told.
    pub async fn done(&self) {
        self.bench.until("the end of the work", |_| self.is_done().then_some(())).await;
    }

    /// Everything produced is in the store.
    pub async fn accepted(&self) {
        let positions = || Some(self.number("SELECT coalesce(sum(next), 0) FROM position")?.unsigned_abs());
        self.bench.until("all that was produced", |_| (positions()? == self.produced).then_some(())).await;
    }

    /// Where the store stands in `partition`.
    pub fn position(&self, partition: i32) -> i64 {
        self.number(&format!("SELECT next FROM position WHERE part = {partition}")).unwrap_or(0)
    }

    /// The one number that `query` gives; `None` where the store cannot be read (yet).
    pub fn number(&self, query: &str) -> Option<i64> {
        let store = Connection::open_with_flags(&self.bench.store, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        store.query_row(query, [], |row| row.get(0)).ok()
    }

    /// The list against the journal, and the attempts that were counted against those that were heard.
    pub fn findings(&self) -> Findings {
        let overcharged = overcharged(&self.charged(), &self.bench.relay.heard(), self.kills);
        Findings { overcharged, ..compare(&self.expected, &self.bench.relay.accepted()) }
    }

    fn charged(&self) -> Vec<Charged> {
        let store = Connection::open(&self.bench.store).unwrap();
        let number = |value: i64| usize::try_from(value).unwrap();
        let text = "SELECT address, count(*), sum(attempts) FROM message WHERE address IS NOT NULL GROUP BY address";
        let mut rows = store.prepare(text).unwrap();
        let rows = rows.query_map([], |row| {
            Ok(Charged { address: row.get(0)?, messages: number(row.get(1)?), attempts: number(row.get(2)?) })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// 0 lost, none unexpected, none told again, copies equal and not too many.
    pub fn is_whole(&self, case: &str) {
        let findings = self.findings();
        assert!(findings.are_clean(), "{case}: {findings:#?}\n{}", self.bench.log());
        assert!(findings.copies <= self.copies, "{case}: {} copies of at most {}", findings.copies, self.copies);
        println!("{case}: {} mails, {} copies", self.expected.len(), findings.copies);
    }

    /// Reads the whole topic once more: everything in it is known, and the counter says so.
    pub async fn replays_silently(&mut self, case: &str) {
        let before = self.bench.relay.accepted().len();
        self.edit_store("UPDATE position SET next = 0");
        self.bench.start().await;
        self.done().await;
        self.bench.metric_at_least("auditbell_kafka_position", &[], self.produced).await;
        let duplicates = self.bench.metric_at_least(DUPLICATE.0, DUPLICATE.1, self.notifications).await;
        assert_eq!(duplicates, self.notifications, "{case}: duplicates");
        assert!(self.bench.stop().await.success(), "{}", self.bench.log());
        self.bench.books_balance();
        assert_eq!(self.bench.relay.accepted().len(), before, "{case}: the replay was told");
    }
}
