//! T41. Mails per second from the first produce to the last 250, beside `smtp-source` (Postfix's load generator) with as many
//! kept connections and mails of the same size into the same sink. Rounds alternate; the median ratio counts.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::kafka::{Topic, envelope, reset};
use crate::sink::Sink;
use crate::{CONNECTIONS, Run, median};

/// One mail per message, so that nothing is saved by envelopes.
pub fn run(run: &Run) {
    let (mails, rounds) = run.size((10_000, 5), (300, 1));
    let topic = Topic::new("end-to-end", "5");
    let sink = Sink::start();
    let directory = run.directory();
    let daemon = Daemon::start(directory.path(), &topic, &sink);
    topic.writer.send(0, &envelope(&[reset(0)])); // joining the group is not part of it
    sink.wait_for(1, Duration::from_mins(1));
    let size = sink.average();
    println!("{mails} mails of {size} bytes, {CONNECTIONS} connections, synchronous=FULL");
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let theirs = smtp_source(&sink, mails, size);
        let before = daemon.cost();
        let ours = burst(&topic, &sink, 1 + round * mails, mails);
        println!("{}", daemon.cost().per_mail(&before, mails));
        match theirs {
            Some(theirs) => {
                println!("auditbell {ours:.0} mails/s, smtp-source {theirs:.0}, ratio {:.2}", ours / theirs);
                ratios.push(ours / theirs);
            }
            None => println!("auditbell {ours:.0} mails/s; no smtp-source here (Debian: postfix), no ratio"),
        }
    }
    if !ratios.is_empty() {
        println!("median ratio {:.2} (wanted: 0.5)", median(ratios));
    }
    daemon.stop();
}

/// Mails per second of `mails` records from number `first` on.
pub fn burst(topic: &Topic, sink: &Sink, first: usize, mails: usize) -> f64 {
    let payloads: Vec<String> = (first..first + mails).map(|n| envelope(&[reset(n)])).collect();
    let before = sink.count();
    let begun = Instant::now();
    for (n, payload) in payloads.iter().enumerate() {
        topic.writer.send(n, payload);
    }
    sink.wait_for(before + mails, Duration::from_mins(5));
    let last = sink.since(before)[mails - 1].at;
    mails as f64 / (last - begun).as_secs_f64()
}

/// Mails per second of Postfix's load generator; `None` where it is not installed.
fn smtp_source(sink: &Sink, mails: usize, size: usize) -> Option<f64> {
    let begun = Instant::now();
    let status = Command::new("/usr/sbin/smtp-source")
        .args(["-d", "-s", &CONNECTIONS.to_string(), "-m", &mails.to_string(), "-l", &size.to_string()])
        .args(["-f", "security@example.com", "-t", "user@example.com", &format!("127.0.0.1:{}", sink.port())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| mails as f64 / begun.elapsed().as_secs_f64())
}
