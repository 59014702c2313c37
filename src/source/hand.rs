//! Owns what the Kafka thread has in its hand for intake: the bounded hand-over, and what "full" means.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::offsets::Key;
use super::{EVENTS_AHEAD, Event};

/// How long a full hand-over only stops polling. Pausing throws the prefetch away, so it is not the first thing to do.
const PATIENCE: Duration = Duration::from_secs(5);
/// One wait for room; commands are heard after it.
const WAIT: Duration = Duration::from_millis(100);
/// How long the last event may wait for intake.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Events that intake has not taken yet, oldest first. Bounded, because nothing is polled while there are any, unless the
/// partitions are paused.
pub(super) struct Hand {
    waiting: VecDeque<Event>,
    intake: Sender<Event>,
    runtime: tokio::runtime::Handle,
    full_since: Option<Instant>,
}

/// What became of a hand-over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Nothing is in hand any more.
    All {
        /// Intake has taken enough to resume, should the source be held because it was full.
        half_free: bool,
    },
    /// There was no room for a moment.
    Waited,
    /// There has been no room for [`PATIENCE`]: hold.
    Full,
    /// Intake is gone.
    Gone,
}

impl Hand {
    pub(super) fn new(intake: Sender<Event>, runtime: tokio::runtime::Handle) -> Self {
        Self { waiting: VecDeque::new(), intake, runtime, full_since: None }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.waiting.push_back(event);
    }

    /// Drops what was polled of these partitions: it belongs to nobody any more.
    pub(super) fn forget(&mut self, keys: &[Key]) {
        let gone = |topic: &str, partition: i32| keys.iter().any(|key| *key.0 == *topic && key.1 == partition);
        self.waiting.retain_mut(|event| match event {
            Event::Envelopes(batch) => {
                batch.retain(|envelope| !gone(&envelope.topic, envelope.partition));
                !batch.is_empty()
            }
            Event::Assigned { topic, partition, .. } => !gone(topic, *partition),
            Event::Revoked { .. } | Event::Fatal { .. } => true,
        });
    }

    /// Gives as much as there is room for. Waits a moment for room, unless the source is held for the lack of it.
    pub(super) fn give(&mut self, held: bool) -> Given {
        while let Some(event) = self.waiting.pop_front() {
            match self.intake.try_send(event) {
                Ok(()) => self.full_since = None,
                Err(TrySendError::Closed(_)) => return Given::Gone,
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return self.full(held);
                }
            }
        }
        Given::All { half_free: self.intake.capacity() >= EVENTS_AHEAD / 2 }
    }

    fn full(&mut self, held: bool) -> Given {
        if held || self.full_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return Given::Full;
        }
        let room = async { tokio::time::timeout(WAIT, self.intake.reserve()).await.map(drop) };
        // Room, no room, or nobody there: the next try to send finds out.
        let _ = self.runtime.block_on(room);
        Given::Waited
    }

    /// Gives the last event, instead of whatever is in hand.
    pub(super) fn last(&mut self, event: Event) {
        self.waiting.clear();
        let sending = async { tokio::time::timeout(LAST_WORDS, self.intake.send(event)).await.map(drop) };
        // Whoever does not listen any more knows already that this source has ended.
        let _ = self.runtime.block_on(sending);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::sync::mpsc;

    use super::super::Envelope;
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        // Waiting through a handle needs somebody who drives the timers; a current-thread runtime has nobody.
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
    }

    fn envelopes(places: &[(i32, i64)]) -> Event {
        let envelope = |(partition, offset): &(i32, i64)| Envelope {
            topic: Arc::from("audit"),
            partition: *partition,
            offset: *offset,
            timestamp: None,
            payload: Some(Bytes::from_static(b"{}")),
        };
        Event::Envelopes(places.iter().map(envelope).collect())
    }

    fn assigned(partition: i32, next: i64) -> Event {
        Event::Assigned { topic: Arc::from("audit"), partition, next, bad: 0 }
    }

    fn taken(events: &mut mpsc::Receiver<Event>) -> Vec<String> {
        let mut out = Vec::new();
        while let Ok(event) = events.try_recv() {
            out.push(match event {
                Event::Assigned { partition, next, .. } => format!("assigned {partition} {next}"),
                Event::Revoked { partition, .. } => format!("revoked {partition}"),
                Event::Envelopes(batch) => {
                    let places: Vec<_> = batch.iter().map(|e| format!("{}:{}", e.partition, e.offset)).collect();
                    places.join(" ")
                }
                Event::Fatal { message, .. } => message,
            });
        }
        out
    }

    #[test]
    fn what_was_polled_of_a_partition_before_it_moved_is_never_given() {
        let runtime = runtime();
        let (intake, mut events) = mpsc::channel(8);
        let mut hand = Hand::new(intake, runtime.handle().clone());
        hand.push(assigned(0, 5));
        hand.push(assigned(1, 7));
        hand.push(envelopes(&[(0, 5), (1, 7), (0, 6)]));
        hand.push(envelopes(&[(0, 8)]));
        hand.forget(&[(Arc::from("audit"), 0)]);
        hand.push(assigned(0, 5));
        assert_eq!(hand.give(false), Given::All { half_free: true });
        assert_eq!(taken(&mut events), ["assigned 1 7", "1:7", "assigned 0 5"]);
    }

    #[test]
    fn nothing_is_lost_while_there_is_no_room_and_the_order_stays() {
        let runtime = runtime();
        let (intake, mut events) = mpsc::channel(2);
        let mut hand = Hand::new(intake, runtime.handle().clone());
        for offset in 0..4 {
            hand.push(envelopes(&[(0, offset)]));
        }
        assert_eq!(hand.give(false), Given::Waited);
        assert_eq!(hand.give(true), Given::Full, "held: does not wait");
        assert_eq!(taken(&mut events), ["0:0", "0:1"]);
        assert_eq!(hand.give(false), Given::All { half_free: false });
        assert_eq!(taken(&mut events), ["0:2", "0:3"]);
        assert_eq!(hand.give(false), Given::All { half_free: true });
    }

    #[test]
    fn without_intake_there_is_nobody_to_give_to() {
        let runtime = runtime();
        let (intake, events) = mpsc::channel(2);
        let mut hand = Hand::new(intake, runtime.handle().clone());
        drop(events);
        hand.push(assigned(0, 0));
        assert_eq!(hand.give(false), Given::Gone);
    }
}
