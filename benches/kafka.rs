//! The broker: a real one where `tests/kafka run` says so, else a mock cluster in this process; topics, and what is
//! written to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

pub const PARTITIONS: i32 = 8;

/// One topic of its own.
pub struct Topic {
    pub brokers: String,
    pub writer: Writer,
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

/// Writes into one topic; another thread may have it.
pub struct Writer {
    pub topic: String,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Topic {
    /// A fresh topic. `linger`: how long the producer waits for a batch, in milliseconds.
    pub fn new(name: &str, linger: &str) -> Self {
        static TOPICS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bench-{name}-{}-{}", std::process::id(), TOPICS.fetch_add(1, Ordering::Relaxed));
        let (brokers, mock) = if let Ok(brokers) = std::env::var("AUDITBELL_KAFKA") {
            create(&brokers, &name);
            (brokers, None)
        } else {
            let cluster = MockCluster::new(1).unwrap();
            cluster.create_topic(&name, PARTITIONS, 1).unwrap();
            (cluster.bootstrap_servers(), Some(cluster))
        };
        let producer =
            ClientConfig::new().set("bootstrap.servers", &brokers).set("linger.ms", linger).create().unwrap();
        let topic = Self { brokers, writer: Writer { topic: name, producer }, mock };
        println!("broker: {}, {PARTITIONS} partitions", if topic.is_real() { "Apache Kafka" } else { "mock" });
        topic
    }

    pub fn is_real(&self) -> bool {
        self.mock.is_none()
    }

    /// How long a fetch waits at the broker. A real broker answers when something comes; the mock does not.
    pub fn fetch_wait(&self) -> &'static str {
        if self.is_real() { "500" } else { "5" }
    }
}

impl Writer {
    /// Writes one message, spread over the partitions by `n`; waits while the producer's queue is full.
    pub fn send(&self, n: usize, payload: &str) {
        let partition = i32::try_from(n % PARTITIONS as usize).unwrap();
        let mut record = BaseRecord::<(), _>::to(&self.topic).partition(partition).payload(payload);
        while let Err((error, back)) = self.producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }

    /// Everything is in the log when this returns.
    pub fn flush(&self) {
        self.producer.flush(Duration::from_mins(1)).unwrap();
    }
}

fn create(brokers: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
}

/// The envelope of `records`.
pub fn envelope(records: &[Value]) -> String {
    json!({ "records": records }).to_string()
}

/// Record number `n`: a password reset of `user{n}@example.com`, which the rule tells.
pub fn reset(n: usize) -> Value {
    let time = jiff::Timestamp::from_second(
        std::time::UNIX_EPOCH.elapsed().map(|at| at.as_secs()).unwrap_or_default().try_into().unwrap(),
    );
    let time = time.unwrap().to_string();
    json!({
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
    })
}

/// The same as long as `bytes`, by one more changed property; with another `operation` no rule asks for it.
pub fn padded(n: usize, operation: &str, bytes: usize) -> Value {
    let mut record = reset(n);
    record["operationName"] = operation.into();
    record["properties"]["activityDisplayName"] = operation.into();
    let change = |value: String| json!([{ "displayName": "AccountEnabled", "oldValue": "[]", "newValue": value }]);
    record["properties"]["targetResources"][0]["modifiedProperties"] = change(String::new());
    let room = bytes.saturating_sub(record.to_string().len());
    record["properties"]["targetResources"][0]["modifiedProperties"] = change("x".repeat(room));
    record
}
