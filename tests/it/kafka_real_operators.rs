//! What an operator asks of a real Apache Kafka, and the mock cluster cannot answer: which offset a time has. Run by
//! `tests/kafka run cargo test --test it -- --ignored kafka_real`.

use std::time::Duration;

use auditbell::clock::Clock;
use serde_json::Value;

use crate::harness::{Bench, Kafka, envelope, reset_of_number};
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
