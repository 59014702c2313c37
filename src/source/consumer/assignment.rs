//! Owns which partitions the thread reads: what the group's coordinator gives us is placed and read, what it takes is given up,
//! and what has lost its place is placed anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{End, Reader};
use crate::metrics as meters;
use crate::source::Event;
use crate::source::context::{Fault, Rebalance};
use crate::source::offsets::{Key, list};
use crate::source::place::{Answer, StartPosition};
use crate::source::watch::Partition;

/// Between two tries to place partitions, and how long to go on.
const RETRY: Duration = Duration::from_secs(1);
const GIVE_UP: Duration = Duration::from_mins(2);

impl Reader {
    /// Answers what the group's coordinator decided.
    pub(super) fn rebalance(&mut self) {
        for rebalance in self.consumer.context().rebalances() {
            meters::kafka_rebalances(self.settings.name.clone()).increment(1);
            match rebalance {
                Rebalance::Assign(partitions) => {
                    self.wanted.extend(keys(&partitions));
                    self.answer_due = true;
                    self.next_try = Instant::now();
                }
                Rebalance::Revoke(partitions) => self.revoke(&keys(&partitions)),
            }
        }
    }

    /// What was accepted is committed by librdkafka before the partitions are given up; what is in hand is dropped.
    fn revoke(&mut self, keys: &[Key]) {
        let read: Vec<Key> = keys.iter().filter(|key| self.assigned.contains_key(*key)).cloned().collect();
        self.wanted.retain(|key| !keys.contains(key));
        // Even an empty list: librdkafka waits for the answer.
        self.unassign(&read);
        for (topic, partition) in keys {
            self.hand.push(Event::Revoked { topic: topic.clone(), partition: *partition });
        }
    }

    /// Gives partitions back to librdkafka and places them anew. A seek would do, but not on a partition that has
    /// reported an offset out of range: librdkafka has stopped fetching it.
    pub(super) fn move_away(&mut self, keys: Vec<Key>) {
        let keys: Vec<Key> = keys.into_iter().filter(|key| self.assigned.contains_key(key)).collect();
        if keys.is_empty() {
            return;
        }
        self.unassign(&keys);
        self.wanted.extend(keys);
        self.next_try = Instant::now();
    }

    fn unassign(&mut self, keys: &[Key]) {
        if let Err(error) = self.consumer.incremental_unassign(&list(keys)) {
            tracing::debug!(source = %self.settings.name, %error, "unassign");
        }
        for key in keys {
            if let Some(partition) = self.assigned.remove(key) {
                partition.gone();
            }
        }
        self.hand.forget(keys);
        self.count();
    }

    fn count(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a number of partitions")]
        meters::kafka_assigned_partitions(self.settings.name.clone()).set(self.assigned.len() as f64);
    }

    /// Places what is ours and has no place, and tells intake. Waits between tries, without stopping to poll.
    pub(super) fn place(&mut self) -> Option<End> {
        let idle = self.wanted.is_empty() && !self.answer_due;
        if idle || Instant::now() < self.next_try {
            return None;
        }
        let places = if self.wanted.is_empty() {
            Vec::new()
        } else {
            match self.finder.places(&self.consumer, &self.wanted) {
                Ok(Answer::Found(places)) => places,
                Ok(Answer::Refused(message)) => return Some(End::Fatal { exit: 78, message }),
                Err(error) => return self.not_yet(&error),
            }
        };
        let mut offsets = TopicPartitionList::with_capacity(places.len());
        let mut assigned = Ok(());
        for StartPosition { key, next, .. } in &places {
            assigned = assigned.and_then(|()| offsets.add_partition_offset(&key.0, key.1, Offset::Offset(*next)));
        }
        if let Err(error) = assigned.and_then(|()| self.consumer.incremental_assign(&offsets)) {
            return self.not_yet(&error.into());
        }
        drop(offsets);
        self.answer_due = false;
        self.trying_since = None;
        self.consumer.context().well();
        self.wanted.clear();
        let new: Vec<Key> = places.iter().map(|place| place.key.clone()).collect();
        for StartPosition { key, next, bad } in places {
            tracing::debug!(source = %self.settings.name, topic = %key.0, partition = key.1, next, "reading");
            self.hand.push(Event::Assigned { topic: key.0.clone(), partition: key.1, next, bad });
            let partition = Partition::new(&self.settings.name, &key, next);
            self.assigned.insert(key, partition);
        }
        // librdkafka keeps a partition paused while it is not assigned, and the hold may have ended meanwhile. Only these:
        // resuming one that is read would fetch it again.
        if self.held.is_empty() {
            self.unpause(&new);
        } else {
            self.pause();
        }
        self.count();
        self.watch.soon();
        None
    }

    fn not_yet(&mut self, error: &anyhow::Error) -> Option<End> {
        let now = Instant::now();
        self.next_try = now + RETRY;
        if now - *self.trying_since.get_or_insert(now) >= GIVE_UP {
            return Some(self.given_up(error));
        }
        self.consumer.context().fault(Fault::Position, &format!("{error:#}"));
        None
    }

    fn given_up(&self, error: &anyhow::Error) -> End {
        let message = format!(
            "[source.{}]: where to read from could not be found out in {} s: {error:#}; try again when the store and all brokers answer",
            self.settings.name,
            GIVE_UP.as_secs()
        );
        End::Fatal { exit: 75, message }
    }
}

/// With the topic's name shared.
fn keys(partitions: &[(String, i32)]) -> Vec<Key> {
    partitions.iter().map(|(topic, partition)| (Arc::from(topic.as_str()), *partition)).collect()
}
