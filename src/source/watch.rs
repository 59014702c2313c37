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

/// Between two looks, and how long one question to a broker may take: nothing is read meanwhile.
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

/// What librdkafka counted by itself of a partition that is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub key: Key,
    /// Where it ends, as the last fetch said; `None` where nothing was fetched.
    pub end: Option<i64>,
}

/// Looks every ten seconds. Reading goes on meanwhile: librdkafka counts beside it. A broker is asked, and waited for, only
/// when nothing is read that could be late: after an assignment, while the source is held, while something is wrong outside.
pub(super) struct Watch {
    next: Instant,
    /// An assignment is new: where its partitions end is not counted yet.
    ask: bool,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { next: Instant::now() + LOOK, ask: false }
    }

    /// Asks at the next opportunity.
    pub(super) fn soon(&mut self) {
        *self = Self { next: Instant::now(), ask: true };
    }

    /// How far behind are we, and does what was wrong still last? Asks a broker if it must.
    pub(super) fn look(
        &mut self,
        consumer: &BaseConsumer<Context>,
        settings: &Settings,
        assigned: &BTreeMap<Key, Partition>,
        held: bool,
    ) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + LOOK;
        let ask = std::mem::take(&mut self.ask) || held || consumer.context().is_troubled();
        if ask && !assigned.is_empty() {
            match list_offsets(consumer, assigned.keys().map(|key| (&key.0, key.1)), Offset::End, LIMIT) {
                Ok(ends) => {
                    consumer.context().well();
                    for (key, end) in &ends {
                        lag(assigned, key, *end);
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
    }

    /// Takes over what librdkafka counted.
    pub(super) fn counted(counted: &[Counted], assigned: &BTreeMap<Key, Partition>) {
        for partition in counted {
            lag(assigned, &partition.key, partition.end);
        }
    }
}

fn lag(assigned: &BTreeMap<Key, Partition>, key: &Key, end: Option<i64>) {
    if let (Some(partition), Some(end)) = (assigned.get(key), end) {
        partition.lag.set(gauge((end - partition.next).max(0)));
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
