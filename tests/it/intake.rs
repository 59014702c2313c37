//! Loop 1 without Kafka: a test holds the other end of the source, hands over envelopes, and sees what intake tells it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use auditbell::clock::{Clock, Timestamp};
use auditbell::config;
use auditbell::intake::{Basis, Intake, Reader};
use auditbell::people::People;
use auditbell::shutdown::Shutdown;
use auditbell::source::{Command, Envelope, Event, Handle, Link};
use auditbell::store::{Placement, Store};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::harness::{ALICE, BOB, PATIENCE, RESET, envelope, reset, reset_of_number};

/// A running intake and everything around it.
struct Fake {
    link: Link,
    store: Store,
    wake: Arc<Notify>,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
}

impl Fake {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = config(&directory);
        let store = Store::open(&config.store, true).unwrap();
        let clock = Clock::system();
        let first = Placement { topic: "t".into(), partition: 0, from: None, next: 10 };
        store.place("entra", "cluster", &[first], clock.now()).await.unwrap();
        let wake = Arc::new(Notify::new());
        let reader = Reader { source: "entra".into(), remembered: Duration::from_hours(89 * 24) };
        let shutdown = Shutdown::default();
        let (asked, woken) = (AtomicI64::new(0), wake.clone());
        let people = Arc::new(People::load(config.people.clone()).unwrap());
        // Whenever it is asked for, it is another one, and to every other the rule is too young for anything.
        let young = clock.now().plus(Duration::from_hours(2));
        let current = Arc::new(move || {
            let revision = asked.fetch_add(1, Ordering::Relaxed);
            Arc::new(Basis {
                lookups: auditbell::lookup::Lookups::default(),
                revision,
                dialects: config.dialects.clone(),
                rules: config.rules.clone(),
                people: people.clone(),
                rules_seen: (revision % 2 == 0).then(|| ("password-reset".into(), young)).into_iter().collect(),
                wakes: HashMap::from([("email".into(), woken.clone())]),
            })
        });
        let intake = Intake::new(reader, current, store.clone(), clock, shutdown.clone());
        let (handle, link) = Handle::pair();
        let running = tokio::spawn(intake.run(handle));
        let fake = Self { link, store, wake, shutdown, running, directory };
        fake.assign(10).await;
        fake
    }

    async fn assign(&self, next: i64) {
        self.say(Event::Assigned { topic: "t".into(), partition: 0, next, bad: 0 }).await;
    }

    async fn say(&self, event: Event) {
        self.link.events.send(event).await.unwrap();
    }

    /// Hands over payloads from `offset` on.
    async fn give(&self, offset: i64, payloads: &[&str]) {
        let envelopes = (offset..).zip(payloads).map(|(offset, payload)| message(offset, payload, None)).collect();
        self.say(Event::Envelopes(envelopes)).await;
    }

    async fn told(&mut self) -> Command {
        timeout(PATIENCE, self.link.commands.recv()).await.expect("intake says nothing").unwrap()
    }

    async fn accepted(&mut self) -> i64 {
        match self.told().await {
            Command::Accepted { next, .. } => next,
            other => panic!("{other:?}"),
        }
    }

    async fn next(&self) -> i64 {
        self.store.positions("entra").await.unwrap()[0].next
    }

    /// How many messages are due on the channel, now or later.
    async fn waiting(&self) -> usize {
        let worker = self.store.register("test", Clock::system().now()).await.unwrap();
        let late = Clock::system().now().plus(Duration::from_hours(1));
        self.store.claim("email", worker, late, 1_000).await.unwrap().len()
    }
}

fn message(offset: i64, payload: &str, timestamp: Option<Timestamp>) -> Envelope {
    let payload = Some(bytes::Bytes::copy_from_slice(payload.as_bytes()));
    Envelope { topic: "t".into(), partition: 0, offset, timestamp, payload }
}

