//! The daemon: the real binary as a process of its own, configured as a user would, but for the places of things.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::kafka::Topic;
use crate::sink::Sink;
use crate::{CONNECTIONS, process_time, wait_until};

pub const BINARY: &str = env!("CARGO_BIN_EXE_auditbell");

/// A process; killed when dropped.
pub struct Daemon {
    child: Child,
    http: u16,
    /// From the start of the process to the first `/readyz` that says yes.
    pub ready_after: Duration,
}

impl Daemon {
    /// Writes the config and starts; returns when it is ready.
    pub fn start(directory: &Path, topic: &Topic, sink: &Sink) -> Self {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = directory.join("config.toml");
        fs::write(&path, config(directory, topic, sink, http)).unwrap();
        let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["run", "-c"]).arg(path).current_dir(directory).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let begun = Instant::now();
        let mut daemon = Self { child: command.spawn().unwrap(), http, ready_after: Duration::ZERO };
        wait_until("ready", Duration::from_mins(1), || {
            assert!(daemon.child.try_wait().unwrap().is_none(), "the daemon ended: see {}/log", directory.display());
            daemon.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        daemon.ready_after = begun.elapsed();
        daemon
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The sum of a counter over its labels; 0 where there is none.
    pub fn metric(&self, name: &str) -> usize {
        let mut text = None;
        wait_until("/metrics", Duration::from_secs(10), || {
            text = self.get("/metrics").filter(|text| text.starts_with("HTTP/1.1 200"));
            text.is_some()
        });
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<usize>().ok());
        text.unwrap().lines().filter(of_name).filter_map(value).sum()
    }

    /// Processor time so far.
    pub fn time(&self) -> Duration {
        process_time(self.child.id())
    }

    /// Resident memory now, in MiB.
    pub fn rss(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most it ever was, in MiB.
    pub fn peak_rss(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// What it has cost so far.
    pub fn cost(&self) -> Cost {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Fields 14 and 15 of proc(5), in ticks; the name in field 2 is the only one that may hold a space.
        let ticks: Vec<f64> =
            stat.rsplit_once(") ").unwrap().1.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
        let tick = 10_000.0; // µs: Linux counts in hundredths of a second for programs
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let calls = |name: &str| -> f64 {
            io.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
        };
        Cost {
            user: ticks[11] * tick,
            system: ticks[12] * tick,
            commits: self.metric("auditbell_store_commit_seconds_count") as f64,
            reads: calls("syscr:"),
            writes: calls("syscw:"),
        }
    }

    fn status(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// SIGTERM; waits for the end.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "the daemon did not end well");
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// What a daemon has used since its start.
pub struct Cost {
    /// Processor time in the program and in the kernel, in µs.
    user: f64,
    system: f64,
    commits: f64,
    /// System calls that read and that write, files and sockets.
    reads: f64,
    writes: f64,
}

impl Cost {
    /// What was used since `before`, for each of `mails`.
    pub fn per_mail(&self, before: &Self, mails: usize) -> String {
        let each = |field: fn(&Self) -> f64| (field(self) - field(before)) / mails as f64;
        format!(
            "daemon {:.0} + {:.0} µs, {:.2} commits, {:.1} reads, {:.1} writes per mail",
            each(|cost| cost.user),
            each(|cost| cost.system),
            each(|cost| cost.commits),
            each(|cost| cost.reads),
            each(|cost| cost.writes)
        )
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn config(directory: &Path, topic: &Topic, sink: &Sink, http: u16) -> String {
    format!(
        r#"
[source.bench]
brokers = "{brokers}"
topics = ["{topic}"]
group_id = "{group}"
start = "earliest"
kafka = {{ "fetch.wait.max.ms" = "{wait}" }}
[store]
url = "sqlite:{store}"
[http]
listen = "127.0.0.1:{http}"
[channel.email]
type = "smtp"
relay = ["smtp+plain://127.0.0.1:{smtp}"]
from = "Example Security <security@example.com>"
connections = {CONNECTIONS}
retry = ["2s"]
[people]
allow_domains = ["example.com"]
fallback = ["soc@example.com"]
[brand]
name = "Example"
security_contact = "security@example.com"
[[rule]]
id = "password-reset"
description = "Somebody reset a user's password"
on = "entra.audit"
when = {{ operation = "Reset user password", result = "success" }}
to = ["target"]
channels = ["email"]
template = "password-reset"
"#,
        brokers = topic.brokers,
        topic = topic.writer.topic,
        // A new store does not take over an old group.
        group = directory.file_name().unwrap().display(),
        wait = topic.fetch_wait(),
        store = directory.join("bench.db").display(),
        smtp = sink.port(),
    )
}
