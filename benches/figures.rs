//! The figures of docs/performance.md, from the real binary: `tests/kafka run cargo bench --bench figures` beside a real
//! Apache Kafka, or without `tests/kafka run` on a mock cluster (`-- --short`: a shorter run).
//!
//! A mail sink (and the mock cluster) stands in this process, the daemon is a process of its own with its store on this
//! disk. Prints: size of the binary, time to ready, memory, produce → mail accepted at one envelope per 200 ms, and the
//! rate of a burst beside the rate of `smtp-source` (Postfix's load generator, where it is installed) into the same sink.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot be made shall say so and end")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

/// The mock keeps 5 MB per partition.
const PARTITIONS: i32 = 8;
const CONNECTIONS: usize = 4;
/// A mail of the shipped template, as `smtp-source` shall send it.
const MAIL_BYTES: usize = 7_000;

fn main() {
    let short = std::env::args().any(|arg| arg == "--short");
    let (paced, burst) = if short { (20, 500) } else { (300, 10_000) };
    let binary = env!("CARGO_BIN_EXE_auditbell");
    println!("binary: {:.1} MB", fs::metadata(binary).unwrap().len() as f64 / 1e6);

    let kafka = Kafka::start();
    let sink = Sink::start();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    println!("4 KiB write + fdatasync on this disk: {:?} (median of 200)", fsync_cost(directory.path()));
    let http = free_port();
    write_config(directory.path(), &kafka, sink.port, http);
    let started = Instant::now();
    let mut daemon = Daemon::start(binary, directory.path());
    wait_until(|| get(http, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    println!("run → ready: {:?}", started.elapsed());
    kafka.send(0);
    sink.next(Duration::from_secs(30));
    std::thread::sleep(Duration::from_secs(2));
    println!("RSS idle: {:.1} MiB", daemon.rss_mib());

    let mut latencies: Vec<Duration> = (1..=paced)
        .map(|n| {
            let produced = Instant::now();
            kafka.send(n);
            let taken = sink.next(Duration::from_secs(30)) - produced;
            std::thread::sleep(Duration::from_millis(200).saturating_sub(produced.elapsed()));
            taken
        })
        .collect();
    latencies.sort();
    println!(
        "produce → accepted, one envelope per 200 ms, {paced} envelopes: p50 {:?}, p99 {:?}",
        latencies[paced / 2],
        latencies[paced * 99 / 100]
    );

    let begun = Instant::now();
    for n in 0..burst {
        kafka.send(paced + 1 + n);
    }
    kafka.producer.flush(Duration::from_secs(30)).unwrap();
    let first = sink.next(Duration::from_mins(1));
    let mut last = first;
    for _ in 1..burst {
        last = sink.next(Duration::from_mins(1));
    }
    let ours = burst as f64 / (last - begun).as_secs_f64();
    println!("{burst} mails, from the first produce to the last 250, {CONNECTIONS} connections: {ours:.0} mails/s");
    println!("RSS after it: {:.1} MiB; mail bytes on average: {}", daemon.rss_mib(), sink.average());
    daemon.stop();

    match smtp_source(sink.port, burst) {
        Some(theirs) => println!(
            "smtp-source, {CONNECTIONS} kept connections, {MAIL_BYTES} bytes, same sink: {theirs:.0} mails/s; ratio {:.2}",
            ours / theirs
        ),
        None => println!("smtp-source is not installed (Debian: postfix); no ratio"),
    }
}

struct Kafka {
    producer: ThreadedProducer<rdkafka::producer::DefaultProducerContext>,
    brokers: String,
    topic: String,
    /// How long a fetch waits at the broker: the mock does not wake it when something comes, a real broker does.
    fetch_wait: &'static str,
    _mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Kafka {
    fn start() -> Self {
        let topic = format!("bench-{}", std::process::id());
        let (brokers, mock) = if let Ok(brokers) = std::env::var("AUDITBELL_KAFKA") {
            create_topic(&brokers, &topic);
            (brokers, None)
        } else {
            let cluster = MockCluster::new(1).unwrap();
            cluster.create_topic(&topic, PARTITIONS, 1).unwrap();
            (cluster.bootstrap_servers(), Some(cluster))
        };
        let (name, fetch_wait) = if mock.is_some() { ("mock", "5") } else { ("Apache Kafka", "500") };
        println!("broker: {name}, {PARTITIONS} partitions, fetch.wait.max.ms {fetch_wait}");
        let producer = ClientConfig::new().set("bootstrap.servers", &brokers).set("linger.ms", "0").create().unwrap();
        Self { producer, brokers, topic, fetch_wait, _mock: mock }
    }

    fn send(&self, n: usize) {
        let now = jiff::Timestamp::from_second(
            std::time::UNIX_EPOCH.elapsed().map(|at| at.as_secs()).unwrap_or_default().try_into().unwrap(),
        )
        .unwrap();
        let text = envelope(n, &now.to_string());
        let partition = i32::try_from(n).unwrap() % PARTITIONS;
        self.producer
            .send(BaseRecord::<(), _>::to(&self.topic).partition(partition).payload(&text))
            .map_err(|(e, _)| e)
            .unwrap();
    }
}

fn envelope(n: usize, time: &str) -> String {
    serde_json::json!({ "records": [{
        "time": time,
        "resourceId": "/tenants/0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0/providers/Microsoft.aadiam",
        "operationName": "Reset user password", "category": "AuditLogs",
        "tenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0", "callerIpAddress": "192.0.2.7",
        "correlationId": format!("{n:08}-0000-4000-8000-000000000000"), "Level": 4,
        "properties": {
            "id": format!("Directory_{n:08}"), "category": "UserManagement", "result": "success",
            "activityDisplayName": "Reset user password", "activityDateTime": time, "loggedByService": "Core Directory",
            "initiatedBy": { "user": { "id": "4e1bde50-0000-4000-8000-000000000003",
                "userPrincipalName": "helpdesk@example.com", "ipAddress": "192.0.2.7" } },
            "targetResources": [{ "id": format!("a11ce000-0000-4000-8000-{n:012}"), "type": "User",
                "displayName": "A User", "userPrincipalName": format!("user{n}@example.com"), "modifiedProperties": [] }],
            "additionalDetails": [{ "key": "User-Agent", "value": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)" }]
        }
    }]})
    .to_string()
}

/// Takes mails and tells when each was accepted.
struct Sink {
    port: u16,
    taken: Receiver<(Instant, usize)>,
    bytes: Arc<AtomicUsize>,
    mails: Arc<AtomicUsize>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, taken) = sync_channel(100_000);
        let (bytes, mails) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (bytes.clone(), mails.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (sender, counters) = (sender.clone(), counters.clone());
                std::thread::spawn(move || session(stream.unwrap(), &sender, &counters.0, &counters.1));
            }
        });
        Self { port, taken, bytes, mails }
    }

    fn next(&self, limit: Duration) -> Instant {
        self.taken.recv_timeout(limit).expect("no mail came in time").0
    }

    fn average(&self) -> usize {
        self.bytes.load(Ordering::Relaxed) / self.mails.load(Ordering::Relaxed).max(1)
    }
}

