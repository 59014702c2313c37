//! Owns reading once what the topics hold since a time: a client of its own that joins no group, commits nothing, and ends
//! where the log ended when it began.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::offsets::{Key, list_offsets};
use super::{Envelope, Settings, client, probe};
use crate::clock::Timestamp;

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was read.
    AtEnd,
    /// The caller had enough.
    Enough,
    /// The time was up.
    OutOfTime,
}

/// Gives every message that was written at or after `from`, of every topic of the source, to `each`, with the number of
/// messages that may still come. Blocks for `limit` at the most, and for a moment more while the client closes. The error names
/// the setting to look at.
pub fn read_since(
    settings: &Settings,
    from: Timestamp,
    limit: Duration,
    each: &mut dyn FnMut(Envelope, u64) -> ControlFlow<()>,
) -> anyhow::Result<Ended> {
    let end = Instant::now() + limit;
    for topic in &settings.topics {
        let ended = topic_since(settings, topic, from, end, each).with_context(|| format!("topic {topic}"))?;
        if ended != Ended::AtEnd {
            return Ok(ended);
        }
    }
    Ok(Ended::AtEnd)
}

fn topic_since(
    settings: &Settings,
    topic: &str,
    from: Timestamp,
    end: Instant,
    each: &mut dyn FnMut(Envelope, u64) -> ControlFlow<()>,
) -> anyhow::Result<Ended> {
    let consumer = client::create_apart(settings, probe::Listener::default())?;
    let mut open = ranges(&consumer, settings, topic, from, end)?;
    let mut assignment = TopicPartitionList::new();
    for ((topic, partition), range) in &open {
        assignment.add_partition_offset(topic, *partition, Offset::Offset(range.start))?;
    }
    consumer.assign(&assignment)?;
    drop(assignment); // see `offsets`: no list may outlive the consumer
    let mut left: u64 = open.values().map(|range| range.end.abs_diff(range.start)).sum();
    while !open.is_empty() {
        if Instant::now() >= end {
            return Ok(Ended::OutOfTime);
        }
        match consumer.poll(probe::SLICE) {
            None => {}
            // The end of the log; what stood between the last message and it was no message.
            Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|(_, open), _| *open != partition),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let key: Key = (message.topic().into(), message.partition());
                let Some(range) = open.get_mut(&key).filter(|range| range.contains(&message.offset())) else {
                    continue;
                };
                left = left.saturating_sub(message.offset().abs_diff(range.start) + 1);
                range.start = message.offset() + 1;
                if range.is_empty() {
                    open.remove(&key);
                }
                if each(envelope(key, &message), left).is_break() {
                    return Ok(Ended::Enough);
                }
            }
        }
    }
    Ok(Ended::AtEnd)
}

/// What there is to read of each partition that has anything.
fn ranges(
    consumer: &probe::Asker,
    settings: &Settings,
    topic: &str,
    from: Timestamp,
    end: Instant,
) -> anyhow::Result<BTreeMap<Key, std::ops::Range<i64>>> {
    let metadata = probe::metadata(consumer, settings, topic, end)?;
    let partitions = metadata
        .topics()
        .iter()
        .filter(|found| found.name() == topic)
        .flat_map(rdkafka::metadata::MetadataTopic::partitions);
    let keys: Vec<Key> = partitions.map(|partition| (topic.into(), partition.id())).collect();
    let offsets = |at| {
        let left = end.saturating_duration_since(Instant::now()).max(probe::SLICE);
        list_offsets(consumer, keys.iter().map(|(topic, partition)| (topic, *partition)), at, left)
    };
    let began = if from.as_millis() <= 0 { Offset::Beginning } else { Offset::Offset(from.as_millis()) };
    let (first, last) = (offsets(began)?, offsets(Offset::End)?);
    let range = |key: &Key| Some((*first.get(key)?)?..(*last.get(key)?)?);
    let ranges = keys.iter().filter_map(|key| Some((key.clone(), range(key)?)));
    Ok(ranges.filter(|(_, range)| !range.is_empty()).collect())
}

fn envelope((topic, partition): Key, message: &BorrowedMessage<'_>) -> Envelope {
    Envelope {
        topic,
        partition,
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().filter(|at| *at >= 0).map(Timestamp::from_millis),
        payload: message.payload().map(Bytes::copy_from_slice),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Two partitions with five messages at 1 s to 5 s after `AT`, one after the other.
    fn cluster() -> (MockCluster<'static, DefaultProducerContext>, Settings) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("audit", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: ThreadedProducer<DefaultProducerContext> =
            config.create_with_context(DefaultProducerContext).unwrap();
        for n in 1..=5_i64 {
            let text = n.to_string();
            let record = BaseRecord::<(), str>::to("audit").partition(i32::try_from(n % 2).unwrap());
            producer.send(record.timestamp(AT + n * 1_000).payload(&text)).unwrap();
            producer.flush(LIMIT).unwrap();
        }
        let settings = Settings::from_the_start(&cluster.bootstrap_servers(), "audit");
        (cluster, settings)
    }

    const AT: i64 = 1_790_000_000_000;

    fn read(settings: &Settings, from: i64, most: usize) -> (Vec<String>, Ended) {
        let mut read = Vec::new();
        let ended = read_since(settings, Timestamp::from_millis(from), LIMIT, &mut |envelope, _| {
            read.push(String::from_utf8_lossy(&envelope.payload.unwrap()).into_owned());
            if read.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        read.sort();
        (read, ended)
    }

    #[test]
    fn every_message_of_every_partition_is_read_once_to_the_end() {
        let (_cluster, settings) = cluster();
        assert_eq!(read(&settings, 0, 99), (["1", "2", "3", "4", "5"].map(str::to_owned).to_vec(), Ended::AtEnd));
        let (read, ended) = read(&settings, 0, 2);
        assert_eq!((read.len(), ended), (2, Ended::Enough));
    }

    #[test]
    fn a_time_after_the_last_message_reads_nothing() {
        let (_cluster, settings) = cluster();
        assert_eq!(read(&settings, AT + 3_600_000_000, 99).1, Ended::AtEnd);
    }

    #[test]
    fn the_group_is_neither_joined_nor_moved() {
        let (_cluster, settings) = cluster();
        read(&settings, 0, 99);
        let config = || {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", &settings.brokers).set("group.id", &*settings.group_id);
            config
        };
        let asked: rdkafka::consumer::BaseConsumer = config().create().unwrap();
        let mut both = TopicPartitionList::new();
        both.add_partition("audit", 0);
        both.add_partition("audit", 1);
        let committed = asked.committed_offsets(both, LIMIT).unwrap();
        assert!(committed.elements().iter().all(|element| element.offset() == Offset::Invalid), "{committed:?}");
        drop(committed);
    }
}
