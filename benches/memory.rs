//! Resident memory: idle, under a burst, and with a backlog while the relay is down; and how soon a restart with that
//! backlog is ready and mails again.

use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::end_to_end::burst;
use crate::kafka::{Topic, envelope, reset};
use crate::sink::Sink;
use crate::{Run, wait_until};

const PER_ENVELOPE: usize = 100;
/// Envelopes on their way: 10 MB, less than the mock keeps.
const AHEAD: usize = 100;
/// The target is 100 MiB; from here on something is wrong.
const TOO_MUCH: f64 = 130.0;

pub fn run(run: &Run) {
    let under_load = load(run);
    assert!(under_load < TOO_MUCH, "{under_load:.1} MiB under load");
    backlog(run);
}

/// Idle, and the peak of a burst.
fn load(run: &Run) -> f64 {
    let mails = run.size(10_000, 300);
    let (topic, sink, directory) = (Topic::new("memory", "5"), Sink::start(), run.directory());
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    topic.writer.send(0, &envelope(&[reset(0)]));
    sink.wait_for(1, Duration::from_mins(1));
    std::thread::sleep(Duration::from_secs(2));
    println!("run → ready {:.0?}; RSS idle {:.1} MiB (wanted: 32)", daemon.ready_after, daemon.rss());
    burst(&topic, &sink, 1, mails);
    let peak = daemon.peak_rss();
    println!("RSS under {mails} mails: peak {peak:.1} MiB (wanted: 100), after it {:.1}", daemon.rss());
    daemon.stop();
    peak
}

/// The relay is down, and messages pile up.
fn backlog(run: &Run) {
    let (few, many) = run.size((10_000, 1_000_000), (500, 2_000));
    let (topic, sink, directory) = (Topic::new("backlog", "5"), Sink::start(), run.directory());
    sink.go_away();
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    fill(&topic, &daemon, 0, few);
    let (small, begun) = (settled(&daemon), Instant::now());
    fill(&topic, &daemon, few, many);
    println!("{many} messages pending after {:.0?}", begun.elapsed());
    let large = settled(&daemon);
    println!("relay down: RSS with {few} pending {small:.1} MiB, with {many} {large:.1}, ratio {:.2}", large / small);
    println!("peak meanwhile {:.1} MiB", daemon.peak_rss());
    let begun = Instant::now();
    daemon.stop();
    println!("stopped in {:.1?}", begun.elapsed());
    sink.come_back();
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    let ready = Instant::now();
    sink.wait_for(1, Duration::from_mins(1));
    let first = sink.since(0)[0].at.saturating_duration_since(ready);
    println!(
        "restart: ready after {:.1?} (wanted: 10 s), first mail {first:.1?} after that (wanted: 2 s)",
        daemon.ready_after
    );
    sink.wait_for(few, Duration::from_mins(2));
    println!("RSS after {few} mails of the backlog {:.1} MiB", daemon.rss());
}

/// Records `from..to` into the store, at the pace of the daemon.
fn fill(topic: &Topic, daemon: &Daemon, from: usize, to: usize) {
    // Our own records count too, as soon as the channel breaks: a few more.
    let accepted = || daemon.metric("auditbell_envelopes_total");
    for first in (from..to).step_by(PER_ENVELOPE) {
        let records: Vec<_> = (first..first + PER_ENVELOPE).map(reset).collect();
        let n = first / PER_ENVELOPE;
        topic.writer.send(n, &envelope(&records));
        if n.is_multiple_of(AHEAD / 2) {
            wait_until("accepted", Duration::from_mins(1), || accepted() + AHEAD > n);
        }
    }
    wait_until("accepted", Duration::from_mins(1), || accepted() >= to / PER_ENVELOPE);
}

/// Memory once the maintenance round has seen it all.
fn settled(daemon: &Daemon) -> f64 {
    std::thread::sleep(Duration::from_secs(11));
    daemon.rss()
}
