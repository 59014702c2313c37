//! Owns what is measured of the assigned partitions: position and lag, and whether what was wrong outside is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Gauge;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::Settings;
use super::context::{Context, Fault};
use super::offsets::{Key, list_offsets};
use crate::metrics as meters;

/// Between two looks at the ends of the partitions, and how long one may take: nothing is read meanwhile.
const LOOK: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(1);

/// An assigned partition.
pub(super) struct Partition {
    /// What the store has accepted, as far as we were told.
    next: i64,
    position: Gauge,
    lag: Gauge,
}

impl Partition {
    pub(super) fn new(source: &Arc<str>, key: &Key, next: i64) -> Self {
        let (topic, partition) = key;
        let position = meters::kafka_position(source.clone(), topic.clone(), partition.to_string());
        let lag = meters::kafka_lag(source.clone(), topic.clone(), partition.to_string());
        // The series exists from the assignment on: an alert can tell "none" from "unknown".
        meters::kafka_lost_records(source.clone(), topic.clone(), partition.to_string()).increment(0);
        let mut new = Self { next, position, lag };
        new.accepted(next);
        new
    }

    pub(super) fn accepted(&mut self, next: i64) {
        self.next = next;
        self.position.set(gauge(next));
    }

    /// It is somebody else's: so is its lag.
    pub(super) fn gone(&self) {
        self.lag.set(0.0);
    }
}

/// Looks every ten seconds.
pub(super) struct Watch(Instant);

impl Watch {
    pub(super) fn new() -> Self {
        Self(Instant::now() + LOOK)
    }

    /// Looks at the next opportunity.
    pub(super) fn soon(&mut self) {
        self.0 = Instant::now();
    }

    /// How far behind are we, and does what was wrong still last? Whether it was time to look.
    pub(super) fn look(
        &mut self,
        consumer: &BaseConsumer<Context>,
        settings: &Settings,
        assigned: &BTreeMap<Key, Partition>,
    ) -> bool {
        if Instant::now() < self.0 {
            return false;
        }
        self.0 = Instant::now() + LOOK;
        if !assigned.is_empty() {
            match list_offsets(consumer, assigned.keys().map(|key| (&key.0, key.1)), Offset::End, LIMIT) {
                Ok(ends) => {
                    consumer.context().well();
                    for (key, end) in ends {
                        if let (Some(partition), Some(end)) = (assigned.get(&key), end) {
                            partition.lag.set(gauge((end - partition.next).max(0)));
                        }
                    }
                }
                Err(error) => tracing::debug!(source = %settings.name, %error, "the lag is not known"),
            }
        }
        // librdkafka tells a missing topic once; we tell it until it is there.
        if consumer.context().has(Fault::Topic) {
            match settings.topics.iter().find(|topic| !exists(consumer, topic)) {
                Some(topic) => consumer.context().fault(Fault::Topic, topic),
                None => consumer.context().over(Fault::Topic),
            }
        }
        true
    }
}

fn exists(consumer: &BaseConsumer<Context>, topic: &str) -> bool {
    consumer
        .fetch_metadata(Some(topic), LIMIT)
        .is_ok_and(|metadata| metadata.topics().iter().any(|topic| topic.error().is_none()))
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53; a gauge is for looking at")]
pub(super) fn gauge(number: i64) -> f64 {
    number as f64
}
