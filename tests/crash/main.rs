//! The crash suite: the real binary is killed at exactly the n-th passage of each named step between poll and settle, and
//! started again. Then the independent list of what was produced is compared with the relay's journal:
//! nothing lost, nothing unexpected, copies within the documented number, all copies with one Message-ID.
//!
//! A planted bug (the position moved before the rows) must make this checker report a loss: if it does not, the suite
//! proves nothing.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; clippy.toml exempts only #[test] functions, not what they call"
)]
#![expect(dead_code, reason = "shares the stand-ins of the integration tests, and does not need all of them")]

#[path = "../it/harness.rs"]
mod harness;
#[path = "../it/smtp_server.rs"]
mod smtp_server;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use auditbell::crash::STEPS;
use harness::{Bench, envelope, reset_of_number};
use smtp_server::Accepted;

/// `[channel.email] connections`, the default.
const CONNECTIONS: usize = 5;
/// `docs/operations.md`: after a kill at most `connections × 9` mails arrive twice.
const COPIES: usize = CONNECTIONS * 9;
/// Messages written before the daemon starts; three records each.
const BEFORE: usize = 10;
/// Messages written at most while it runs, and how far apart: not all in one batch.
const WHILE: usize = 100;
const PACE: Duration = Duration::from_millis(50);

/// What the comparison came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    lost: Vec<String>,
    unexpected: Vec<String>,
    /// Mails beyond the first to each recipient.
    copies: usize,
    /// Recipients whose copies differ in Message-ID or in a byte.
    different: Vec<String>,
}

/// Compares what should have been told with what the relay took.
fn compare(expected: &BTreeSet<String>, journal: &[Accepted]) -> Verdict {
    let mut taken: BTreeMap<String, Vec<&Accepted>> = BTreeMap::new();
    for mail in journal {
        taken.entry(mail.to.join(",")).or_default().push(mail);
    }
    let same = |mails: &[&Accepted]| {
        mails.iter().all(|mail| mail.message_id == mails[0].message_id && mail.bytes == mails[0].bytes)
    };
    Verdict {
        lost: expected.iter().filter(|to| !taken.contains_key(*to)).cloned().collect(),
        unexpected: taken.keys().filter(|to| !expected.contains(*to)).cloned().collect(),
        copies: taken.values().map(|mails| mails.len() - 1).sum(),
        different: taken.iter().filter(|(_, mails)| !same(mails)).map(|(to, _)| to.clone()).collect(),
    }
}

/// A bench, and the list of whom its producer has written about.
struct Run {
    bench: Bench,
    /// Messages, each about three people.
    written: usize,
    /// The end of the topic: some messages are written twice.
    offsets: usize,
}

impl Run {
    async fn new() -> Self {
        Self { bench: Bench::new().await, written: 0, offsets: 0 }
    }

    /// Writes `messages` messages of three people each, the first of them twice.
    async fn write(&mut self, messages: usize) {
        for message in 0..messages {
            let people: Vec<_> = (0..3).map(|person| reset_of_number(self.written * 3 + person)).collect();
            let payload = envelope(&people);
            for _ in 0..if message == 0 { 2 } else { 1 } {
                self.bench.publish(&payload).await;
                self.offsets += 1;
            }
            self.written += 1;
        }
    }

    fn expected(&self) -> BTreeSet<String> {
        (0..self.written * 3).map(|number| format!("user-{number}@example.com")).collect()
    }

    /// Runs the daemon with a crash planned until it has killed itself, writing all the while.
    async fn crash(&mut self, step: &str, n: usize) {
        self.bench.environment.push(("AUDITBELL_CRASH".into(), format!("{step}:{n}")));
        let mut child = self.bench.spawn();
        self.bench.until("reading", |bench| bench.log().contains("\"reading\"").then_some(())).await;
        for _ in 0..WHILE {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            self.write(1).await;
            tokio::time::sleep(PACE).await;
        }
        let status = self.bench.ended(&mut child).await;
        assert_eq!(status.signal(), Some(9), "{step}:{n} was not passed: {status}\n{}", self.bench.log());
        self.bench.environment.clear();
    }

    /// Runs the daemon until there is nothing left to do, and stops it.
    async fn finish(&mut self) -> Verdict {
        self.bench.start().await;
        self.bench.accepted_to(self.offsets).await;
        let file = self.bench.path("auditbell.db");
        self.bench
            .until("an empty queue", |_| {
                let store = rusqlite::Connection::open(&file).unwrap();
                let due: i64 = store.query_row("SELECT count(*) FROM due", [], |row| row.get(0)).unwrap();
                (due == 0).then_some(())
            })
            .await;
        assert!(self.bench.stop().await.success());
        compare(&self.expected(), &self.bench.relay.accepted())
    }
}

async fn survives(step: &str, n: usize) {
    let mut run = Run::new().await;
    run.write(BEFORE).await;
    run.crash(step, n).await;
    let verdict = run.finish().await;
    let whole = Verdict { copies: verdict.copies, ..Verdict::default() };
    assert_eq!(verdict, whole, "{step}:{n}");
    assert!(verdict.copies <= COPIES, "{step}:{n}: {} copies", verdict.copies);
    run.bench.books_balance();
}

macro_rules! survives {
    ($($step:ident: $($n:literal)*;)*) => {
        /// Whoever adds a step adds its row.
        #[test]
        fn every_step_has_its_test() {
            assert_eq!(STEPS, [$(stringify!($step)),*]);
        }
        $(
            mod $step {
                #[tokio::test(flavor = "multi_thread")]
                async fn nothing_is_lost_and_nothing_is_told_that_should_not() {
                    for n in [$($n),*] {
                        super::survives(stringify!($step), n).await;
                    }
                }
            }
        )*
    };
}

// The n-th passage: the first, and one in the middle of the work (a batch takes several messages, a mail is one passage).
survives! {
    after_poll: 1 14;
    before_accept: 1 4;
    accept_before_commit: 1 4;
    accept_after_commit: 1 4;
    after_store_offset: 1 4;
    after_claim: 1 4;
    before_dot: 1 17;
    after_dot: 1 17;
    after_250: 1 17;
    settle_before_commit: 1 7;
    settle_after_commit: 1 7;
}

/// The permanent negative control.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_moved_before_its_rows_is_found_as_a_loss() {
    let mut run = Run::new().await;
    run.write(BEFORE).await;
    run.bench.environment.push(("AUDITBELL_PLANTED_BUG".into(), "position-first".into()));
    // With the bug, the position is on disk at this moment, and the rows are not.
    run.crash("accept_before_commit", 1).await;
    let verdict = run.finish().await;
    assert!(!verdict.lost.is_empty(), "the checker is blind: {verdict:?}");
    assert_eq!(verdict.unexpected, Vec::<String>::new());
}

/// T01: kills from outside, at moments nobody has chosen.
#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_lose_nothing() {
    const KILLS: usize = 4;
    let mut run = Run::new().await;
    run.write(BEFORE).await;
    for kill in 0..KILLS {
        run.bench.start().await;
        let already = run.bench.relay.accepted().len();
        run.write(1).await;
        // Somewhere in the work: after this many more mails.
        run.bench.relay.wait_for(already + 1 + kill).await;
        run.bench.kill();
    }
    let verdict = run.finish().await;
    assert_eq!(verdict, Verdict { copies: verdict.copies, ..Verdict::default() });
    assert!(verdict.copies <= KILLS * COPIES, "{} copies", verdict.copies);
    run.bench.books_balance();
}
