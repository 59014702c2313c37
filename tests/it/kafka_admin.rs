//! What only a real broker can be told: make a topic, delete it, cut its beginning off, add partitions; and the script that
//! starts a broker of one's own. `tests/kafka` names the common broker in the environment.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka_reader::DEADLINE;

/// What `tests/kafka` says.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by tests/kafka"))
}

/// One topic and the power over it.
pub struct Admin {
    pub brokers: String,
    pub topic: String,
    client: AdminClient<DefaultClientContext>,
}

impl Admin {
    /// The topic is not made yet.
    pub fn new(brokers: &str, topic: &str) -> Self {
        let client = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        Self { brokers: brokers.to_owned(), topic: topic.to_owned(), client }
    }

    pub async fn create(&self, partitions: i32) {
        // For ever: these tests write records that are a week old.
        let topic = NewTopic::new(&self.topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "-1");
        for outcome in self.client.create_topics([&topic], &AdminOptions::new()).await.unwrap() {
            outcome.unwrap();
        }
    }

    pub async fn delete(&self) {
        for outcome in self.client.delete_topics(&[&self.topic], &AdminOptions::new()).await.unwrap() {
            outcome.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await; // the broker takes a moment to forget the name
    }

    /// From now on partition 0 begins at `low`.
    pub async fn truncate(&self, low: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic, 0, Offset::Offset(low)).unwrap();
        self.client.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    }

    pub async fn grow(&self, partitions: usize) {
        let more = NewPartitions::new(&self.topic, partitions);
        for outcome in self.client.create_partitions([&more], &AdminOptions::new()).await.unwrap() {
            outcome.unwrap();
        }
    }

    /// (partition, end offset) of the first `partitions`.
    pub fn ends(&self, partitions: i32) -> Vec<(i32, i64)> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap();
        let end = |partition| (partition, consumer.fetch_watermarks(&self.topic, partition, DEADLINE).unwrap().1);
        (0..partitions).map(end).collect()
    }
}

/// A broker of one's own, to be killed and started again. It ends with this value, or with the process.
pub struct OwnBroker {
    pub brokers: String,
    script: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl OwnBroker {
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka");
        let mut script = Command::new(script).arg("obey").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = script.stdin.take();
        let answers = BufReader::new(script.stdout.take().unwrap());
        let mut own = Self { brokers: String::new(), script, orders, answers };
        own.brokers = own.answer();
        own
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "tests/kafka has ended");
        line.trim_end().to_owned()
    }

    /// `stop` (SIGKILL) or `start` (until it answers).
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{order}").unwrap();
        assert_eq!(self.answer(), order);
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        drop(self.orders.take());
        // The script kills its broker and removes its folder; there is nothing to do about a failure.
        let _ = self.script.wait();
    }
}
