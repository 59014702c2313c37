//! What a fault costs: mails lost (none), mails sent twice, and how long nothing moves. An independent list of what was
//! produced is compared with the sink's journal.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::kafka::{Topic, envelope, reset};
use crate::sink::Sink;
use crate::{CONNECTIONS, Run, wait_until};

/// Between two records: 100 a second.
const PACE: Duration = Duration::from_millis(10);
/// Eight taken and not yet on disk, and one in flight, per connection and kill: docs/delivery.md.
const COPIES_PER_KILL: usize = CONNECTIONS * 9;
const LIMIT: Duration = Duration::from_mins(5);

/// A daemon that is fed while something happens to it.
struct Stage<'a> {
    topic: &'a Topic,
    sink: &'a Sink,
    directory: &'a Path,
    daemon: Daemon,
    /// Records written so far, and in all.
    produced: &'a AtomicUsize,
    records: usize,
    /// A part of the time that the feeding takes.
    part: Duration,
}

pub fn run(run: &Run) {
    if std::env::var_os("AUDITBELL_KAFKA").is_some() {
        stage(run, "killed -9 three times, started again at once", 3, |stage| {
            for _ in 0..3 {
                kill(stage);
            }
        });
    } else {
        println!("no kills: the mock cluster knows no static members; use `tests/kafka run`");
    }
    stage(run, "the relay answers 451 to three of ten", 0, |stage| {
        std::thread::sleep(stage.part / 10);
        stage.sink.refuse_some(true);
        std::thread::sleep(stage.part * 4 / 5);
        stage.sink.refuse_some(false);
    });
    stage(run, "the relay is away", 0, |stage| {
        std::thread::sleep(stage.part / 10);
        stage.sink.go_away();
        std::thread::sleep(stage.part * 6 / 5);
        stage.sink.come_back();
        let (back, before) = (Instant::now(), stage.sink.count());
        stage.sink.wait_for(before + 1, LIMIT);
        println!(
            "first mail {:.1?} after it came back",
            stage.sink.since(before)[0].at.saturating_duration_since(back)
        );
    });
}

fn stage(run: &Run, what: &str, kills: usize, happens: impl FnOnce(&mut Stage<'_>)) {
    let records = run.size(2_500, 200);
    println!("{records} mails, {} a second; {what}", 1_000 / PACE.as_millis());
    let (topic, sink, directory) = (Topic::new("faults", "0"), Sink::start(), run.directory());
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    topic.writer.send(0, &envelope(&[reset(0)]));
    sink.wait_for(1, Duration::from_mins(1));
    let produced = AtomicUsize::new(1);
    let part = PACE * u32::try_from(records).unwrap();
    let mut stage =
        Stage { topic: &topic, sink: &sink, directory: directory.path(), daemon, produced: &produced, records, part };
    std::thread::scope(|scope| {
        let (writer, produced) = (&topic.writer, &produced);
        scope.spawn(move || {
            let begun = Instant::now();
            for n in 1..records {
                writer.send(n, &envelope(&[reset(n)]));
                produced.store(n + 1, Ordering::Relaxed);
                std::thread::sleep((PACE * u32::try_from(n).unwrap()).saturating_sub(begun.elapsed()));
            }
            writer.flush();
        });
        happens(&mut stage);
    });
    let until = Instant::now() + LIMIT;
    while sink.copies(0).len() < records && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    stage.daemon.stop();
    let copies = sink.copies(0);
    let (lost, again) = (records - copies.len(), copies.values().sum::<usize>() - copies.len());
    println!("lost {lost} (wanted: 0), sent twice {again} (at most {})", kills * COPIES_PER_KILL);
    assert!(lost == 0 && again <= kills * COPIES_PER_KILL);
}

/// Kills the daemon at a random moment of the next fifth of the feeding and starts it again at once. The pause ends with
/// the first mail of a record that was written after the kill: before, only what the store knew goes out.
fn kill(stage: &mut Stage<'_>) {
    let share = f64::from(getrandom::u32().unwrap()) / f64::from(u32::MAX);
    std::thread::sleep((stage.part / 5).mul_f64(share));
    let known = stage.produced.load(Ordering::Relaxed);
    if known == stage.records {
        return; // the feeding is over: nothing could be seen to move
    }
    stage.daemon.kill();
    let killed = Instant::now();
    stage.daemon = Daemon::start(stage.directory, stage.topic, stage.sink);
    let mut moved = None;
    wait_until("a mail after the kill", LIMIT, || {
        let taken = stage.sink.since(0);
        moved = taken.iter().find(|taken| taken.who.is_some_and(|n| n >= known)).map(|taken| taken.at);
        moved.is_some()
    });
    println!("moves again {:.1?} after the restart (wanted: 5 s)", moved.unwrap().saturating_duration_since(killed));
}
