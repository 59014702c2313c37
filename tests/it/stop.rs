//! How it starts and how it ends: signals, deadlines, exit codes, and what each refusal to start says.

use std::time::{Duration, Instant};

use auditbell::clock::Clock;

use crate::harness::{ALICE, Bench, TOPIC, envelope, reset, reset_of_number};
use crate::smtp_server::{Action, Command};

/// T57: a stop under load is clean: nothing ambiguous, nothing lost, nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_clean_and_the_rest_is_told_after_the_restart() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let records: Vec<_> = (0..400).map(reset_of_number).collect();
    for message in records.chunks(20) {
        bench.publish(envelope(message)).await;
    }
    bench.relay.wait_for(10).await;
    let began = Instant::now();
    assert!(bench.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(25));
    bench.books_balance();
    bench.start().await;
    bench.relay.wait_for(400).await;
    assert!(bench.stop().await.success());
    assert_eq!(bench.relay.accepted().len(), 400);
    assert_eq!(bench.relay.message_ids().len(), 400);
    bench.books_balance();
}

/// T58: the relay took the mail and does not answer. The second signal does not wait for the drain time.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_records_what_is_unknown_and_leaves() {
    let mut bench = Bench::new().await;
    bench.relay.on(Command::Dot, Action::Stall);
    bench.start().await;
    bench.publish(envelope(&[reset("stalled", ALICE)])).await;
    bench.relay.wait_stalled(Command::Dot, 1).await;
    bench.signal("TERM");
    bench.until("the first order", |bench| bench.log().contains("stopping").then_some(())).await;
    let began = Instant::now();
    assert!(bench.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let store = rusqlite::Connection::open(&bench.store).unwrap();
    let frozen: i64 = store
        .query_row("SELECT count(*) FROM message WHERE body IS NOT NULL AND state = 0", [], |row| row.get(0))
        .unwrap();
    assert_eq!(frozen, 1, "the bytes that may have been seen are kept");
    drop(store);
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_the_start_is_waited_for() {
    let mut bench = Bench::new().await;
    bench.publish(envelope(&[reset("before", ALICE)])).await;
    bench.kafka.down();
    bench.start().await;
    assert!(bench.get("/readyz").starts_with("HTTP/1.1 200"), "readiness does not hang on Kafka");
    bench.kafka.up();
    bench.relay.wait_for(1).await;
    assert!(bench.stop().await.success());
    bench.books_balance();
}

/// There is no group to leave, so nothing is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_no_broker_can_be_reached_is_quick() {
    let mut bench = Bench::new().await;
    bench.kafka.down();
    bench.start().await;
    bench.until("a word about it", |bench| bench.log().contains("no broker can be reached").then_some(())).await;
    let began = Instant::now();
    assert!(bench.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A relay that takes the connection and never greets: nothing was handed over, so nothing is ambiguous and nothing is
/// waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_relay_does_not_greet_turns_the_delivery_back() {
    let mut bench = Bench::new().await;
    bench.relay.on(Command::Connect, Action::Stall);
    bench.start().await;
    bench.publish(envelope(&[reset("stalled", ALICE)])).await;
    bench.relay.wait_stalled(Command::Connect, 1).await;
    let began = Instant::now();
    assert!(bench.stop().await.success());
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let store = rusqlite::Connection::open(&bench.store).unwrap();
    let due: (i64, i64, i64) = store
        .query_row(
            "SELECT d.owner, d.attempt, m.body IS NOT NULL FROM due d JOIN message m ON m.id=d.message",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(due, (0, 0, 0), "free, no attempt lost, no bytes frozen");
    drop(store);
    bench.books_balance();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_and_comes_back_costs_nothing() {
    let mut bench = Bench::new().await;
    bench.start().await;
    bench.publish(envelope(&[reset("before", ALICE)])).await;
    bench.relay.wait_for(1).await;
    bench.kafka.down();
    bench.until("a word about it", |bench| bench.log().contains("no broker can be reached").then_some(())).await;
    bench.kafka.up();
    bench.publish(envelope(&[reset("after", ALICE)])).await;
    bench.relay.wait_for(2).await;
    assert!(bench.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_is_said_by_name_and_does_not_end_the_process() {
    let mut bench = Bench::new().await;
    bench.replace("topics = [\"insights-logs-auditlogs\"]", "topics = [\"no-such-topic\"]");
    bench.start().await;
    bench.until("the topic's name", |bench| bench.log().contains("no-such-topic").then_some(())).await;
    bench.metric_at_least("auditbell_source_held", &[], 1).await;
    assert!(bench.get("/livez").starts_with("HTTP/1.1 200"));
    assert!(bench.stop().await.success());
}

/// T49, with one configuration for both: the port is taken as well, and the store is what is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_with_the_same_port_too_is_told_whose_the_store_is() {
    let mut bench = Bench::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    bench.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{free}\""));
    bench.start().await;
    let (owner, log) = bench.second_daemon().await;
    assert!(log.contains("auditbell.db.lock") && log.contains(&format!("(process {owner})")), "{log}");
    assert!(bench.stop().await.success());
}

/// T49.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_store_is_told_to_try_again_later() {
    let mut bench = Bench::new().await;
    bench.start().await;
    let (owner, log) = bench.second_daemon().await;
    assert!(log.contains(&format!("another daemon uses this store (process {owner})")), "{log}");
    assert!(bench.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_with_its_key() {
    let mut bench = Bench::new().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = \"{}\"", taken.local_addr().unwrap());
    bench.replace("listen = \"127.0.0.1:0\"", &listen);
    let status = bench.ended(&mut bench.spawn()).await;
    assert_eq!(status.code(), Some(75));
    assert!(bench.log().contains("[http] listen"), "{}", bench.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_config_does_not_start_and_names_the_line() {
    let mut bench = Bench::new().await;
    bench.replace("group_id = \"auditbell\"", "group_idd = \"auditbell\"");
    let status = bench.ended(&mut bench.spawn()).await;
    assert_eq!(status.code(), Some(78));
    let log = bench.log();
    assert!(log.contains("config.toml:5") && log.contains("group_id"), "{log}");
}

/// The group has read before, and the store knows nothing of it: the wrong volume was mounted, most likely.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_on_a_group_with_history_is_refused_with_the_remedy() {
    let mut bench = Bench::new().await;
    bench.start().await;
    bench.publish(envelope(&[reset("history", ALICE)])).await;
    bench.relay.wait_for(1).await;
    bench.accepted_to(1).await;
    assert!(bench.stop().await.success());
    for file in ["auditbell.db", "auditbell.db-wal", "auditbell.db-shm"] {
        let _ = std::fs::remove_file(bench.path(file));
    }
    let status = bench.ended(&mut bench.spawn()).await;
    assert_eq!(status.code(), Some(78), "{}", bench.log());
    assert!(bench.log().contains("on_lost_store"), "{}", bench.log());
}

/// What `run` says when it refuses to start, and its exit code.
async fn refusal(bench: &Bench) -> (Option<i32>, String) {
    let mut child = bench.spawn();
    let status = bench.ended(&mut child).await;
    (status.code(), bench.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_a_directory_that_is_not_there_is_refused_by_run_and_by_check() {
    let mut bench = Bench::new().await;
    bench.replace("/auditbell.db\"", "/nowhere/auditbell.db\"");
    let (code, log) = refusal(&bench).await;
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("create the directory") && log.contains("[store] url"), "{log}");
    let output = bench.command(&["check"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("config.toml:") && said.contains(": store.url: ") && said.contains("create the directory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_cut_short_is_named_with_its_remedy() {
    let mut bench = Bench::new().await;
    bench.start().await;
    assert!(bench.stop().await.success());
    let file = std::fs::File::options().write(true).open(bench.path("auditbell.db")).unwrap();
    assert!(file.metadata().unwrap().len() > 8_192);
    file.set_len(8_192).unwrap();
    let before = bench.log().len();
    let (code, log) = refusal(&bench).await;
    let log = &log[before..];
    assert_eq!(code, Some(74), "{log}");
    assert!(log.contains("auditbell.db: ") && log.contains("from a backup"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_that_kafkas_client_refuses_stops_run_before_anything_is_made() {
    let mut bench = Bench::new().await;
    bench.replace("\"session.timeout.ms\" = \"2500\"", "\"sesion.timeout.ms\" = \"6000\"");
    let (code, log) = refusal(&bench).await;
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("source.entra.kafka.sesion.timeout.ms: No such configuration property"), "{log}");
    assert!(!bench.path("auditbell.db").exists() && !bench.path("auditbell.db.lock").exists());
}

impl Bench {
    /// One mail told and accepted, then a stop, and the store is gone.
    async fn with_history_and_a_lost_store() -> Self {
        let mut bench = Self::new().await;
        bench.start().await;
        bench.publish(envelope(&[reset("history", ALICE)])).await;
        bench.relay.wait_for(1).await;
        bench.accepted_to(1).await;
        assert!(bench.stop().await.success());
        for file in std::fs::read_dir(bench.store.parent().unwrap()).unwrap().map(|file| file.unwrap().path()) {
            if file.file_name().unwrap().to_string_lossy().starts_with("auditbell.db") {
                std::fs::remove_file(file).unwrap();
            }
        }
        bench
    }

    /// A start that must end with `code`; what it says.
    async fn ends_with(&self, code: i32) -> String {
        let before = self.log().len();
        let status = self.ended(&mut self.spawn()).await;
        let said = self.log()[before..].to_owned();
        assert_eq!(status.code(), Some(code), "{said}");
        said
    }

    /// A start beside a running daemon: the process id of that one, and what the second says.
    async fn second_daemon(&self) -> (String, String) {
        let owner = std::fs::read_to_string(self.path("auditbell.db.lock")).unwrap();
        (owner.trim().to_owned(), self.ends_with(75).await)
    }

    /// A start that must be refused for the lost store.
    async fn is_refused(&self) {
        let said = self.ends_with(78).await;
        assert!(said.contains("on_lost_store"), "{said}");
    }
}

/// The start that was refused has seen the rules first; they must not be younger than the outage for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_remedy_of_a_lost_store_tells_of_the_outage_although_a_start_was_refused_before() {
    let mut bench = Bench::with_history_and_a_lost_store().await;
    let outage = Clock::system().now().minus(Duration::from_hours(2));
    let feeder = crate::kafka_reader::Feeder::new(&bench.kafka.brokers);
    feeder.write_at(TOPIC, 0, &[&envelope(&[reset("outage", ALICE)])], outage);
    bench.is_refused().await;
    bench.replace("start = \"earliest\"", "start = \"earliest\"\non_lost_store = \"committed\"");
    bench.start().await;
    bench.relay.wait_for(2).await;
    assert!(bench.stop().await.success());
}

/// A second source, whose group has no history, writes its rows beside the refusal: the store is still lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_is_refused_however_often_it_is_tried() {
    let mut bench = Bench::with_history_and_a_lost_store().await;
    let other = format!(
        "[source.alpha]\nbrokers = \"{}\"\ntopics = [\"{TOPIC}\"]\ngroup_id = \"alpha\"\n\n[store]",
        bench.kafka.brokers
    );
    bench.replace("[store]", &other);
    let rows = |bench: &Bench| {
        let store = rusqlite::Connection::open(&bench.store).unwrap();
        store.query_row("SELECT count(*) FROM position", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    bench.is_refused().await;
    // Whether the other source came to its rows before the end is chance; whoever it is, the answer is the same.
    if rows(&bench) == 0 {
        let store = rusqlite::Connection::open(&bench.store).unwrap();
        let row = "INSERT INTO position(source,topic,part,cluster,next,at) VALUES('alpha','other',0,'',0,0)";
        store.execute(row, []).unwrap();
    }
    bench.is_refused().await;
    bench.replace("start = \"earliest\"", "start = \"earliest\"\non_lost_store = \"committed\"");
    bench.start().await;
    assert!(bench.stop().await.success());
    bench.replace("\non_lost_store = \"committed\"", "");
    bench.start().await;
    assert!(bench.stop().await.success());
}