fn session(mut stream: TcpStream, taken: &SyncSender<(Instant, usize)>, bytes: &AtomicUsize, mails: &AtomicUsize) {
    stream.set_nodelay(true).unwrap();
    let _ = stream.write_all(b"220 sink ESMTP\r\n");
    let (mut buffer, mut chunk, mut in_body) = (Vec::new(), vec![0; 65_536], false);
    loop {
        let read = match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        buffer.extend_from_slice(&chunk[..read]);
        let mut replies = Vec::new();
        loop {
            let end: &[u8] = if in_body { b"\r\n.\r\n" } else { b"\r\n" };
            let Some(at) = buffer.windows(end.len()).position(|window| window == end) else { break };
            let line: Vec<u8> = buffer.drain(..at + end.len()).collect();
            if in_body {
                in_body = false;
                bytes.fetch_add(line.len(), Ordering::Relaxed);
                mails.fetch_add(1, Ordering::Relaxed);
                let _ = taken.try_send((Instant::now(), line.len()));
                replies.extend_from_slice(b"250 2.0.0 Ok\r\n");
            } else if line.starts_with(b"DATA") {
                in_body = true;
                replies.extend_from_slice(b"354 go on\r\n");
            } else if line.starts_with(b"EHLO") {
                replies.extend_from_slice(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
            } else {
                replies.extend_from_slice(b"250 2.0.0 Ok\r\n");
            }
        }
        if stream.write_all(&replies).is_err() {
            return;
        }
    }
}

struct Daemon(Child);

impl Daemon {
    fn start(binary: &str, directory: &Path) -> Self {
        let log = fs::File::create(directory.join("log")).unwrap();
        let config = directory.join("config.toml");
        let child = Command::new(binary)
            .args(["run", "-c"])
            .arg(config)
            .current_dir(directory)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn rss_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn create_topic(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
}

fn write_config(directory: &Path, kafka: &Kafka, smtp: u16, http: u16) {
    let text = format!(
        r#"
[source.bench]
brokers = "{brokers}"
topics = ["{topic}"]
group_id = "{topic}"
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
[people]
allow_domains = ["example.com"]
fallback = ["soc@example.com"]
[brand]
name = "Example"
security_contact = "security@example.com"
[log]
level = "warn"
[[rule]]
id = "password-reset"
description = "Somebody reset a user's password"
on = "entra.audit"
when = {{ operation = "Reset user password", result = "success" }}
to = ["target"]
channels = ["email"]
template = "password-reset"
"#,
        brokers = kafka.brokers,
        topic = kafka.topic,
        wait = kafka.fetch_wait,
        store = directory.join("bench.db").display(),
    );
    fs::write(directory.join("config.toml"), text).unwrap();
}

/// Mails per second of Postfix's load generator into the same sink.
fn smtp_source(port: u16, mails: usize) -> Option<f64> {
    let begun = Instant::now();
    let status = Command::new("/usr/sbin/smtp-source")
        .args(["-d", "-s", &CONNECTIONS.to_string(), "-m", &mails.to_string(), "-l", &MAIL_BYTES.to_string()])
        .args(["-f", "security@example.com", "-t", "user@example.com", &format!("127.0.0.1:{port}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| mails as f64 / begun.elapsed().as_secs_f64())
}

fn fsync_cost(directory: &Path) -> Duration {
    let mut file = fs::File::create(directory.join("fsync")).unwrap();
    let mut costs: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    costs.sort();
    costs[100]
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < until, "the daemon did not become ready");
        std::thread::sleep(Duration::from_millis(1));
    }
}
