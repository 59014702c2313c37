//! What an operator asks of a real Apache Kafka, and the mock cluster cannot answer: which offset a time has, for a position and
//! for an explanation. Run by
//! `tests/kafka run cargo test --test it -- --ignored kafka_real`.

use std::time::Duration;

use auditbell::clock::Clock;
use serde_json::Value;

use crate::harness::{ALICE, BOB, Bench, Kafka, envelope, reset, reset_of_number};
use crate::kafka_admin::{Admin, variable};
use crate::kafka_reader::Feeder;
use crate::smtp_server::Options;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_position_is_set_to_a_time_and_the_status_tells_the_lag() {
    let brokers = variable("AUDITBELL_KAFKA");
    let admin = Admin::new(&brokers, "set-to-a-time");
    admin.create(1).await;
    let mut bench = Bench::on(Kafka::real(&brokers, &admin.topic), Options::default()).await;
    bench.replace("group_id = \"auditbell\"", "group_id = \"group-of-set-to-a-time\"");
    let feeder = Feeder::new(&brokers);
    let now = Clock::system().now();
    let ago = |minutes| now.minus(Duration::from_mins(minutes));
    for (number, minutes) in [(0, 50), (1, 40), (2, 30), (3, 20)] {
        feeder.write_at(&admin.topic, 0, &[&envelope(&[reset_of_number(number)])], ago(minutes));
    }
    bench.start().await;
    bench.accepted_to(4).await;
    assert!(bench.stop().await.success());
    feeder.write_at(&admin.topic, 0, &[&envelope(&[reset_of_number(4)])], ago(10));

    let ask = |arguments: &[&str]| -> Value {
        let output = bench.command(&[arguments, &["-o", "json"]].concat()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let place = format!("entra:{}:0", admin.topic);
    for (to, offset) in [
        (ago(40).to_string(), 1),
        (ago(39).to_string(), 2),
        ("-25m".to_owned(), 3),
        ("-5m".to_owned(), 5),
        ("-1h".to_owned(), 0),
        ("latest".to_owned(), 5),
        ("earliest".to_owned(), 0),
    ] {
        let moved = ask(&["positions", "set", &place, &to]);
        assert_eq!(moved["to"], offset, "{to}: {moved}");
        let (skipped, again) = ((offset - 4).max(0), (4 - offset).max(0));
        assert_eq!((&moved["skipped"], &moved["again"]), (&skipped.into(), &again.into()), "{to}: {moved}");
    }
    assert_eq!(ask(&["status"])["partitions"][0]["lag"], 1);
}

/// The throw-away reader begins where the time says, ends where the topic does, and is nothing to the group that reads meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Kafka: see tests/kafka"]
async fn a_person_is_explained_from_a_time_on_and_the_group_does_not_notice() {
    let brokers = variable("AUDITBELL_KAFKA");
    let admin = Admin::new(&brokers, "person-since");
    admin.create(1).await;
    let mut bench = Bench::on(Kafka::real(&brokers, &admin.topic), Options::default()).await;
    bench.replace("group_id = \"auditbell\"", "group_id = \"group-of-person-since\"");
    let feeder = Feeder::new(&brokers);
    let now = Clock::system().now();
    let failed = |id: &str, who| {
        let mut record = reset(id, who);
        record["properties"]["result"] = "failure".into();
        record
    };
    let untold = [("early", ALICE, 50), ("other", BOB, 40), ("middle", ALICE, 30), ("late", ALICE, 20)];
    for (id, who, minutes) in untold {
        feeder.write_at(&admin.topic, 0, &[&envelope(&[failed(id, who)])], now.minus(Duration::from_mins(minutes)));
    }
    feeder.write_at(&admin.topic, 0, &[&envelope(&[reset("told", ALICE)])], now.minus(Duration::from_mins(10)));
    bench.start().await;
    bench.accepted_to(5).await;
    bench.relay.wait_for(1).await;
    let before = bench.metric("auditbell_kafka_rebalances_total", &[]);
    for (since, expected) in [
        ("35m", vec!["Directory_middle", "Directory_late", "Directory_told"]),
        ("15m", vec!["Directory_told"]),
        ("1h", vec!["Directory_early", "Directory_middle", "Directory_late", "Directory_told"]),
    ] {
        let arguments = ["explain", "--person", ALICE.1, "--since", since, "-o", "json"];
        let output = bench.command(&arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut ids: Vec<&str> = lines.iter().map(|line| line["record"]["id"].as_str().unwrap()).collect();
        let mut expected = expected;
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected, "{since}: {}", String::from_utf8_lossy(&output.stderr));
        let told: Vec<_> = lines.iter().filter(|line| line["outcome"] == "notify").collect();
        assert!(told.len() == 1 && told[0]["history"][0]["verdict"] == "sent", "{since}: {text}");
    }
    // The daemon reads on, and was never asked to share.
    feeder.write_at(&admin.topic, 0, &[&envelope(&[reset("after", BOB)])], now);
    bench.accepted_to(6).await;
    assert_eq!(bench.metric("auditbell_kafka_rebalances_total", &[]), before);
    assert!(bench.stop().await.success());
}
