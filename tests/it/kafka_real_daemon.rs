//! The whole daemon against a real Apache Kafka: what was produced, against the relay's journal. Run by
//! `tests/kafka run cargo test --test it -- --ignored kafka_real`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use auditbell::clock::{Clock, Timestamp};
use serde_json::Value;

use crate::harness::{ALICE, Bench, Kafka, envelope, fixture, reset_of_number};
use crate::kafka_admin::{Admin, OwnBroker, variable};
use crate::kafka_reader::Feeder;
use crate::smtp_server::{Accepted, Action, Command, Options};

const HOUR: Duration = Duration::from_hours(1);
/// Connections of the channel, by default.
const CONNECTIONS: usize = 5;
/// Copies that one kill may cost: docs/delivery.md.
const COPIES: usize = CONNECTIONS * 9;

/// A bench on a topic and a group of its own.
struct Real {
    bench: Bench,
    admin: Admin,
    feeder: Feeder,
}

impl Real {
    async fn new(topic: &str, partitions: i32) -> Self {
        Self::at(&variable("AUDITBELL_KAFKA"), topic, partitions).await
    }

    async fn at(brokers: &str, topic: &str, partitions: i32) -> Self {
        let admin = Admin::new(brokers, topic);
        admin.create(partitions).await;
        Self { bench: bench(&admin, topic).await, admin, feeder: Feeder::new(brokers) }
    }

    /// Somebody of this number, in a message of their own.
    fn write(&self, partition: i32, numbers: impl IntoIterator<Item = usize>) {
        let texts: Vec<String> = numbers.into_iter().map(|number| envelope(&[reset_of_number(number)])).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.feeder.write(&self.admin.topic, partition, &texts);
    }

    /// Everything the topic holds is accounted for: the books balance, the positions are the ends, the mails are
    /// those of these numbers, each once.
    fn settled(&self, partitions: i32, numbers: impl IntoIterator<Item = usize>) {
        self.bench.books_balance();
        assert_eq!(positions(&self.bench), self.admin.ends(partitions));
        assert_eq!(told(&self.bench.relay.accepted()), mails_of(numbers));
        assert_eq!(self.bench.relay.accepted().len(), self.bench.relay.message_ids().len(), "a copy");
    }
}

/// A directory, a store and a relay for `group`.
async fn bench(admin: &Admin, group: &str) -> Bench {
    let mut bench = Bench::on(Kafka::real(&admin.brokers, &admin.topic), Options::default()).await;
    bench.replace("group_id = \"auditbell\"", &format!("group_id = \"group-of-{group}\""));
    // The time until a new partition, and a broker that is back, are noticed.
    bench.replace(
        "\"heartbeat.interval.ms\"",
        "\"topic.metadata.refresh.interval.ms\" = \"1000\", \"reconnect.backoff.max.ms\" = \"500\", \"heartbeat.interval.ms\"",
    );
    bench
}

/// (recipient, subject): how often, each Message-ID counted once.
type Told = BTreeMap<(String, String), usize>;

fn told(mails: &[Accepted]) -> Told {
    let mut seen = BTreeSet::new();
    let mut told = Told::new();
    for mail in mails.iter().filter(|mail| seen.insert(&mail.message_id)) {
        let parsed = mail_parser::MessageParser::default().parse(&mail.bytes).unwrap();
        *told.entry((mail.to.join(","), parsed.subject().unwrap().to_owned())).or_default() += 1;
    }
    told
}

fn mails_of(numbers: impl IntoIterator<Item = usize>) -> Told {
    let mail = |number| ((format!("user-{number}@example.com"), "Your password was reset".to_owned()), 1);
    numbers.into_iter().map(mail).collect()
}

