//! A relay that is away while the topic goes on.

use std::fs;

use crate::harness::{Bench, envelope, reset_of_number};
use crate::smtp_server::{Action, Command};

/// Notifications of the backlog, and in one Kafka message.
const PEOPLE: usize = 10_000;
const TOGETHER: usize = 100;
/// The mock cluster keeps a few MiB of a partition: what is produced must be read before much more is.
const AHEAD: usize = 20;

/// Resident memory of the daemon, in MiB.
fn resident(bench: &Bench) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", bench.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// T18: intake goes on at its own pace, memory does not follow the backlog, the group is kept; and when the relay is back
/// everybody is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_with_a_dead_relay_costs_disk_and_no_memory_and_is_told_once() {
    let mut bench = Bench::new().await;
    bench.replace("level = \"debug\"", "level = \"info\"");
    bench.replace("\"2500\"", "\"60000\""); // a session that no busy machine ends
    bench.replace("retry = [\"1s\"]", "retry = [\"1s\"]\nconnections = 4");
    bench.relay.on(Command::Connect, Action::Close);
    bench.start().await;
    let (mut first, mut most) = (0, 0);
    for message in 0..PEOPLE / TOGETHER {
        let records: Vec<_> = (message * TOGETHER..(message + 1) * TOGETHER).map(reset_of_number).collect();
        bench.publish(envelope(&records)).await;
        if (message + 1) % AHEAD == 0 {
            bench.accepted_to(message + 1).await;
            most = most.max(resident(&bench));
            first = if first == 0 { most } else { first };
        }
    }
    println!("{PEOPLE} waiting: {most} MiB resident, {first} after the first {}", AHEAD * TOGETHER);
    assert!(most < 130 && most < first + 30, "{first} to {most} MiB");
    assert_eq!(bench.metric("auditbell_kafka_rebalances_total", &[]), 1, "the one that made it a member");
    assert_eq!(bench.metric("auditbell_source_held", &[]), 0, "a dead relay holds no source");
    bench.relay.calm(Command::Connect);
    let mut before = 0;
    while bench.relay.accepted().len() < PEOPLE {
        let now = bench
            .until("another hundred", |bench| {
                let now = bench.relay.accepted().len();
                (now >= PEOPLE.min(before + 100)).then_some(now)
            })
            .await;
        before = now;
        most = most.max(resident(&bench));
    }
    assert!(most < 130, "{most} MiB");
    assert!(bench.stop().await.success());
    assert_eq!((bench.relay.accepted().len(), bench.relay.message_ids().len()), (PEOPLE, PEOPLE), "each once");
    bench.books_balance();
}
