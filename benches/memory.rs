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

/// What is wanted, in MiB, as a share, in seconds.
const IDLE: f64 = 32.0;
const LOAD: f64 = 100.0;
const GROWTH: f64 = 0.10;
const READY: Duration = Duration::from_secs(10);
const FIRST_MAIL: Duration = Duration::from_secs(2);

/// Prints each figure beside what is wanted; in full form it fails if one misses that.
pub fn run(run: &Run) {
    let mut missed = load(run);
    missed.extend(backlog(run));
    assert!(run.short || missed.is_empty(), "missed: {}", missed.join(", "));
}

/// Idle, and the peak of a burst. What was missed.
fn load(run: &Run) -> Vec<&'static str> {
    let mails = run.size(10_000, 300);
    let (topic, sink, directory) = (Topic::new("memory", "5"), Sink::start(), run.directory());
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    topic.writer.send(0, &envelope(&[reset(0)]));
    sink.wait_for(1, Duration::from_mins(1));
    std::thread::sleep(Duration::from_secs(2));
    let idle = daemon.rss();
    println!("run → ready {:.0?}; RSS idle {idle:.1} MiB (wanted: {IDLE})", daemon.ready_after);
    burst(&topic, &sink, 1, mails);
    let peak = daemon.peak_rss();
    println!("RSS under {mails} mails: peak {peak:.1} MiB (wanted: {LOAD})");
    daemon.stop();
    misses([("idle", idle <= IDLE), ("load", peak <= LOAD)])
}

/// The relay is down, and messages pile up. What was missed.
fn backlog(run: &Run) -> Vec<&'static str> {
    let (few, many) = run.size((10_000, 1_000_000), (500, 2_000));
    let (topic, sink, directory) = (Topic::new("backlog", "5"), Sink::start(), run.directory());
    sink.go_away();
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    fill(&topic, &daemon, 0, few);
    let (small, begun) = (settled(&daemon), Instant::now());
    fill(&topic, &daemon, few, many);
    println!("{many} messages pending after {:.0?}", begun.elapsed());
    let large = settled(&daemon);
    let growth = large / small - 1.0;
    println!(
        "relay down: RSS with {few} pending {small:.1} MiB, with {many} {large:.1}: {:+.0} % (wanted: ± {:.0} %)",
        growth * 100.0,
        GROWTH * 100.0
    );
    println!("peak meanwhile {:.1} MiB", daemon.peak_rss());
    let begun = Instant::now();
    daemon.stop();
    println!("stopped in {:.1?}", begun.elapsed());
    assert_eq!(sink.count(), 0, "a mail went out while the relay was away");
    sink.come_back();
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    let ready = Instant::now();
    sink.wait_for(1, Duration::from_mins(1));
    let first = sink.since(0)[0].at.saturating_duration_since(ready);
    println!(
        "restart: ready after {:.1?} (wanted: {READY:?}), first mail {first:.1?} after that (wanted: {FIRST_MAIL:?})",
        daemon.ready_after
    );
    sink.wait_for(few, Duration::from_mins(2));
    println!("RSS after {few} mails of the backlog {:.1} MiB", daemon.rss());
    misses([
        ("growth", growth.abs() <= GROWTH),
        ("ready", daemon.ready_after <= READY),
        ("first mail", first <= FIRST_MAIL),
    ])
}

/// The names of what does not hold.
fn misses<const N: usize>(figures: [(&'static str, bool); N]) -> Vec<&'static str> {
    figures.into_iter().filter_map(|(name, holds)| (!holds).then_some(name)).collect()
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