/// (partition, next) by `positions list`.
fn positions(bench: &Bench) -> Vec<(i32, i64)> {
    let output = bench.command(&["positions", "list", "-o", "json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = |row: Value| (i32::try_from(row["partition"].as_i64().unwrap()).unwrap(), row["next"].as_i64().unwrap());
    let mut rows: Vec<_> = rows.map(row).collect();
    rows.sort_unstable();
    rows
}

/// The rules that we ship, with a short wait and a brake that the crowd does not trip.
fn shipped_rules() -> String {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml")).unwrap();
    let rules = &example[example.find("[policy.personal]").unwrap()..];
    assert!(rules.contains("wait = \"20s\"") && rules.contains("max = 100,"), "{rules}");
    rules.replace("wait = \"20s\"", "wait = \"1s\"").replace("max = 100,", "max = 10000,")
}

const RESET: &str = "Your password was reset";
const REGISTERED: &str = "A sign-in method was added to your account";
const CHANGED: &str = "A sign-in method of your account was changed";
const DELETED: &str = "A sign-in method was removed from your account";
const TWO_STEP: &str = "Two-step sign-in was changed for your account";
const CREDENTIAL: &str = "A passkey or credential was added to your account";
const UNRESOLVED: &str = "Somebody could not be told (rule password-reset)";
const UNRESOLVED_INFO: &str = "Somebody could not be told (rule security-info-registered)";
const A: &str = "alice@example.com";
const B: &str = "bob@example.com";
const SOC: &str = "soc@example.com";

/// What must come of each file under the shipped rules: written down by hand from the files.
const FIXTURES: &[(&str, &[(&str, &str)])] = &[
    ("account-disabled.json", &[(B, "Your account was disabled")]),
    ("account-enabled.json", &[(B, "Your account was enabled")]),
    ("admin-password-reset.json", &[(A, RESET)]),
    ("app-actor.json", &[(B, RESET)]),
    ("bad-record-in-the-middle.msg", &[(A, RESET), (B, RESET)]),
    ("default-method-changed.json", &[(A, "Your default sign-in method was changed")]),
    ("failure.json", &[]),
    ("group-device-role-targets.json", &[]),
    ("guest-target.json", &[(SOC, UNRESOLVED), (SOC, UNRESOLVED_INFO), (SOC, UNRESOLVED)]),
    ("hostile-text.json", &[(A, RESET), (A, RESET), (SOC, UNRESOLVED)]),
    ("missing-and-null-fields.json", &[(A, RESET)]),
    (
        "multifactor-and-passkeys.json",
        &[(A, TWO_STEP), (A, "Suspicious activity on your account was reported"), (A, CREDENTIAL), (A, CREDENTIAL)],
    ),
    // Its two records that can be told are those of bad-record-in-the-middle.msg: the same ids, told once.
    ("null-target-list-in-the-middle.json", &[]),
    ("password-changed-by-self.json", &[(A, "Your password was changed")]),
    ("security-info-changed.json", &[(A, CHANGED), (B, CHANGED)]),
    ("security-info-deleted.json", &[(A, DELETED), (B, DELETED)]),
    ("security-info-registered-by-admin.json", &[(A, REGISTERED)]),
    ("security-info-registered.json", &[(A, REGISTERED)]),
    ("self-service-password-reset.json", &[(A, RESET)]),
    ("two-users-in-one-envelope.json", &[(A, RESET), (B, RESET)]),
    ("two-users-in-one-record.json", &[(A, RESET), (B, RESET)]),
    ("update-user-strong-authentication.json", &[(A, TWO_STEP)]),
    // One of its records is a directory audit as Graph gives it: the same rule, the same mail.
    ("graph-identity.ndjson", &[(B, RESET)]),
    // No shipped rule is about these dialects.
    ("activity-log.json", &[]),
    ("activity-rest.ndjson", &[]),
    ("defender-alert-in-activity-log.json", &[]),
    ("defender-endpoint.json", &[]),
    ("defender-export.ndjson", &[]),
    ("defender-people.ndjson", &[]),
    ("defender-resources.ndjson", &[]),
    ("elastic.ndjson", &[]),
    ("elastic-people.ndjson", &[]),
    ("graph-security.ndjson", &[]),
    ("risk.json", &[]),
    ("signin-applications.json", &[]),
    ("signin-log-analytics.json", &[]),
    ("signin-people.json", &[]),
    ("aws-cloudtrail-eventbridge.ndjson", &[]),
    ("aws-cloudtrail.json", &[]),
    ("defender-xdr.json", &[]),
    ("github-audit.ndjson", &[]),
    ("intune-audit.ndjson", &[]),
    ("o365-audit.ndjson", &[]),
    ("okta-system.ndjson", &[]),
    ("sentinel-incident.ndjson", &[]),
];

/// Without a broker, so that whoever adds a fixture hears of it from the README's command.
#[test]
fn every_fixture_has_its_expected_mails() {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/records")).unwrap();
    let there: BTreeSet<_> = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let named: BTreeSet<_> = FIXTURES.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(there, named);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn the_fixtures_and_a_crowd_survive_a_kill_in_the_middle() {
    const CROWD: usize = 300;
    let mut real = Real::new("whole-daemon", 4).await;
    real.bench.rules = shipped_rules();
    real.bench.replace("wait = \"15m\"", "wait = \"1s\"");
    // Slow enough that the kill finds work under way.
    real.bench.relay.on(Command::Dot, Action::Delay(Duration::from_millis(20)));
    let mut expected = mails_of(0..CROWD);
    for (partition, (file, mails)) in (0..4).cycle().zip(FIXTURES) {
        let text = String::from_utf8(fixture(file)).unwrap();
        real.feeder.write(&real.admin.topic, partition, &[&text]);
        for (to, subject) in *mails {
            *expected.entry(((*to).to_owned(), (*subject).to_owned())).or_default() += 1;
        }
    }
    for partition in 0..4_usize {
        let numbers = (0..CROWD).filter(|number| number % 4 == partition);
        real.write(i32::try_from(partition).unwrap(), numbers);
    }
    let total: usize = expected.values().sum();

    real.bench.start().await;
    real.bench.relay.wait_for(total / 4).await;
    real.bench.kill();
    let before = real.bench.relay.message_ids().len();
    assert!(before < total, "the kill came too late: {before} of {total}");

    real.bench.start().await;
    real.bench.until("every mail", |bench| (bench.relay.message_ids().len() >= total).then_some(())).await;
    real.bench.until("every position", |bench| (positions(bench) == real.admin.ends(4)).then_some(())).await;
    assert!(real.bench.stop().await.success());
    let mails = real.bench.relay.accepted();
    let told = told(&mails);
    let (told, wanted): (BTreeSet<_>, BTreeSet<_>) = (told.iter().collect(), expected.iter().collect());
    let (more, fewer): (Vec<_>, Vec<_>) = (told.difference(&wanted).collect(), wanted.difference(&told).collect());
    assert!(more.is_empty() && fewer.is_empty(), "told {more:?} in place of {fewer:?}");
    let copies = mails.len() - real.bench.relay.message_ids().len();
    assert!(copies <= COPIES, "{copies} copies");
    let numbered: BTreeSet<_> =
        mails.iter().filter(|mail| mail.to[0].starts_with("user-")).map(|mail| (&mail.to, &mail.message_id)).collect();
    assert_eq!(numbered.len(), CROWD, "one Message-ID for each, copies included");
    real.bench.books_balance();
}

/// A record about `number`, at `at` by its own time and by Kafka's.
fn write_at(real: &Real, number: usize, at: Timestamp) {
    let mut record = reset_of_number(number);
    record["time"] = at.to_string().into();
    record["properties"]["activityDateTime"] = at.to_string().into();
    real.feeder.write_at(&real.admin.topic, 0, &[&envelope(&[record])], at);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_week_of_history_mails_nobody_and_the_last_half_hour_is_told() {
    const TOLD: [usize; 3] = [30, 20, 10];
    let mut real = Real::new("a-week", 1).await;
    let now = Clock::system().now();
    // One an hour; the numbers are those of the hours, and of the minutes for the last three.
    for hours in (2..=168).rev() {
        write_at(&real, 1_000 + usize::try_from(hours).unwrap(), now.minus(HOUR * hours));
    }
    for (minutes, number) in [30, 20, 10].into_iter().zip(TOLD) {
        write_at(&real, number, now.minus(Duration::from_mins(minutes)));
    }

    real.bench.replace("start = \"earliest\"\n", ""); // the default: an hour ago
    real.bench.start().await;
    real.bench.accepted_to(170).await;
    real.bench.relay.wait_for(3).await;
    assert_eq!(real.bench.metric("auditbell_records_total", &[]), 3, "the history is not even read");
    assert!(real.bench.stop().await.success());
    real.settled(1, TOLD);

    // Another group and another store, and all of the week.
    let mut all = bench(&real.admin, "all-of-a-week").await;
    all.start().await;
    all.accepted_to(170).await;
    all.relay.wait_for(3).await;
    assert_eq!(all.metric("auditbell_records_total", &[]), 170);
    let ended = |labels: &[&str]| all.metric("auditbell_notifications_total", labels);
    assert_eq!(ended(&["verdict=\"expired\"", "reason=\"too-old\""]), 97, "72 to 168 hours old; max_age is 3d");
    assert_eq!(ended(&["verdict=\"skipped\"", "reason=\"before-rule\""]), 70, "2 to 71 hours old");
    assert!(all.stop().await.success());
    all.books_balance();
    assert_eq!(told(&all.relay.accepted()), mails_of(TOLD));
    assert_eq!(all.relay.accepted().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_topic_that_is_recreated_with_fewer_records_is_told_from_its_first_record() {
    let mut real = Real::new("daemon-recreated", 1).await;
    real.bench.start().await;
    real.write(0, 0..5);
    real.bench.relay.wait_for(5).await;
    assert!(real.bench.stop().await.success());

    real.admin.delete().await;
    real.admin.create(1).await;
    real.feeder = Feeder::new(&real.admin.brokers);
    real.write(0, 5..8);
    real.bench.start().await;
    real.bench.relay.wait_for(8).await;
    real.bench.until("a word about it", |bench| bench.log().contains("recreated").then_some(())).await;

    // And once more, under its feet.
    real.bench.accepted_to(3).await;
    real.admin.delete().await;
    real.admin.create(1).await;
    real.feeder = Feeder::new(&real.admin.brokers);
    real.write(0, 8..10);
    real.bench.relay.wait_for(10).await;
    real.bench.until("the end", |bench| (positions(bench) == real.admin.ends(1)).then_some(())).await;
    assert!(real.bench.stop().await.success());
    real.settled(1, 0..10);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_topic_that_is_truncated_goes_on_at_its_first_record_and_the_gap_is_counted() {
    let mut real = Real::new("daemon-truncated", 1).await;
    real.bench.start().await;
    real.write(0, 0..5);
    real.bench.relay.wait_for(5).await;
    // What was read already is cut off: nothing is lost.
    real.admin.truncate(4).await;
    real.write(0, 5..6);
    real.bench.relay.wait_for(6).await;
    real.bench.accepted_to(6).await;
    assert_eq!(real.bench.metric("auditbell_kafka_lost_records_total", &[]), 0);
    assert!(real.bench.stop().await.success());

    real.write(0, 6..11);
    real.admin.truncate(9).await;
    real.bench.start().await;
    real.bench.relay.wait_for(8).await;
    assert_eq!(real.bench.metric("auditbell_kafka_lost_records_total", &[]), 3);
    real.bench.accepted_to(11).await;
    assert!(real.bench.stop().await.success());
    real.settled(1, (0..6).chain(9..11));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn partitions_that_are_added_are_told_from_their_first_record() {
    let mut real = Real::new("daemon-grown", 1).await;
    real.bench.replace("start = \"earliest\"", "start = \"latest\"");
    real.bench.start().await;
    real.bench.metric_at_least("auditbell_kafka_assigned_partitions", &[], 1).await;
    real.write(0, 0..1);
    real.bench.relay.wait_for(1).await;
    real.admin.grow(2).await;
    // A feeder of its own each time: the older one has the topic's old metadata.
    real.feeder = Feeder::new(&real.admin.brokers);
    real.write(1, 1..3);
    real.bench.relay.wait_for(3).await;
    assert!(real.bench.stop().await.success());

    real.admin.grow(3).await;
    real.feeder = Feeder::new(&real.admin.brokers);
    real.write(2, 3..5);
    real.bench.start().await;
    real.bench.relay.wait_for(5).await;
    real.bench.metric_at_least("auditbell_kafka_position", &["partition=\"2\""], 2).await;

    // A member that came back after a kill is not the group's leader, and nobody tells it.
    real.bench.kill();
    real.bench.start().await;
    real.bench.metric_at_least("auditbell_kafka_assigned_partitions", &[], 3).await;
    real.admin.grow(4).await;
    real.feeder = Feeder::new(&real.admin.brokers);
    real.write(3, 5..7);
    real.bench.relay.wait_for(7).await;
    assert!(real.bench.stop().await.success());
    real.settled(4, 0..7);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_wrong_password_is_said_once_a_minute_without_it_and_ends_nothing() {
    let mut real = Real::new("daemon-secured", 1).await;
    real.bench.kafka.brokers = variable("AUDITBELL_KAFKA_TLS");
    fs::copy(variable("AUDITBELL_KAFKA_CA"), real.bench.path("ca.pem")).unwrap();
    fs::write(real.bench.path("password"), "canary-41d9").unwrap();
    let user = variable("AUDITBELL_KAFKA_USER");
    let login = format!(
        "auth = {{ mechanism = \"PLAIN\", user = \"{user}\", password_file = \"password\" }}\ntls = {{ ca_file = \"ca.pem\" }}"
    );
    real.bench.replace("[store]", &format!("{login}\n\n[store]"));
    real.bench.replace("level = \"debug\"", "level = \"trace\"");
    real.write(0, 0..3);

    real.bench.start().await;
    let refused = |bench: &Bench| -> Vec<String> {
        let log = bench.log();
        log.lines().filter(|line| line.contains("\"ERROR\"")).map(str::to_owned).collect()
    };
    real.bench.until("an error", |bench| (!refused(bench).is_empty()).then_some(())).await;
    real.bench.metric_at_least("auditbell_source_held", &["reason=\"login\""], 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await; // time for ten more refusals, which must not be told
    let told = refused(&real.bench);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("[source.entra] auth") && told[0].contains("password_file"), "{told:?}");
    assert!(real.bench.get("/readyz").starts_with("HTTP/1.1 200"), "readiness does not hang on Kafka");
    assert_eq!(real.bench.relay.accepted().len(), 0);
    assert!(real.bench.stop().await.success());
    assert!(!real.bench.log().contains("canary-41d9"), "a password was logged");

    let password = variable("AUDITBELL_KAFKA_PASSWORD");
    fs::write(real.bench.path("password"), &password).unwrap();
    real.bench.start().await;
    real.bench.relay.wait_for(3).await;
    real.bench.accepted_to(3).await;
    assert!(real.bench.stop().await.success());
    real.settled(1, 0..3);
    let log = real.bench.log();
    assert!(!log.contains(&password) && !log.contains(ALICE.1) && !log.contains("user-0@"), "a secret was logged");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn the_systems_roots_are_found_without_help_and_do_not_know_this_broker() {
    let mut real = Real::new("daemon-untrusted", 1).await;
    real.bench.kafka.brokers = variable("AUDITBELL_KAFKA_TLS");
    real.bench.replace("[store]", "tls = {}\n\n[store]"); // the harness takes SSL_CERT_FILE and SSL_CERT_DIR away
    real.bench.start().await;
    let found = "no secure connection to the broker: check that [source.entra] tls.ca_file";
    real.bench.until("the setting", |bench| bench.log().contains(found).then_some(())).await;
    assert!(real.bench.log().contains("certificate verify failed"), "the roots were found: {}", real.bench.log());
    assert!(real.bench.get("/readyz").starts_with("HTTP/1.1 200"));
    assert!(real.bench.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn an_empty_store_on_a_group_with_history_is_refused_and_the_remedy_works() {
    let mut real = Real::new("daemon-lost-store", 1).await;
    real.bench.start().await;
    real.write(0, 0..2);
    real.bench.relay.wait_for(2).await;
    real.bench.accepted_to(2).await;
    assert!(real.bench.stop().await.success());
    real.write(0, 2..3);
    for file in ["auditbell.db", "auditbell.db-wal", "auditbell.db-shm"] {
        let _ = fs::remove_file(real.bench.path(file)); // the last two are gone after an orderly stop
    }
    let status = real.bench.ended(&mut real.bench.spawn()).await;
    assert_eq!(status.code(), Some(78), "{}", real.bench.log());
    assert!(real.bench.log().contains("on_lost_store = \\\"committed\\\""), "{}", real.bench.log());

    real.bench.replace("start = \"earliest\"", "start = \"earliest\"\non_lost_store = \"committed\"");
    real.bench.start().await;
    real.bench.relay.wait_for(3).await;
    real.bench.accepted_to(3).await;
    assert!(real.bench.stop().await.success());
    real.settled(1, 0..3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_broker_that_is_killed_under_load_and_comes_back_loses_nothing() {
    const CROWD: usize = 300;
    let mut broker = OwnBroker::start();
    let mut real = Real::at(&broker.brokers, "killed", 2).await;
    real.bench.relay.on(Command::Dot, Action::Delay(Duration::from_millis(20)));
    real.bench.start().await;
    real.write(0, 0..CROWD / 3);
    real.bench.relay.wait_for(CROWD / 10).await;
    broker.order("stop");
    real.bench.until("a word about it", |bench| bench.log().contains("no broker can be reached").then_some(())).await;
    // Written while nobody is there: the producer keeps it until somebody is.
    let late = std::thread::spawn({
        let (feeder, topic) = (Feeder::new(&broker.brokers), real.admin.topic.clone());
        move || {
            for number in CROWD / 3..2 * CROWD / 3 {
                feeder.write(&topic, 1, &[&envelope(&[reset_of_number(number)])]);
            }
        }
    });
    broker.order("start");
    real.write(0, 2 * CROWD / 3..CROWD);
    late.join().unwrap();
    real.bench.relay.wait_for(CROWD).await;
    real.bench.until("every position", |bench| (positions(bench) == real.admin.ends(2)).then_some(())).await;
    assert!(real.bench.stop().await.success());
    real.settled(2, 0..CROWD);
}
