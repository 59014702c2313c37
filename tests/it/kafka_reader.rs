//! Stands in for intake: drives one source with a real store, and remembers what came. Every wait has a deadline.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditbell::clock::{Clock, Timestamp};
use auditbell::source::{Command, Envelope, Event, Handle, OnLostStore, Settings, Start, start};
use auditbell::store::{AcceptError, Batch, Fence, Store};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Longer than any group start, session timeout or retry in these tests.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// A source of `topics` that starts at the first record, with a short session.
pub fn settings(brokers: &str, topics: &[&str]) -> Settings {
    Settings {
        name: Arc::from("entra"),
        brokers: brokers.to_owned(),
        topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        group_id: "auditbell".to_owned(),
        start: Start::Earliest,
        auth: None,
        tls: None,
        on_lost_store: OnLostStore::Refuse,
        kafka: [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500"), ("reconnect.backoff.max.ms", "500")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

/// A store in `folder`, the same one each time.
pub fn store(folder: &Path) -> Store {
    let settings = auditbell::store::Settings {
        path: folder.join("auditbell.db"),
        ledger: Duration::from_hours(90 * 24),
        content: Duration::from_hours(14 * 24),
    };
    Store::open(&settings, false).unwrap()
}

/// Writes records and waits until the broker has them.
pub struct Feeder(ThreadedProducer<DefaultProducerContext>);

impl Feeder {
    pub fn new(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "0");
        // A retry, as to a leader that does not know of the new topic yet, must not come after what follows it.
        config.set("max.in.flight", "1");
        Self(config.create().unwrap())
    }

    pub fn write(&self, topic: &str, partition: i32, texts: &[&str]) {
        self.write_at(topic, partition, texts, Clock::system().now());
    }

    /// With Kafka's time.
    pub fn write_at(&self, topic: &str, partition: i32, texts: &[&str], at: Timestamp) {
        for text in texts {
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(*text).timestamp(at.as_millis());
            self.0.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.0.flush(DEADLINE).unwrap();
    }
}

/// What the group has committed.
pub fn committed(brokers: &str, topic: &str, partition: i32) -> Offset {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "auditbell").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let offsets = consumer.committed_offsets(list, DEADLINE).unwrap();
    let offset = offsets.elements()[0].offset();
    drop(offsets); // one that outlives the consumer hangs its drop
    offset
}

/// Where an assignment began: (topic, partition, next).
pub type Begun = (String, i32, i64);

/// One running source.
pub struct Reader {
    pub handle: Handle,
    pub store: Store,
    source: Arc<str>,
    next: BTreeMap<(Arc<str>, i32), i64>,
}

impl Reader {
    pub fn start(settings: Settings, store: &Store) -> Self {
        let source = settings.name.clone();
        let runtime = tokio::runtime::Handle::current();
        let lost = tokio::task::block_in_place(|| runtime.block_on(store.lost())).unwrap();
        let handle = start(settings, store.clone(), lost.concerns(&source), Clock::system(), runtime).unwrap();
        Self { handle, store: store.clone(), source, next: BTreeMap::new() }
    }

    /// The next event. Holds what every event promises: envelopes only of assigned partitions, in order, none from
    /// before the assignment.
    pub async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(DEADLINE, self.handle.events.recv());
        let event = event.await.expect("an event within the deadline").expect("the source runs");
        match &event {
            Event::Assigned { topic, partition, next, .. } => {
                self.next.insert((topic.clone(), *partition), *next);
            }
            Event::Revoked { topic, partition } => {
                self.next.remove(&(topic.clone(), *partition));
            }
            Event::Envelopes(batch) => {
                let mut next = self.next.clone();
                for envelope in batch {
                    let next = next.get_mut(&(envelope.topic.clone(), envelope.partition)).expect("assigned");
                    assert!(envelope.offset >= *next, "offset {} after {next}", envelope.offset);
                    *next = envelope.offset + 1;
                }
            }
            Event::Fatal { .. } => {}
        }
        event
    }

    /// Waits for `count` assignments. Nothing else may come before them.
    pub async fn assigned(&mut self, count: usize) -> Vec<Begun> {
        let mut begun = Vec::new();
        while begun.len() < count {
            match self.event().await {
                Event::Assigned { topic, partition, next, .. } => begun.push((topic.to_string(), partition, next)),
                other => panic!("{other:?}"),
            }
        }
        begun.sort();
        begun
    }

    /// The next batch, whatever is assigned or revoked before it.
    pub async fn batch(&mut self) -> Vec<Envelope> {
        loop {
            match self.event().await {
                Event::Envelopes(batch) => return batch,
                Event::Assigned { .. } | Event::Revoked { .. } => {}
                Event::Fatal { message, .. } => panic!("{message}"),
            }
        }
    }

    /// Moves the positions past the batch, as intake does, and tells the source.
    pub async fn accept(&mut self, batch: &[Envelope]) -> Result<(), AcceptError> {
        let mut fences = BTreeMap::new();
        for envelope in batch {
            fences.insert((envelope.topic.clone(), envelope.partition), envelope.offset + 1);
        }
        let fence = |(key, to): (&(Arc<str>, i32), &i64)| Fence {
            source: self.source.clone(),
            topic: key.0.clone(),
            partition: key.1,
            from: self.next[key],
            to: *to,
            bad: 0,
        };
        let moved = Batch { fences: fences.iter().map(fence).collect(), ..Batch::default() };
        self.store.accept(moved, Clock::system().now()).await?;
        for ((topic, partition), next) in fences {
            self.next.insert((topic.clone(), partition), next);
            self.tell(Command::Accepted { topic, partition, next }).await;
        }
        Ok(())
    }

    pub async fn tell(&self, command: Command) {
        self.handle.commands().send(command).await.unwrap();
    }

    /// Reads and accepts `count` envelopes and not one more: their texts.
    pub async fn read(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let batch = self.batch().await;
            texts.extend(batch.iter().map(text));
            self.accept(&batch).await.unwrap();
        }
        assert_eq!(texts.len(), count, "{texts:?}");
        texts
    }

    /// The source ends by itself: exit code and message.
    pub async fn fatal(&mut self) -> (u8, String) {
        loop {
            if let Event::Fatal { exit, message } = self.event().await {
                return (exit, message);
            }
        }
    }

    /// Nothing comes for a second.
    pub async fn silent(&mut self) {
        if let Ok(event) = tokio::time::timeout(Duration::from_secs(1), self.handle.events.recv()).await {
            panic!("{event:?}");
        }
    }

    /// (topic, partition, next) of every row of this source.
    pub async fn rows(&self) -> Vec<Begun> {
        let rows = self.store.positions(&self.source).await.unwrap();
        let mut rows: Vec<Begun> =
            rows.into_iter().map(|row| (row.topic.to_string(), row.partition, row.next)).collect();
        rows.sort();
        rows
    }

    pub async fn stop(self) {
        tokio::time::timeout(DEADLINE, self.handle.stop()).await.expect("stops within the deadline");
    }
}

/// The payload.
pub fn text(envelope: &Envelope) -> String {
    String::from_utf8(envelope.payload.as_deref().expect("a payload").to_vec()).unwrap()
}
