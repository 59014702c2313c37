//! Owns the demo's broker: librdkafka's mock cluster inside this process, and the producer that plays the exporter.

use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

/// The name that Entra's diagnostic settings choose.
pub(super) const TOPIC: &str = "insights-logs-auditlogs";
/// One is enough here, and keeps the terminal in order.
const PARTITIONS: i32 = 1;
/// The broker is in this process: what takes longer is a fault.
const LIMIT: Duration = Duration::from_secs(10);

/// The embedded broker and its producer.
pub(super) struct Feed {
    producer: FutureProducer,
    // Dropped after the producer, which ends with its broker.
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Feed {
    /// Starts the broker with its one topic.
    pub fn start() -> anyhow::Result<Self> {
        let cluster = MockCluster::new(1).context("the embedded broker does not start")?;
        cluster.create_topic(TOPIC, PARTITIONS, 1).context("the embedded broker refuses the topic")?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .create()
            .context("the embedded broker refuses the producer")?;
        Ok(Self { producer, cluster })
    }

    /// `host:port` of the broker.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Writes one Kafka message; its partition and offset.
    pub async fn send(&self, message: &str) -> anyhow::Result<(i32, i64)> {
        let record = FutureRecord::<(), str>::to(TOPIC).payload(message);
        let delivery = self.producer.send(record, LIMIT).await.map_err(|(error, _)| error)?;
        Ok((delivery.partition, delivery.offset))
    }
}
