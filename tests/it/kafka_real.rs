//! The source against a real Apache Kafka: what the mock cluster cannot do. Run by
//! `tests/kafka run cargo test --test it -- --ignored kafka_real`, which starts the broker and names it in the environment.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auditbell::clock::Clock;
use auditbell::secret::Secret;
use auditbell::source::{Command, Event, OnLostStore, Sasl, Settings, Start, Tls, probe};
use tempfile::TempDir;

use crate::kafka_admin::{Admin, variable};
use crate::kafka_reader::{DEADLINE, Feeder, Reader, settings, store};

const HOUR: Duration = Duration::from_hours(1);

/// The broker that `tests/kafka` started, with a topic and a group of this test's own.
struct Kafka {
    topic: String,
    brokers: String,
    admin: Admin,
    feeder: Feeder,
    folder: TempDir,
}

impl Kafka {
    async fn new(topic: &str, partitions: i32) -> Self {
        let brokers = variable("AUDITBELL_KAFKA");
        let admin = Admin::new(&brokers, topic);
        admin.create(partitions).await;
        let feeder = Feeder::new(&brokers);
        Self { topic: topic.to_owned(), brokers, admin, feeder, folder: tempfile::tempdir().unwrap() }
    }

    fn settings(&self) -> Settings {
        Settings { group_id: format!("group-of-{}", self.topic), ..settings(&self.brokers, &[&self.topic]) }
    }

    fn write(&self, texts: &[&str]) {
        self.feeder.write(&self.topic, 0, texts);
    }

    fn begins(&self, next: i64) -> Vec<(String, i32, i64)> {
        vec![(self.topic.clone(), 0, next)]
    }

    /// With the password given, over TLS with the test's own authority.
    fn secured(&self, password: &str) -> Settings {
        Settings {
            brokers: variable("AUDITBELL_KAFKA_TLS"),
            auth: Some(Sasl {
                mechanism: "PLAIN".to_owned(),
                user: variable("AUDITBELL_KAFKA_USER"),
                password: Secret::new(password),
            }),
            tls: Some(Tls { ca_file: Some(PathBuf::from(variable("AUDITBELL_KAFKA_CA"))), ..Tls::default() }),
            ..self.settings()
        }
    }
}

