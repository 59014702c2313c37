//! Owns what a command asks of the brokers about single partitions: where the log begins and ends, and which offset a time
//! has. Joins no group, reads and commits nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::topic_partition_list::Offset;

use super::offsets::list_offsets;
use super::{Settings, client, probe};
use crate::clock::Timestamp;

/// What the broker keeps of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first offset that can still be read.
    pub low: i64,
    /// The offset of the next message that is written.
    pub high: i64,
}

/// The extents of `partitions`, those that the broker has. Blocks for `limit` at the most, and for a moment more while the
/// client closes. The error names the setting to look at.
pub fn extents(
    settings: &Settings,
    partitions: &[(Arc<str>, i32)],
    limit: Duration,
) -> anyhow::Result<BTreeMap<(Arc<str>, i32), Extent>> {
    let keys = || partitions.iter().map(|(topic, partition)| (topic, *partition));
    let (low, high) = ask(settings, partitions, limit, |consumer, left| {
        Ok((
            list_offsets(consumer, keys(), Offset::Beginning, left)?,
            list_offsets(consumer, keys(), Offset::End, left)?,
        ))
    })?;
    let extent = |key: &(Arc<str>, i32)| Some(Extent { low: (*low.get(key)?)?, high: (*high.get(key)?)? });
    Ok(partitions.iter().filter_map(|key| Some((key.clone(), extent(key)?))).collect())
}

/// The first offset of `partition` whose message was written at or after `at`; `None`: there is none yet. As [`extents`].
pub fn offset_at(
    settings: &Settings,
    partition: &(Arc<str>, i32),
    at: Timestamp,
    limit: Duration,
) -> anyhow::Result<Option<i64>> {
    let found = ask(settings, std::slice::from_ref(partition), limit, |consumer, left| {
        list_offsets(consumer, [(&partition.0, partition.1)], Offset::Offset(at.as_millis().max(0)), left)
    })?;
    Ok(found.get(partition).copied().flatten())
}

/// A question to brokers that answer: the topics' metadata is fetched first, which tells why if they do not.
fn ask<T>(
    settings: &Settings,
    partitions: &[(Arc<str>, i32)],
    limit: Duration,
    question: impl FnOnce(&probe::Asker, Duration) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let consumer = client::create(settings, probe::Listener::default())?;
    let end = Instant::now() + limit;
    for (topic, _) in partitions {
        probe::metadata(&consumer, settings, topic, end)?;
    }
    question(&consumer, end.saturating_duration_since(Instant::now()).max(probe::SLICE))
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_partition_that_is_there_has_an_extent() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("audit", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: ThreadedProducer<DefaultProducerContext> =
            config.create_with_context(DefaultProducerContext).unwrap();
        for _ in 0..3 {
            producer.send(BaseRecord::<(), str>::to("audit").partition(1).payload("x")).unwrap();
        }
        producer.flush(LIMIT).unwrap();
        let both = [("audit".into(), 0), ("audit".into(), 1)];
        let extents = extents(&Settings::from_the_start(&cluster.bootstrap_servers(), "audit"), &both, LIMIT).unwrap();
        assert_eq!(extents[&both[0]], Extent { low: 0, high: 0 });
        assert_eq!(extents[&both[1]], Extent { low: 0, high: 3 });
    }

    #[test]
    fn brokers_that_are_away_are_named() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error =
            extents(&Settings::from_the_start(&format!("127.0.0.1:{port}"), "audit"), &[("audit".into(), 0)], LIMIT)
                .unwrap_err();
        assert!(format!("{error:#}").contains("check [source.entra] brokers = "), "{error:#}");
    }
}
