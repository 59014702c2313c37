//! Owns the lists of partitions and offsets that are exchanged with librdkafka. A list never leaves its function: one that
//! is alive when the consumer is dropped makes the drop hang for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A partition of a topic.
pub(super) type Key = (Arc<str>, i32);

/// Lets Kafka's committed offset follow. `next` is the last accepted offset + 1, and that is what must be committed:
/// `store_offsets` takes it as it is, whereas librdkafka's `store_offset` would add one more.
pub(super) fn store_offset<C: ConsumerContext>(consumer: &BaseConsumer<C>, key: &Key, next: i64) -> KafkaResult<()> {
    let mut offsets = TopicPartitionList::with_capacity(1);
    offsets.add_partition_offset(&key.0, key.1, Offset::Offset(next))?;
    consumer.store_offsets(&offsets)
}

/// The partitions, without offsets.
pub(super) fn list(keys: &[Key]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(keys.len());
    for (topic, partition) in keys {
        list.add_partition(topic, *partition);
    }
    list
}

/// `ListOffsets` for many partitions, one request per broker: `Beginning`, `End`, or a time in milliseconds given as an
/// offset. The protocol has one field for all three (-2, -1, a timestamp), and `offsets_for_times` passes it on as it
/// is. `None`: the partition has no record at or after that time.
pub(super) fn list_offsets<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    keys: impl IntoIterator<Item = (&'a Arc<str>, i32)>,
    at: Offset,
    limit: Duration,
) -> anyhow::Result<BTreeMap<Key, Option<i64>>> {
    let mut list = TopicPartitionList::new();
    let mut topics = BTreeMap::new();
    for (topic, partition) in keys {
        list.add_partition_offset(topic, partition, at)?;
        topics.insert(topic.to_string(), topic.clone());
    }
    let answer = consumer.offsets_for_times(list, limit)?;
    let mut offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error().with_context(|| format!("{}/{}", element.topic(), element.partition()))?;
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        if let Some(topic) = topics.get(element.topic()) {
            offsets.insert((topic.clone(), element.partition()), offset);
        }
    }
    Ok(offsets)
}