/// What this process logs on this test's thread and the source's.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The only test binary that looks at the whole process's log: the Kafka thread is not the test's own.
    fn of_the_process() -> Self {
        static LOG: std::sync::LazyLock<Log> = std::sync::LazyLock::new(|| {
            let log = Log::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log
        });
        LOG.clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// Waits for a line with all of these parts.
    async fn line(&self, parts: &[&str]) -> String {
        let found = async {
            loop {
                if let Some(line) = self.text().lines().find(|line| parts.iter().all(|part| line.contains(part))) {
                    return line.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no line with {parts:?}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_start_by_time_reads_the_last_hour_of_a_week() {
    let kafka = Kafka::new("by-time", 2).await;
    let now = Clock::system().now();
    for hours in (2..=168).rev() {
        kafka.feeder.write_at(&kafka.topic, 0, &["old"], now.minus(HOUR * hours));
    }
    for minutes in [30, 20, 10] {
        kafka.feeder.write_at(&kafka.topic, 0, &["new"], now.minus(Duration::from_mins(minutes)));
    }
    kafka.feeder.write_at(&kafka.topic, 1, &["old"], now.minus(HOUR * 5));

    let store = store(kafka.folder.path());
    let mut reader = Reader::start(Settings { start: Start::Ago(HOUR), ..kafka.settings() }, &store);
    let begun = reader.assigned(2).await;
    let end = (kafka.topic.clone(), 1, 1);
    assert_eq!(begun, [(kafka.topic.clone(), 0, 167), end], "the end, where nothing is young");
    assert_eq!(reader.read(3).await, ["new", "new", "new"]);
    reader.silent().await;
    reader.stop().await;

    let other = tempfile::tempdir().unwrap();
    let at = Settings { start: Start::At(now.minus(HOUR * 2)), group_id: "by-moment".to_owned(), ..kafka.settings() };
    let mut reader = Reader::start(at, &crate::kafka_reader::store(other.path()));
    assert_eq!(reader.assigned(2).await[0].2, 166, "a moment, its own record included");
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_recreated_topic_is_read_from_its_first_record() {
    let kafka = Kafka::new("recreated", 1).await;
    let store = store(kafka.folder.path());
    kafka.write(&["a", "b", "c"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    reader.read(3).await;
    reader.stop().await;
    kafka.admin.delete().await;
    kafka.admin.create(1).await;
    kafka.write(&["A"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(1).await, kafka.begins(0));
    assert_eq!(reader.read(1).await, ["A"]);
    assert_eq!(reader.rows().await, kafka.begins(1));
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_topic_truncated_before_the_position_goes_on_at_the_first_record_and_counts_the_gap() {
    let log = Log::of_the_process();
    let kafka = Kafka::new("truncated", 1).await;
    let store = store(kafka.folder.path());
    kafka.write(&["a", "b", "c", "d", "e"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    let batch = reader.batch().await;
    reader.accept(&batch[..2]).await.unwrap();
    reader.stop().await;
    kafka.admin.truncate(4).await;
    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(1).await, kafka.begins(4));
    assert_eq!(reader.read(1).await, ["e"]);
    let line = log.line(&["ERROR", "deleted records before they were read", "truncated"]).await;
    assert!(line.contains("before=2") && line.contains("next=4") && line.contains("lost=2"), "{line}");
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_topic_truncated_while_it_is_assigned_and_held_goes_on_too() {
    let kafka = Kafka::new("truncated-assigned", 1).await;
    let store = store(kafka.folder.path());
    kafka.write(&["a"]);
    let mut reader = Reader::start(kafka.settings(), &store);
    reader.assigned(1).await;
    reader.read(1).await;
    reader.tell(Command::Hold { reason: "disk-low" }).await;
    reader.silent().await;
    kafka.write(&["b", "c", "d"]);
    kafka.admin.truncate(3).await;
    reader.tell(Command::Resume { reason: "disk-low" }).await;
    assert_eq!(reader.assigned(1).await, kafka.begins(3), "the offset was out of range: placed anew");
    assert_eq!(reader.read(1).await, ["d"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_partition_that_is_added_is_read_from_its_first_record() {
    let kafka = Kafka::new("grown", 1).await;
    let store = store(kafka.folder.path());
    kafka.write(&["a"]);
    let mut reader = Reader::start(Settings { start: Start::Latest, ..kafka.settings() }, &store);
    assert_eq!(reader.assigned(1).await, kafka.begins(1));
    kafka.admin.grow(2).await;
    // A feeder of its own: the other one has the topic's old metadata.
    Feeder::new(&kafka.brokers).write(&kafka.topic, 1, &["first"]);
    assert_eq!(reader.read(1).await, ["first"], "although new groups start at the end");
    reader.stop().await;
}

/// A fetch waits at the broker for up to five seconds here, and whatever else is asked on its connection waits behind it. Of
/// what is asked every ten seconds, twice in this time, no record may hear anything.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn no_record_waits_while_the_lag_and_the_partitions_are_looked_at() {
    let kafka = Kafka::new("looked-at", 2).await;
    let mut settings = kafka.settings();
    settings.kafka.insert("fetch.wait.max.ms".to_owned(), "5000".to_owned());
    let mut reader = Reader::start(settings, &store(kafka.folder.path()));
    kafka.write(&["first"]);
    assert_eq!(reader.read(1).await, ["first"]);
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    while begun.elapsed() < Duration::from_secs(25) {
        let written = Instant::now();
        kafka.write(&["next"]);
        reader.read(1).await;
        slowest = slowest.max(written.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // One question may take a second.
    assert!(slowest < Duration::from_millis(800), "one record was read after {slowest:?}");
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn two_members_share_the_partitions_and_one_takes_over_what_the_other_leaves() {
    let kafka = Kafka::new("shared", 4).await;
    let store = store(kafka.folder.path());
    let mut first = Reader::start(kafka.settings(), &store);
    first.assigned(4).await;
    let mut second = Reader::start(kafka.settings(), &crate::kafka_reader::store(kafka.folder.path()));
    let theirs = second.assigned(2).await;
    for _ in 0..2 {
        assert!(matches!(first.event().await, Event::Revoked { .. }));
    }
    for partition in 0..4 {
        kafka.feeder.write(&kafka.topic, partition, &[&format!("p{partition}")]);
    }
    let mut read = first.read(2).await;
    read.extend(second.read(2).await);
    read.sort();
    assert_eq!(read, ["p0", "p1", "p2", "p3"]);
    second.stop().await;
    let back: Vec<_> = theirs.iter().map(|(topic, partition, _)| (topic.clone(), *partition, 1)).collect();
    assert_eq!(first.assigned(2).await, back, "where the other one stopped");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_login_over_tls_works_with_the_right_password_and_names_the_setting_with_a_wrong_one() {
    let log = Log::of_the_process();
    let kafka = Kafka::new("secured", 1).await;
    let store = store(kafka.folder.path());
    kafka.write(&["a"]);

    let wrong = Settings { name: Arc::from("wrong"), ..kafka.secured("canary-7c1f") };
    let mut reader = Reader::start(wrong, &store);
    log.line(&["ERROR", "refuses the login", "[source.wrong] auth", "password_file"]).await;
    reader.silent().await;
    reader.stop().await;
    assert!(!log.text().contains("canary-7c1f"), "a password was logged");
    let told = log.text().lines().filter(|line| line.contains("ERROR") && line.contains("refuses the login")).count();
    assert_eq!(told, 1, "once a minute");

    let password = variable("AUDITBELL_KAFKA_PASSWORD");
    let mut reader = Reader::start(kafka.secured(&password), &store);
    reader.assigned(1).await;
    assert_eq!(reader.read(1).await, ["a"]);
    reader.stop().await;
    assert!(!log.text().contains(&password), "a password was logged");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn scram_and_a_clients_certificate_are_logins_too() {
    let kafka = Kafka::new("other-logins", 1).await;
    kafka.write(&["a"]);
    let authority = PathBuf::from(variable("AUDITBELL_KAFKA_CA"));
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let password = Secret::new(variable("AUDITBELL_KAFKA_SCRAM_PASSWORD"));
        let auth = Sasl { mechanism: mechanism.to_owned(), user: "scram".to_owned(), password };
        let settings =
            Settings { auth: Some(auth), group_id: format!("group-of-{mechanism}"), ..kafka.secured("not used") };
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::start(settings, &store(folder.path()));
        assert_eq!(reader.read(1).await, ["a"], "{mechanism}");
        reader.stop().await;
    }
    let tls = Tls {
        cert_file: Some(authority.with_file_name("client.crt")),
        key_file: Some(authority.with_file_name("client.key")),
        ca_file: Some(authority),
    };
    let settings = Settings { brokers: variable("AUDITBELL_KAFKA_MTLS"), tls: Some(tls), ..kafka.settings() };
    let mut reader = Reader::start(settings, &store(kafka.folder.path()));
    assert_eq!(reader.read(1).await, ["a"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn of_two_processes_with_one_instance_id_the_loser_ends_with_75() {
    let kafka = Kafka::new("instance", 1).await;
    let mut settings = kafka.settings();
    settings.kafka.insert("group.instance.id".to_owned(), "pod-0".to_owned());
    let store = store(kafka.folder.path());
    let mut first = Reader::start(settings.clone(), &store);
    first.assigned(1).await;
    let mut second = Reader::start(settings, &store);
    second.assigned(1).await;
    let (exit, message) = first.fatal().await;
    assert_eq!(exit, 75);
    assert!(message.contains("[source.entra]") && message.contains("group.instance.id"), "{message}");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_probe_tells_a_wrong_password_from_a_missing_topic() {
    let kafka = Kafka::new("probed", 1).await;
    let probe = |settings: Settings| tokio::task::spawn_blocking(move || probe(&settings, DEADLINE));
    let right = kafka.secured(&variable("AUDITBELL_KAFKA_PASSWORD"));
    probe(right.clone()).await.unwrap().unwrap();
    let said = probe(kafka.secured("canary-55d0")).await.unwrap().unwrap_err().to_string();
    assert!(said.contains("refuses the login") && said.contains("[source.entra] auth"), "{said}");
    assert!(!said.contains("canary-55d0"), "{said}");
    let said = probe(Settings { topics: vec!["nowhere".to_owned()], ..right }).await.unwrap().unwrap_err().to_string();
    assert!(said.contains("`nowhere` does not exist"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn an_authority_that_did_not_sign_the_brokers_certificate_is_an_error_with_the_setting() {
    let log = Log::of_the_process();
    let kafka = Kafka::new("untrusted", 1).await;
    // The system's roots do not know this broker.
    let settings = Settings { name: Arc::from("untrusted"), tls: Some(Tls::default()), ..kafka.secured("any") };
    let mut reader = Reader::start(settings, &store(kafka.folder.path()));
    log.line(&["ERROR", "no secure connection", "[source.untrusted] tls.ca_file"]).await;
    reader.silent().await;
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_topic_that_is_missing_is_told_and_read_once_it_is_there() {
    let log = Log::of_the_process();
    let kafka = Kafka::new("not-this-one", 1).await;
    let mut settings = Settings { topics: vec!["missing".to_owned()], name: Arc::from("lost"), ..kafka.settings() };
    settings.kafka.insert("topic.metadata.refresh.interval.ms".to_owned(), "1000".to_owned());
    let mut reader = Reader::start(settings, &store(kafka.folder.path()));
    log.line(&["ERROR", "a topic does not exist", "[source.lost] topics", "missing"]).await;
    let late = Admin::new(&kafka.brokers, "missing");
    late.create(1).await;
    kafka.feeder.write(&late.topic, 0, &["a"]);
    assert_eq!(reader.read(1).await, ["a"]);
    reader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_lost_store_is_refused_and_on_lost_store_is_the_way_out() {
    let kafka = Kafka::new("lost-store", 2).await;
    kafka.write(&["a", "b", "c"]);
    {
        let mut reader = Reader::start(kafka.settings(), &store(kafka.folder.path()));
        reader.assigned(2).await;
        let batch = reader.batch().await;
        reader.accept(&batch[..2]).await.unwrap();
        reader.stop().await;
    }
    let lost = tempfile::tempdir().unwrap();
    let store = store(lost.path());
    let mut reader = Reader::start(kafka.settings(), &store);
    let (exit, message) = reader.fatal().await;
    assert_eq!(exit, 78, "{message}");
    assert!(message.contains("on_lost_store = \"committed\""), "{message}");
    assert_eq!(reader.rows().await, []);
    reader.stop().await;
    let mut reader = Reader::start(Settings { on_lost_store: OnLostStore::Committed, ..kafka.settings() }, &store);
    let begun = [(kafka.topic.clone(), 0, 2), (kafka.topic.clone(), 1, 0)];
    assert_eq!(reader.assigned(2).await, begun, "partition 1 was never committed");
    assert_eq!(reader.read(1).await, ["c"]);
    reader.stop().await;
    let mut reader = Reader::start(kafka.settings(), &store);
    assert_eq!(reader.assigned(2).await[0].2, 3, "and from then on the store counts");
    reader.stop().await;
}
