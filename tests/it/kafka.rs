//! The source against librdkafka's mock cluster: positions, fences, holds, outages. What the mock cannot do (times, TLS,
//! topics that change, several members) is in `kafka_real.rs`. Each test has a cluster of its own.

use auditbell::source::{Command, Envelope, Event, OnLostStore, Settings};
use auditbell::store::{AcceptError, Batch, Fence};
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::kafka_reader::{Feeder, Reader, committed, settings, store, text};

/// One broker with the topic `audit`.
struct Kafka {
    cluster: Cluster,
    feeder: Feeder,
    folder: TempDir,
}

impl Kafka {
    fn new(partitions: i32) -> Self {
        let cluster = Cluster::new();
        cluster.mock().create_topic("audit", partitions, 1).unwrap();
        let feeder = Feeder::new(&cluster.brokers());
        Self { cluster, feeder, folder: tempfile::tempdir().unwrap() }
    }

    fn settings(&self) -> Settings {
        settings(&self.cluster.brokers(), &["audit"])
    }

    fn write(&self, texts: &[&str]) {
        self.feeder.write("audit", 0, texts);
    }

    fn committed(&self) -> Offset {
        committed(&self.cluster.brokers(), "audit", 0)
    }
}

fn begins(next: i64) -> Vec<(String, i32, i64)> {
    vec![("audit".to_owned(), 0, next)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_store_is_and_kafka_is_told_exactly_that_offset() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    kafka.write(&["a", "b", "c"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(1).await, begins(0));
    assert_eq!(reader.read(3).await, ["a", "b", "c"]);
    reader.stop().await;
    assert_eq!(kafka.committed(), Offset::Offset(3), "the next offset, not the last one and not one more");

    kafka.write(&["d"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(1).await, begins(3));
    assert_eq!(reader.read(1).await, ["d"]);
    assert_eq!(reader.rows().await, begins(4));
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_polled_but_not_accepted_comes_again_after_a_restart() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    kafka.write(&["a", "b"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    assert_eq!(reader.batch().await.len(), 2);
    reader.stop().await;
    assert_eq!(kafka.committed(), Offset::Invalid, "nothing was accepted");

    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(1).await, begins(0));
    assert_eq!(reader.read(2).await, ["a", "b"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_group_gets_rows_for_every_partition_of_its_topic() {
    let kafka = Kafka::new(3);
    let store = store(kafka.folder.path());
    kafka.feeder.write("audit", 2, &["a"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    let all: Vec<_> = (0..3).map(|partition| ("audit".to_owned(), partition, 0)).collect();
    assert_eq!(reader.assigned(3).await, all);
    assert_eq!(reader.rows().await, all);
    assert_eq!(reader.read(1).await, ["a"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stops_reading_until_its_last_reason_is_gone() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    kafka.write(&["a"]);
    assert_eq!(reader.read(1).await, ["a"]);
    reader.tell(Command::Hold { reason: "disk-low" }).await;
    reader.tell(Command::Hold { reason: "dead-letters-full" }).await;
    // The command is heard after the poll that is under way: at most its 100 ms.
    reader.silent().await;
    kafka.write(&["b", "c"]);
    reader.silent().await;
    reader.tell(Command::Resume { reason: "disk-low" }).await;
    reader.silent().await;
    reader.tell(Command::Resume { reason: "dead-letters-full" }).await;
    assert_eq!(reader.read(2).await, ["b", "c"]);
    reader.stop().await;
}

/// A reader with three records in hand, `a` to `c`, of which none is accepted.
async fn three_in_hand(kafka: &Kafka) -> (Reader, Vec<Envelope>) {
    kafka.write(&["a", "b", "c"]);
    let mut reader = Reader::start(kafka.settings(), &store(kafka.folder.path()));
    reader.assigned(1).await;
    let batch = reader.batch().await;
    assert_eq!(batch.len(), 3);
    (reader, batch)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reseek_reads_again_from_the_stores_position() {
    let kafka = Kafka::new(1);
    let (mut reader, batch) = three_in_hand(&kafka).await;
    reader.accept(&batch[..1]).await.unwrap();
    let (topic, partition) = (batch[0].topic.clone(), 0);
    reader.tell(Command::Reseek { topic, partition }).await;
    assert_eq!(reader.assigned(1).await, begins(1));
    assert_eq!(reader.read(2).await, ["b", "c"]);
    kafka.write(&["d"]);
    assert_eq!(reader.read(1).await, ["d"], "and on");
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_race_for_a_position_goes_where_the_winner_is() {
    let kafka = Kafka::new(1);
    let (mut reader, batch) = three_in_hand(&kafka).await;
    let (topic, source) = (batch[0].topic.clone(), kafka.settings().name);
    // Somebody else, through a handle of his own, accepts two records first.
    let other = store(kafka.folder.path());
    let fence = Fence { source, topic: topic.clone(), partition: 0, from: 0, to: 2, bad: 0 };
    let now = auditbell::clock::Clock::system().now();
    other.accept(Batch { fences: vec![fence], ..Batch::default() }, now).await.unwrap();

    let lost = reader.accept(&batch).await;
    assert!(matches!(lost, Err(AcceptError::Fenced { from: 0, .. })), "{lost:?}");
    reader.tell(Command::Reseek { topic, partition: 0 }).await;
    assert_eq!(reader.assigned(1).await, begins(2));
    assert_eq!(reader.read(1).await, ["c"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_the_start_and_later_costs_nothing_but_time() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    kafka.write(&["a"]);
    kafka.cluster.down();
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.silent().await;
    kafka.cluster.up();
    reader.assigned(1).await;
    assert_eq!(reader.read(1).await, ["a"]);
    kafka.cluster.down();
    reader.silent().await;
    kafka.cluster.up();
    kafka.write(&["b"]);
    assert_eq!(reader.read(1).await, ["b"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_stops_in_time_while_its_broker_is_away() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    kafka.write(&["a"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    assert_eq!(reader.read(1).await, ["a"]);
    kafka.cluster.down();
    let stopping = std::time::Instant::now();
    reader.stop().await;
    assert!(stopping.elapsed().as_secs() <= 11, "{:?}", stopping.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn intake_may_be_slow_nothing_is_lost_and_the_group_is_not_left() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    // One batch in the thread's hand, two on the way; more stay at the broker. After 5 s the partition is paused, and
    // after 6 s the session would end if nobody polled on.
    let texts: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    for text in &texts {
        kafka.write(&[text]);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(reader.read(40).await, texts);
    kafka.write(&["last"]);
    assert_eq!(reader.read(1).await, ["last"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_comes_in_bounded_batches() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    let texts: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    kafka.write(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    let mut seen = Vec::new();
    while seen.len() < 3_000 {
        let batch = reader.batch().await;
        assert!(batch.len() <= auditbell::source::BATCH_MESSAGES);
        seen.extend(batch.iter().map(text));
        reader.accept(&batch).await.unwrap();
    }
    assert_eq!(seen, texts);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_goes_to_another_member_is_revoked_and_nothing_of_it_follows() {
    let kafka = Kafka::new(4);
    let store = store(kafka.folder.path());
    let mut first = Reader::start(kafka.settings(), &store);
    first.assigned(4).await;
    let second = Reader::start(kafka.settings(), &store);
    let mut revoked = 0;
    while revoked < 2 {
        match first.event().await {
            Event::Revoked { .. } => revoked += 1,
            other => panic!("{other:?}"),
        }
    }
    // The mock gives the second member nothing; what stays with the first is read on.
    for partition in 0..4 {
        kafka.feeder.write("audit", partition, &["x"]);
    }
    assert_eq!(first.read(2).await, ["x", "x"]);
    first.silent().await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_and_a_group_with_history_do_not_start() {
    let kafka = Kafka::new(1);
    kafka.write(&["a", "b", "c"]);
    {
        let mut reader = Reader::start(kafka.settings(), &store(kafka.folder.path()));
        reader.assigned(1).await;
        let batch = reader.batch().await;
        reader.accept(&batch[..2]).await.unwrap();
        reader.stop().await;
    }
    assert_eq!(kafka.committed(), Offset::Offset(2));

    let lost = tempfile::tempdir().unwrap();
    let mut reader = Reader::start(kafka.settings(), &store(lost.path()));
    let (exit, message) = reader.fatal().await;
    assert_eq!(exit, 78);
    for part in
        ["[source.entra]", "\"auditbell\"", "audit", "wrong volume", "on_lost_store = \"committed\"", "\"replay\""]
    {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(reader.rows().await, [], "nothing was written");
    reader.stop().await;

    for (choice, next) in [(OnLostStore::Committed, 2), (OnLostStore::Replay, 0)] {
        let lost = tempfile::tempdir().unwrap();
        let mut reader = Reader::start(Settings { on_lost_store: choice, ..kafka.settings() }, &store(lost.path()));
        assert_eq!(reader.assigned(1).await, begins(next), "{choice:?}");
        reader.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_renamed_goes_on_where_its_group_was() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    kafka.write(&["a", "b"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    assert_eq!(reader.read(2).await, ["a", "b"]);
    reader.stop().await;
    let mut reader = Reader::start(Settings { name: "renamed".into(), ..kafka.settings() }, &store);
    assert_eq!(reader.assigned(1).await, begins(2));
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_the_broker_refuses_cost_nothing() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    kafka.write(&["a", "b"]);
    // As librdkafka's own tests 0117 and 0148: not coordinator, loading, rebalancing, illegal generation, unknown member.
    kafka.cluster.mock().request_errors(
        RDKafkaApiKey::OffsetCommit,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
        ],
    );
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    assert_eq!(reader.read(2).await, ["a", "b"]);
    reader.stop().await;
    kafka.write(&["c"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(1).await, begins(2), "the store's position, whatever Kafka has");
    assert_eq!(reader.read(1).await, ["c"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_typed_wrong_is_an_error_at_once() {
    let kafka = Kafka::new(1);
    let mut settings = kafka.settings();
    settings.kafka.insert("session.timeout".into(), "1".into());
    let runtime = tokio::runtime::Handle::current();
    let refused = auditbell::source::start(
        settings,
        store(kafka.folder.path()),
        true,
        auditbell::clock::Clock::system(),
        runtime,
    );
    let refused = format!("{:#}", refused.expect_err("refused"));
    assert!(refused.contains("[source.entra] kafka.session.timeout"), "{refused}");
}

/// librdkafka keeps what is paused paused, although it is given up and assigned again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_ends_while_a_partition_is_nobodys_does_not_leave_it_paused() {
    let kafka = Kafka::new(1);
    let store = store(kafka.folder.path());
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    kafka.write(&["a"]);
    assert_eq!(reader.read(1).await, ["a"]);
    reader.tell(Command::Hold { reason: "disk-low" }).await;
    reader.silent().await;
    kafka.cluster.down();
    let revoked = reader.event().await;
    assert!(matches!(revoked, Event::Revoked { .. }), "{revoked:?}");
    reader.tell(Command::Resume { reason: "disk-low" }).await;
    reader.silent().await;
    kafka.cluster.up();
    assert_eq!(reader.assigned(1).await, begins(1));
    kafka.write(&["b"]);
    assert_eq!(reader.read(1).await, ["b"]);
    reader.stop().await;
}
