//! T39: a network that loses, swallows, resets and crawls, made with nft and tc in a namespace of its own.

use std::process::{Command as Process, Stdio};

use super::*;

/// Set in the copy of this test that runs in the namespace.
const INSIDE: &str = "AUDITBELL_TEST_NAMESPACE";

fn run(command: &str) {
    let output = Process::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Puts one rule in front of everything that goes to the relay; dropping it takes it away again.
struct Fault;

impl Fault {
    fn begin(relay: &Relay, rule: &str) -> Self {
        run("nft add table inet t; nft add chain inet t in '{ type filter hook input priority 0; }'");
        run(&format!("nft add rule inet t in tcp dport {} {rule}", relay.address().port()));
        Self
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        run("nft delete table inet t");
    }
}

#[test]
#[ignore = "needs root: a network namespace, nft and tc"]
fn a_network_that_loses_swallows_resets_and_crawls_costs_time_and_no_message() {
    let name = "route::network::a_network_that_loses_swallows_resets_and_crawls_costs_time_and_no_message";
    if std::env::var_os(INSIDE).is_none() {
        let this = std::env::current_exe().unwrap();
        let script = format!("ip link set lo up && exec {} --exact {name} --ignored --nocapture", this.display());
        let status =
            Process::new("unshare").args(["-n", "sh", "-c", &script]).env(INSIDE, "1").stdin(Stdio::null()).status();
        assert!(status.unwrap().success(), "in the namespace");
        return;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        loss().await;
        black_hole().await;
        reset().await;
        crawl().await;
    });
}

/// Sends each message until it is sent, as dispatch would, and gives the number of attempts.
async fn send_all(client: &Client, count: usize) -> usize {
    let (mut now, mut attempts) = (NOW, 0);
    for n in 0..count {
        loop {
            attempts += 1;
            let attempt = client.send_at(&format!("m{n}"), ALICE, now).await;
            match attempt.verdict {
                Verdict::Sent { .. } => break,
                Verdict::Hold { until, .. } => now = now.max(until),
                Verdict::Later { .. } | Verdict::Ambiguous => now = now.plus(seconds(30)),
                Verdict::Never { .. } => panic!("given up: {attempt:?}"),
            }
            assert!(attempts < 20 * count, "no end of it: {attempt:?}");
        }
    }
    attempts
}

async fn loss() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    let _fault = Fault::begin(&relay, "'numgen random mod 100 < 20' drop");
    let attempts = send_all(&client, 40).await;
    assert_eq!(relay.message_ids().len(), 40, "after {attempts} attempts");
}

/// The connection is there, and nothing comes through it any more.
async fn black_hole() {
    let relay = Relay::start().await;
    let client = Client::new(Settings { timeouts: timeouts(seconds(2)), ..settings(&relay) });
    assert!(is_sent(&client.send("before").await));
    let fault = Fault::begin(&relay, "drop");
    let attempt = client.send("m0").await;
    assert_eq!(attempt.verdict, Verdict::Later { not_before: None }, "{attempt:?}");
    drop(fault);
    assert_eq!(send_all(&client, 5).await, 6, "one is held while the pause stands");
}

async fn reset() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    assert!(is_sent(&client.send("before").await));
    let fault = Fault::begin(&relay, "reject with tcp reset");
    let attempt = client.send("m0").await;
    assert_eq!(held(&attempt), "connect", "the old connection had gone, and no new one came: {attempt:?}");
    drop(fault);
    send_all(&client, 5).await;
    assert_eq!(relay.message_ids().len(), 6);
}

/// 64 kbit/s: a mail of 60 KB takes eight seconds, and no limit of ours is in its way.
async fn crawl() {
    let relay = Relay::start().await;
    let client = Client::of(&relay);
    // A loopback packet of 64 KiB would never fit into the bucket.
    run("ip link set lo mtu 1500; tc qdisc add dev lo root tbf rate 64kbit burst 3000 latency 400ms");
    let text = format!("Message-ID: <big@example.com>\r\n\r\n{}", "x".repeat(76).as_str().to_owned() + "\r\n");
    let body = "y".repeat(76) + "\r\n";
    let outgoing = client.outgoing_bytes("big", ALICE, (text + &body.repeat(770)).into_bytes());
    let began = std::time::Instant::now();
    let attempt = client.channel.attempt(&outgoing, NOW).await;
    run("tc qdisc del dev lo root");
    assert!(is_sent(&attempt), "{attempt:?}");
    assert!(began.elapsed() > seconds(4), "{:?}: tc did nothing", began.elapsed());
}
