//! The whole path on one machine: a mock Kafka cluster, the real binary, a scripted relay, and a small vocabulary.
//!
//! ```ignore
//! let mut bench = Bench::new().await;
//! bench.start().await;
//! bench.publish(&envelope(&[reset("1", ALICE)])).await;
//! let mails = bench.relay.wait_for(1).await;
//! ```

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::smtp_server::{Accepted, Options, Relay};

/// How long anything may take before the test fails: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The topic that is read.
pub const TOPIC: &str = "insights-logs-auditlogs";

/// (object id, UPN, display name).
pub type Who = (&'static str, &'static str, &'static str);
pub const ALICE: Who = ("a11ce000-0000-4000-8000-000000000001", "alice@example.com", "Alice Meyer");
pub const BOB: Who = ("b0b00000-0000-4000-8000-000000000002", "bob@example.com", "Bob Okafor");

/// The rule that most tests use.
pub const RESET: &str = r#"
[[rule]]
id = "password-reset"
description = "Somebody reset a user's password"
on = "entra.audit"
when = { operation = ["Reset user password", "Reset password (by admin)"], result = "success" }
to = ["target"]
channels = ["email"]
template = "password-reset"
"#;

/// A cluster, a relay, a directory with a config, and at most one daemon.
pub struct Bench {
    pub kafka: Kafka,
    pub relay: Relay,
    /// Appended to the config; the rules.
    pub rules: String,
    /// `[people]` and what else a test changes: replaced in the text before it is written.
    pub replace: Vec<(String, String)>,
    /// Set for the next daemon.
    pub environment: Vec<(String, String)>,
    /// The command that starts the next daemon as the process that it is itself (`prlimit …`); empty: none.
    pub wrap: Vec<String>,
    /// The store's file; it may lie on a disk of its own.
    pub store: PathBuf,
    pub directory: tempfile::TempDir,
    pub binary: PathBuf,
    daemon: Option<Daemon>,
}

/// A mock cluster, or a real broker's topic; and a producer to it.
pub struct Kafka {
    /// `None`: a real broker.
    cluster: Option<Cluster>,
    /// What the daemon is told.
    pub brokers: String,
    topic: String,
    producer: FutureProducer,
}

struct Daemon {
    child: Child,
    http: SocketAddr,
}

impl Kafka {
    pub fn new(partitions: i32) -> Self {
        let cluster = Cluster::new();
        cluster.mock().create_topic(TOPIC, partitions, 1).unwrap();
        let topic = Self::real(&cluster.brokers(), TOPIC);
        Self { cluster: Some(cluster), ..topic }
    }

    /// A topic that is there.
    pub fn real(brokers: &str, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        let producer = config.set("bootstrap.servers", brokers).set("linger.ms", "0").create().unwrap();
        Self { cluster: None, brokers: brokers.to_owned(), topic: topic.to_owned(), producer }
    }

    pub fn down(&self) {
        self.cluster.as_ref().unwrap().down();
    }

    pub fn up(&self) {
        self.cluster.as_ref().unwrap().up();
    }

    /// Writes one message; it is in the log when this returns.
    pub async fn publish(&self, partition: i32, payload: &[u8]) {
        let record = FutureRecord::<(), [u8]>::to(&self.topic).partition(partition).payload(payload);
        self.producer.send(record, PATIENCE).await.unwrap();
    }
}

impl Bench {
    /// One partition, one rule, a relay that takes everything.
    pub async fn new() -> Self {
        Self::with(1, Options::default()).await
    }

    pub async fn with(partitions: i32, relay: Options) -> Self {
        Self::on(Kafka::new(partitions), relay).await
    }

    /// On whatever `kafka` is.
    pub async fn on(kafka: Kafka, relay: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            kafka,
            relay: Relay::start_with(relay).await,
            rules: RESET.to_owned(),
            replace: Vec::new(),
            environment: Vec::new(),
            wrap: Vec::new(),
            store: directory.path().join("auditbell.db"),
            directory,
            binary: env!("CARGO_BIN_EXE_auditbell").into(),
            daemon: None,
        }
    }

    /// From now on `old` in the config text is `new`.
    pub fn replace(&mut self, old: &str, new: &str) {
        self.replace.push((old.to_owned(), new.to_owned()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The mock cluster knows no static members: whoever starts again waits until the group has missed the one before, so
    /// sessions are short.
    fn config(&self) -> String {
        let mut text = format!(
            r#"
[source.entra]
brokers = "{brokers}"
topics = ["{topic}"]
group_id = "auditbell"
start = "earliest"
kafka = {{ "session.timeout.ms" = "2500", "heartbeat.interval.ms" = "500" }}

[store]
url = "sqlite:{store}"

[http]
listen = "127.0.0.1:0"

[channel.email]
type = "smtp"
relay = ["{relay}"]
from = "Example Security <security@example.com>"
retry = ["1s"]

[people]
allow_domains = ["example.com"]
fallback = ["soc@example.com"]
wait = "15m"

[brand]
name = "Example"
security_contact = "security@example.com"

[log]
level = "debug"
"#,
            brokers = self.kafka.brokers,
            topic = self.kafka.topic,
            store = self.store.display(),
            relay = self.relay.url(),
        ) + &self.rules;
        for (old, new) in &self.replace {
            assert!(text.contains(old), "the config holds no {old}");
            text = text.replace(old, new);
        }
        text
    }

    /// Writes the config as it would be now, and gives its place.
    pub fn write_config(&self) -> PathBuf {
        let config = self.path("config.toml");
        fs::write(&config, self.config()).unwrap();
        config
    }

    /// The command `auditbell ARGUMENT… -c CONFIG`, its config freshly written.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let config = self.write_config();
        let wrap = if arguments[0] == "run" { &self.wrap[..] } else { &[] };
        let mut words = wrap.iter().map(OsStr::new).chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .args(arguments)
            .arg("-c")
            .arg(config)
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        // The system's roots are found without help; an inherited directory is not the test's own.
        for name in ["STATE_DIRECTORY", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log_file(&self) -> PathBuf {
        self.path("daemon.log")
    }

    /// Everything any daemon of this bench has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Starts the daemon and does not wait for anything.
    pub fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        self.command(&["run"]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        let before = self.log().len();
        let child = std::cell::RefCell::new(self.spawn());
        let http = self
            .until("a listener", |bench| {
                let ended = child.borrow_mut().try_wait().unwrap();
                assert!(ended.is_none(), "it ended with {ended:?}:\n{}", &bench.log()[before..]);
                listening(&bench.log()[before..])
            })
            .await;
        let child = child.into_inner();
        self.daemon = Some(Daemon { child, http });
        self.until("readiness", |bench| bench.get("/readyz").starts_with("HTTP/1.1 200").then_some(())).await;
    }

    /// SIGTERM, and the exit.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.exited().await
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
    }

    /// The running daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().child.id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits until the daemon has ended by itself.
    pub async fn exited(&mut self) -> ExitStatus {
        let mut child = self.daemon.take().unwrap().child;
        self.ended(&mut child).await
    }

    pub async fn ended(&self, child: &mut Child) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("the daemon did not end:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes one message into partition 0.
    pub async fn publish(&self, payload: impl AsRef<[u8]>) {
        self.kafka.publish(0, payload.as_ref()).await;
    }

    /// The raw answer of the ops listener; empty when it does not answer.
    pub fn get(&self, path: &str) -> String {
        let http = self.daemon.as_ref().unwrap().http;
        let Ok(mut stream) = TcpStream::connect_timeout(&http, Duration::from_secs(5)) else { return String::new() };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        if asked.and_then(|()| stream.read_to_string(&mut answer)).is_err() {
            return String::new();
        }
        answer
    }

    /// The sum of a metric over all label sets that hold every one of `labels` (`verdict="sent"`), in whole numbers.
    pub fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let answer = self.get("/metrics");
        let of_it = answer.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        let value = |line: &str| line.rsplit([' ']).next().unwrap().split('.').next().unwrap().parse::<u64>().unwrap();
        of_it.map(value).sum()
    }

    /// Waits until the metric is at least `value`, and gives it.
    pub async fn metric_at_least(&self, name: &str, labels: &[&str], value: u64) -> u64 {
        self.until(&format!("{name}{labels:?} >= {value}"), |bench| {
            let now = bench.metric(name, labels);
            (now >= value).then_some(now)
        })
        .await
    }

    /// Waits until the daemon is a member of its group: what a test then gives a short life begins to live when it is published.
    pub async fn reading(&self) {
        self.metric_at_least("auditbell_kafka_assigned_partitions", &[], 1).await;
    }

    /// Waits until everything up to `offset` of partition 0 is in the store.
    pub async fn accepted_to(&self, offset: usize) {
        self.metric_at_least("auditbell_kafka_position", &["partition=\"0\""], offset as u64).await;
    }

    /// Asks again until `ask` answers.
    pub async fn until<T>(&self, what: &str, ask: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `auditbell store check` finds nothing wrong. Only while no daemon runs is the answer stable.
    pub fn books_balance(&self) {
        let output = self.command(&["store", "check"]).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "store check: {said}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        if let Some(mut daemon) = self.daemon.take() {
            // The test is over, by success or by panic; the process must not outlive it.
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
    }
}

/// The address in the line that says that the daemon runs.
fn listening(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("\"running\""))?;
    let line: Value = serde_json::from_str(line).ok()?;
    line["http"].as_str()?.parse().ok()
}

/// One Entra audit record: the help desk reset the password of `who`, just now. `id` makes it a record of its own and is
/// its correlation id, too.
pub fn reset(id: &str, who: Who) -> Value {
    let now = now();
    json!({
        "time": now,
        "resourceId": "/tenants/0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0/providers/Microsoft.aadiam",
        "operationName": "Reset user password",
        "category": "AuditLogs",
        "tenantId": "0f1e2d3c-4b5a-4968-8776-95a4b3c2d1e0",
        "callerIpAddress": "192.0.2.7",
        "correlationId": id,
        "Level": 4,
        "properties": {
            "id": format!("Directory_{id}"),
            "category": "UserManagement",
            "correlationId": id,
            "result": "success",
            "activityDisplayName": "Reset user password",
            "activityDateTime": now,
            "loggedByService": "Core Directory",
            "initiatedBy": { "user": {
                "id": "4e1bde50-0000-4000-8000-000000000003",
                "displayName": "Service Desk",
                "userPrincipalName": "helpdesk@example.com",
                "ipAddress": "192.0.2.7",
            }},
            "targetResources": [{
                "id": who.0, "displayName": who.2, "type": "User", "userPrincipalName": who.1,
                "modifiedProperties": [],
            }],
            "additionalDetails": [],
        },
    })
}

/// A record of somebody nobody else is: `user-ID@example.com`.
pub fn reset_of_number(number: usize) -> Value {
    let mut record = reset(&format!("n-{number}"), ALICE);
    let target = &mut record["properties"]["targetResources"][0];
    target["id"] = format!("00000000-0000-4000-8000-{number:012}").into();
    target["userPrincipalName"] = format!("user-{number}@example.com").into();
    record
}

/// What Azure's diagnostic settings put into one message.
pub fn envelope(records: &[Value]) -> String {
    json!({ "records": records }).to_string()
}

/// A message from `tests/fixtures/records`, as if written today: what is older than `max_age` is not told.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records").join(name);
    let text = fs::read_to_string(path).unwrap();
    let today = &now()[..10];
    (1..=31).fold(text, |text, day| text.replace(&format!("2026-01-{day:02}T"), &format!("{today}T"))).into_bytes()
}

fn now() -> String {
    auditbell::clock::Clock::system().now().to_string()
}

/// The recipients of the mails, sorted.
pub fn recipients(mails: &[Accepted]) -> Vec<String> {
    let mut to: Vec<_> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
    to.sort();
    to
}

/// A mail as its reader sees it: headers decoded, both bodies decoded.
pub fn text(mail: &Accepted) -> String {
    let parsed = mail_parser::MessageParser::default().parse(&mail.bytes).unwrap();
    let bodies = (0..parsed.text_body_count())
        .filter_map(|n| parsed.body_text(n))
        .chain((0..parsed.html_body_count()).filter_map(|n| parsed.body_html(n)))
        .collect::<Vec<_>>();
    format!("{}\n{}", parsed.subject().unwrap_or_default(), bodies.join("\n"))
}