fn config(directory: &tempfile::TempDir) -> config::Config {
    let path = directory.path().join("config.toml");
    let text = format!(
        r#"
[source.entra]
brokers = "localhost:9092"
topics = ["t"]
[store]
url = "sqlite:{}"
[channel.email]
type = "smtp"
relay = ["smtp+plain://127.0.0.1:25"]
from = "security@example.com"
[people]
allow_domains = ["example.com"]
fallback = ["soc@example.com"]
[brand]
name = "Example"
security_contact = "security@example.com"
{RESET}"#,
        directory.path().join("a.db").display()
    );
    std::fs::write(&path, text).unwrap();
    config::load(&path).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[tokio::test]
async fn what_is_accepted_is_told_to_the_source_and_wakes_the_channel() {
    let mut fake = Fake::start().await;
    let woken = fake.wake.clone();
    fake.give(10, &[&envelope(&[reset("one", ALICE)]), &envelope(&[reset("two", BOB)])]).await;
    assert_eq!(fake.accepted().await, 12);
    timeout(PATIENCE, woken.notified()).await.unwrap();
    assert_eq!(fake.next().await, 12);
    assert_eq!(fake.waiting().await, 2);
}

#[tokio::test]
async fn a_message_seen_before_is_not_accepted_twice_and_a_gap_is_passed() {
    let mut fake = Fake::start().await;
    let one = envelope(&[reset("one", ALICE)]);
    fake.give(10, &[&one]).await;
    assert_eq!(fake.accepted().await, 11);
    fake.give(10, &[&one]).await; // the source went back, as it may
    fake.give(20, &[&envelope(&[reset("two", BOB)])]).await;
    assert_eq!(fake.accepted().await, 21);
    assert_eq!(fake.waiting().await, 2);
}

#[tokio::test]
async fn a_position_moved_by_somebody_else_drops_what_is_in_hand_until_assigned_anew() {
    let mut fake = Fake::start().await;
    let moved = Placement { topic: "t".into(), partition: 0, from: Some(10), next: 12 };
    fake.store.place("entra", "cluster", &[moved], Clock::system().now()).await.unwrap();
    fake.give(10, &[&envelope(&[reset("one", ALICE)])]).await;
    assert!(matches!(fake.told().await, Command::Reseek { partition: 0, .. }));
    fake.give(11, &[&envelope(&[reset("stale", ALICE)])]).await;
    fake.assign(12).await;
    fake.give(12, &[&envelope(&[reset("two", BOB)])]).await;
    assert_eq!(fake.accepted().await, 13);
    assert_eq!(fake.waiting().await, 1, "only what came after the new assignment");
}

#[tokio::test]
async fn a_revoked_partition_is_not_accepted_any_more() {
    let mut fake = Fake::start().await;
    fake.say(Event::Revoked { topic: "t".into(), partition: 0 }).await;
    fake.give(10, &[&envelope(&[reset("one", ALICE)])]).await;
    fake.assign(10).await;
    fake.give(10, &[&envelope(&[reset("two", BOB)])]).await;
    assert_eq!(fake.accepted().await, 11);
    assert_eq!(fake.waiting().await, 1);
}

#[tokio::test]
async fn what_is_older_than_the_ledger_remembers_is_refused_and_passed() {
    let mut fake = Fake::start().await;
    let old = Clock::system().now().minus(Duration::from_hours(90 * 24));
    let payload = envelope(&[reset("old", ALICE)]);
    fake.say(Event::Envelopes(vec![message(10, &payload, Some(old))])).await;
    assert_eq!(fake.accepted().await, 11);
    assert_eq!(fake.waiting().await, 0);
}

/// A reload falls between two batches, never into one.
#[tokio::test]
async fn a_batch_is_decided_wholly_by_one_revision() {
    let mut fake = Fake::start().await;
    let people: Vec<_> = (0..40).map(|n| envelope(&[reset_of_number(n)])).collect();
    let now = Some(Clock::system().now());
    for (first, batch) in (10..).step_by(10).zip(people.chunks(10)) {
        let envelopes = (first..).zip(batch).map(|(offset, payload)| message(offset, payload, now));
        fake.say(Event::Envelopes(envelopes.collect())).await;
        assert_eq!(fake.accepted().await, first + 10);
    }
    let store = rusqlite::Connection::open(fake.directory.path().join("a.db")).unwrap();
    // (revision, how many, how many of them are told)
    let decided: Vec<(i64, i64, i64)> = store
        .prepare("SELECT config, count(*), count(message) FROM notification GROUP BY config ORDER BY config")
        .and_then(|mut rows| rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .unwrap();
    assert_eq!(decided, [(1, 10, 10), (2, 10, 0), (3, 10, 10), (4, 10, 0)]);
}

/// T14: a flood of garbage stops at 200 in a row; the position stays there until an operator has looked.
#[tokio::test]
async fn two_hundred_bad_messages_in_a_row_hold_the_source_until_an_operator_has_looked() {
    let mut fake = Fake::start().await;
    fake.give(10, &["garbage"; 300]).await;
    assert_eq!(fake.accepted().await, 210);
    assert!(matches!(fake.told().await, Command::Hold { reason: "bad-messages" }));
    assert_eq!(fake.next().await, 210);
    // What `dead-letters discard` does to the position.
    let store = rusqlite::Connection::open(fake.directory.path().join("a.db")).unwrap();
    store.execute("UPDATE position SET bad = 0", []).unwrap();
    assert!(matches!(fake.told().await, Command::Resume { reason: "bad-messages" }));
    assert_eq!(fake.accepted().await, 310, "the rest follows");
}

#[tokio::test]
async fn a_stop_finishes_what_is_being_accepted_and_stops_the_source() {
    let mut fake = Fake::start().await;
    fake.give(10, &[&envelope(&[reset("one", ALICE)])]).await;
    assert_eq!(fake.accepted().await, 11);
    fake.shutdown.begin();
    assert!(matches!(fake.told().await, Command::Stop));
    drop(fake.link);
    timeout(PATIENCE, fake.running).await.unwrap().unwrap();
}

/// What waits behind a batch that the store has not taken is not written either when we stop: the position would pass over
/// the batch.
#[tokio::test]
async fn a_stop_while_a_batch_is_held_writes_nothing_that_comes_after_it() {
    let mut fake = Fake::start().await;
    let store = rusqlite::Connection::open(fake.directory.path().join("a.db")).unwrap();
    let full = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100000) \
                INSERT INTO dead_letter(source,topic,part,offset_,item,at,error,body) SELECT 'x','x',0,n,0,0,'not-json','' FROM n";
    store.execute(full, []).unwrap();
    fake.give(10, &["garbage"]).await;
    assert!(matches!(fake.told().await, Command::Hold { reason: "dead-letters-full" }));
    fake.give(11, &[&envelope(&[reset("one", ALICE)])]).await;
    let events = fake.link.events.clone();
    timeout(PATIENCE, async {
        while events.capacity() < events.max_capacity() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is read while the batch before it is held");
    fake.shutdown.begin();
    assert!(matches!(fake.told().await, Command::Resume { reason: "dead-letters-full" }));
    assert!(matches!(fake.told().await, Command::Stop));
    assert_eq!(fake.next().await, 10);
    assert_eq!(fake.waiting().await, 0);
    drop(fake.link);
    timeout(PATIENCE, fake.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_source_that_cannot_go_on_ends_the_process_with_its_code_and_words() {
    let fake = Fake::start().await;
    fake.say(Event::Fatal { exit: 78, message: "the group has history".into() }).await;
    timeout(PATIENCE, fake.shutdown.soft().cancelled()).await.unwrap();
    assert_eq!(fake.shutdown.ending().map(|ending| ending.exit), Some(78));
}

/// More dead letters in one hand-over than the table ever holds: they come in batches that fit, so discarding helps.
#[tokio::test(flavor = "multi_thread")]
async fn more_dead_letters_than_there_is_room_for_get_through_by_discarding() {
    let mut fake = Fake::start().await;
    let lines: Vec<String> = (0..1_000).map(|n| format!("Nov 21 host app[{n}]: line")).collect();
    let payload = serde_json::to_string(&lines).unwrap();
    fake.give(10, &vec![&*payload; 110]).await;
    let mut accepted = 10;
    while accepted < 120 {
        match fake.told().await {
            Command::Accepted { next, .. } => accepted = next,
            Command::Hold { reason: "dead-letters-full" } => {
                assert!(accepted > 10, "what came before is not held up by what does not fit");
                fake.store.discard(None, "operator", Clock::system().now()).await.unwrap();
            }
            Command::Resume { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
