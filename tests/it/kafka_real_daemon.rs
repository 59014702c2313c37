//! The whole daemon against a real Apache Kafka: the binary, a topic of its own, a relay. Run like `kafka_real.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use auditbell::clock::{Clock, Timestamp};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;

use crate::harness::{Bench, TOPIC, envelope, fixture, recipients, reset_of_number};
use crate::kafka_reader::Feeder;
use crate::kafka_real::variable;

/// `docs/operations.md`: a kill can repeat at most `connections × 9` mails.
const COPIES: usize = 5 * 9;
const MINUTE: Duration = Duration::from_mins(1);

/// A bench whose daemon reads `topic` on the real broker.
async fn bench(topic: &str, partitions: i32) -> (Bench, Feeder) {
    let brokers = variable("AUDITBELL_KAFKA");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    // For ever: one test writes records that are a week old.
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
    for outcome in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
        outcome.unwrap();
    }
    let mut bench = Bench::new().await;
    let mock = bench.kafka.brokers();
    bench.replace(&mock, &brokers);
    bench.replace(TOPIC, topic);
    bench.replace("group_id = \"auditbell\"", &format!("group_id = \"daemon-of-{topic}\""));
    (bench, Feeder::new(&brokers))
}

/// `record` as if it had happened at `at`.
fn happened(mut record: Value, at: Timestamp) -> Value {
    record["time"] = at.to_string().into();
    record["properties"]["activityDateTime"] = at.to_string().into();
    record
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn everybody_is_told_over_a_kill_in_the_middle_and_copies_stay_within_the_documented_number() {
    let (mut bench, feeder) = bench("killed", 3).await;
    let mut expected: BTreeSet<String> = ["alice", "bob"].map(|name| format!("{name}@example.com")).into();
    let users = String::from_utf8(fixture("two-users-in-one-envelope.json")).unwrap();
    feeder.write("killed", 0, &[&users]);
    for number in (0..1_000).step_by(10) {
        let people: Vec<_> = (number..number + 10).map(reset_of_number).collect();
        expected.extend((number..number + 10).map(|number| format!("user-{number}@example.com")));
        feeder.write("killed", i32::try_from(number / 10 % 3).unwrap(), &[&envelope(&people)]);
    }
    bench.start().await;
    bench.relay.wait_for(40).await;
    bench.kill();
    assert!(bench.relay.accepted().len() < expected.len(), "the kill came in the middle");
    bench.start().await;
    bench
        .until("everybody told", |bench| {
            let told: BTreeSet<_> = recipients(&bench.relay.accepted()).into_iter().collect();
            (told == expected).then_some(())
        })
        .await;
    assert!(bench.stop().await.success());
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mails = bench.relay.accepted();
    for mail in &mails {
        ids.entry(mail.to.join(",")).or_default().insert(mail.message_id.clone());
    }
    assert_eq!(ids.keys().cloned().collect::<BTreeSet<_>>(), expected, "nobody else is told");
    assert!(ids.values().all(|ids| ids.len() == 1), "copies have one Message-ID");
    assert!(mails.len() - expected.len() <= COPIES, "{} copies", mails.len() - expected.len());
    bench.books_balance();
}

/// A hundred records over the week before the last two hours, and three of the last half hour.
fn week(feeder: &Feeder, topic: &str) {
    let now = Clock::system().now();
    for number in 0..100 {
        let at = now.minus(7 * 24 * 60 * MINUTE).plus(u32::try_from(number).unwrap() * 99 * MINUTE);
        feeder.write_at(topic, 0, &[&envelope(&[happened(reset_of_number(number), at)])], at);
    }
    for number in 1_000..1_003 {
        let at = now.minus(u32::try_from(number - 990).unwrap() * MINUTE);
        feeder.write_at(topic, 0, &[&envelope(&[happened(reset_of_number(number), at)])], at);
    }
}

async fn nobody_hears_of_the_week(topic: &str, start: &str) -> Bench {
    let (mut bench, feeder) = bench(topic, 1).await;
    bench.replace("start = \"earliest\"", &format!("start = \"{start}\""));
    week(&feeder, topic);
    bench.start().await;
    bench.relay.wait_for(3).await;
    bench.accepted_to(103).await;
    let recent: Vec<_> = (1_000..1_003).map(|number| format!("user-{number}@example.com")).collect();
    assert_eq!(recipients(&bench.relay.accepted()), recent);
    bench
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_start_an_hour_ago_tells_the_last_half_hour_and_not_the_week() {
    let mut bench = nobody_hears_of_the_week("week-by-time", "-1h").await;
    assert_eq!(bench.metric("auditbell_records_total", &[]), 3, "the week was not even read");
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 3);
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_start_at_the_earliest_record_reads_the_week_counts_it_and_tells_nobody_of_it() {
    let mut bench = nobody_hears_of_the_week("week-from-earliest", "earliest").await;
    assert_eq!(bench.metric("auditbell_records_total", &[]), 103);
    let ended = |verdict| bench.metric("auditbell_notifications_total", &[verdict]);
    let (expired, skipped) = (ended("verdict=\"expired\""), ended("verdict=\"skipped\""));
    assert!(expired > 0 && expired + skipped == 100, "{expired} expired, {skipped} skipped");
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 3);
    bench.books_balance();
}
