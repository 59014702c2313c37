//! How much memory the daemon takes. The figures and their targets are in docs/performance.md; this is where it ends.

use std::fs;

use crate::harness::*;

/// The target under load is 100 MiB; from here on something is wrong.
const TOO_MUCH_KIB: u64 = 130 * 1024;
const MAILS: usize = 600;

/// The most that was ever resident, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn under_a_burst_of_mails_memory_stays_below_130_mib() {
    let mut bench = Bench::with(4, crate::smtp_server::Options::default()).await;
    bench.start().await;
    let ids: Vec<String> = (0..MAILS).map(|n| n.to_string()).collect();
    for (n, chunk) in ids.chunks(50).enumerate() {
        let records: Vec<_> = chunk.iter().map(|id| reset(id, if n % 2 == 0 { ALICE } else { BOB })).collect();
        bench.kafka.publish(i32::try_from(n % 4).unwrap(), envelope(&records).as_bytes()).await;
    }
    bench.relay.wait_for(MAILS).await;
    let peak = peak(bench.pid());
    assert!(peak < TOO_MUCH_KIB, "{} MiB", peak / 1024);
    assert!(bench.stop().await.success());
}
