//! Owns the Kafka thread: poll, hand over, hold, rebalance, and leave. It never waits for intake longer than a moment,
//! since callbacks and group membership live in `poll`. What becomes of the partitions is in `assignment`.

mod assignment;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::Gauge;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::context::{Context, Fault};
use super::growth::Growth;
use super::hand::{Given, Hand};
use super::offsets::{Key, list, store_offset};
use super::place::Finder;
use super::watch::{Partition, Watch, gauge};
use super::{BATCH_BYTES, BATCH_MESSAGES, Command, Envelope, Event, Link, Settings, client};
use crate::clock::{Clock, Timestamp};
use crate::store::Store;
use crate::{crash, metrics as meters};

/// Longest wait for a message; commands are heard after it.
const POLL: Duration = Duration::from_millis(100);
/// The reason of a hold that is ours: intake is slower than Kafka.
const FULL: &str = "intake";

/// Creates the client and starts the thread.
pub(super) fn spawn(
    settings: Settings,
    store: Store,
    store_lost: bool,
    clock: Clock,
    runtime: tokio::runtime::Handle,
    link: Link,
) -> anyhow::Result<()> {
    let consumer = client::create(&settings, Context::new(settings.clone(), clock.clone()))?;
    let now = Instant::now();
    let reader = Reader {
        last_poll: meters::kafka_last_poll(settings.name.clone()),
        finder: Finder::new(settings.clone(), store, store_lost, clock.clone(), runtime.clone()),
        settings,
        consumer,
        clock,
        hand: Hand::new(link.events, runtime),
        commands: link.commands,
        ended: link.ended,
        assigned: BTreeMap::new(),
        wanted: BTreeSet::new(),
        answer_due: false,
        trying_since: None,
        next_try: now,
        held: BTreeSet::new(),
        watch: Watch::new(),
        growth: Growth::default(),
    };
    std::thread::Builder::new().name(format!("kafka-{}", reader.settings.name)).spawn(move || reader.run())?;
    Ok(())
}

/// Why the thread ends.
enum End {
    /// Intake wants it, or is gone.
    Stop,
    /// The process has to end.
    Fatal { exit: u8, message: String },
}

struct Reader {
    settings: Settings,
    consumer: BaseConsumer<Context>,
    finder: Finder,
    clock: Clock,
    hand: Hand,
    commands: mpsc::Receiver<Command>,
    /// Dropped last.
    ended: oneshot::Sender<()>,
    last_poll: Gauge,
    /// What librdkafka reads for us.
    assigned: BTreeMap<Key, Partition>,
    /// What is ours, but has no place yet. Disjoint from `assigned`.
    wanted: BTreeSet<Key>,
    /// librdkafka waits for our answer to an assignment.
    answer_due: bool,
    /// When the placing that has not succeeded yet began.
    trying_since: Option<Instant>,
    next_try: Instant,
    /// Reasons to hold; partitions are paused while there is one.
    held: BTreeSet<&'static str>,
    watch: Watch,
    growth: Growth,
}

impl Reader {
    fn run(mut self) {
        let end = self.work();
        if let End::Fatal { exit, message } = end {
            self.hand.last(Event::Fatal { exit, message });
        }
        self.close();
    }

    fn work(&mut self) -> End {
        if let Some(end) = self.begin() {
            return end;
        }
        loop {
            if let Some(end) = self.commands().or_else(|| self.place()) {
                return end;
            }
            match self.hand_over() {
                Ok(true) => {}
                Ok(false) => continue,
                Err(end) => return end,
            }
            // Nothing is in hand here that a look could make late.
            if let Some(end) = self.look().or_else(|| self.poll()) {
                return end;
            }
            self.rebalance();
        }
    }

    /// Joins the group.
    fn begin(&self) -> Option<End> {
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).err().map(|error| End::Fatal {
            exit: 78,
            message: format!("[source.{}] topics = {topics:?}: {error}", self.settings.name),
        })
    }

    /// Takes over what librdkafka counted, and joins the group anew where that does not know of a partition.
    fn look(&mut self) -> Option<End> {
        self.watch.look(&self.consumer, &self.settings, &self.assigned, !self.held.is_empty());
        let counted = self.consumer.context().counted()?;
        if self.held.is_empty() {
            // While nothing is fetched, the counted ends are old ones.
            Watch::counted(&counted, &self.assigned);
        }
        let is_steady = !self.assigned.is_empty() && self.wanted.is_empty() && !self.answer_due;
        let there = counted.into_iter().map(|partition| partition.key);
        if is_steady && self.growth.look(there, &self.assigned, &self.finder, &self.settings) {
            // A static member leaves when it unsubscribes, and not when it ends. The next one waits for that.
            self.consumer.unsubscribe();
            return self.begin();
        }
        None
    }

    /// Everything intake said since the last call.
    fn commands(&mut self) -> Option<End> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Accepted { topic, partition, next }) => self.accepted(&(topic, partition), next),
                Ok(Command::Reseek { topic, partition }) => self.move_away(vec![(topic, partition)]),
                Ok(Command::Hold { reason }) => self.hold(reason),
                Ok(Command::Resume { reason }) => self.resume(reason),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Some(End::Stop),
                Err(TryRecvError::Empty) => return None,
            }
        }
    }

    fn accepted(&mut self, key: &Key, next: i64) {
        let Some(partition) = self.assigned.get_mut(key) else { return };
        partition.accepted(next);
        if let Err(error) = store_offset(&self.consumer, key, next) {
            tracing::debug!(source = %self.settings.name, topic = %key.0, partition = key.1, %error, "offset not stored");
        }
        crash::at("after_store_offset");
    }

    fn hold(&mut self, reason: &'static str) {
        if self.held.insert(reason) {
            meters::source_held(self.settings.name.clone(), reason).set(1.0);
            tracing::warn!(source = %self.settings.name, reason, "held: reading stops");
            if self.held.len() == 1 {
                self.pause();
            }
        }
    }

    fn resume(&mut self, reason: &'static str) {
        if self.held.remove(reason) {
            meters::source_held(self.settings.name.clone(), reason).set(0.0);
            tracing::info!(source = %self.settings.name, reason, "released");
            if self.held.is_empty() {
                self.unpause(&self.assigned.keys().cloned().collect::<Vec<_>>());
            }
        }
    }

    fn unpause(&self, keys: &[Key]) {
        if let Err(error) = self.consumer.resume(&list(keys)) {
            self.consumer.context().fault(Fault::Other, &format!("resume: {error}"));
        }
    }

    fn pause(&self) {
        let keys: Vec<Key> = self.assigned.keys().cloned().collect();
        if let Err(error) = self.consumer.pause(&list(&keys)) {
            self.consumer.context().fault(Fault::Other, &format!("pause: {error}"));
        }
    }

    /// Gives intake what is in hand. `Ok(true)`: poll on; `Ok(false)`: try again before polling.
    fn hand_over(&mut self) -> Result<bool, End> {
        match self.hand.give(self.held.contains(FULL)) {
            Given::All { half_free: true } => {
                self.resume(FULL);
                Ok(true)
            }
            Given::All { half_free: false } => Ok(true),
            Given::Waited => Ok(false),
            Given::Full => {
                self.hold(FULL);
                Ok(true)
            }
            Given::Gone => Err(End::Stop),
        }
    }

    /// One message if there is one within [`POLL`], and whatever else is there already, up to the batch's limits.
    fn poll(&mut self) -> Option<End> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut end = None;
        let mut wait = POLL;
        while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let Some(envelope) = self.envelope(&message) else { continue };
                    let size = envelope.payload.as_ref().map_or(0, Bytes::len);
                    if bytes + size > BATCH_BYTES && !batch.is_empty() {
                        self.hand.push(Event::Envelopes(std::mem::take(&mut batch)));
                        bytes = 0;
                    }
                    bytes += size;
                    batch.push(envelope);
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => {
                    // Placing anew forgets what is in hand: all of it, or what was polled last would be accepted without
                    // what came before it, which nobody would read again.
                    if !batch.is_empty() {
                        self.hand.push(Event::Envelopes(std::mem::take(&mut batch)));
                    }
                    // An error ends the turn: however fast they come, commands are heard and the time of the poll is told.
                    end = self.failed(&error);
                    break;
                }
            }
        }
        self.last_poll.set(gauge(self.clock.now().as_millis()) / 1_000.0);
        if !batch.is_empty() {
            crash::at("after_poll");
            self.hand.push(Event::Envelopes(batch));
        }
        end
    }

    /// A copy: librdkafka's buffers hold whole fetches, and would be held as long as the smallest message in them.
    fn envelope(&self, message: &BorrowedMessage<'_>) -> Option<Envelope> {
        let partition = message.partition();
        let topic = self.assigned.keys().find(|key| key.1 == partition && *key.0 == *message.topic())?.0.clone();
        Some(Envelope {
            topic,
            partition,
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().map(Timestamp::from_millis),
            payload: message.payload().map(Bytes::copy_from_slice),
        })
    }

    fn failed(&mut self, error: &KafkaError) -> Option<End> {
        match error {
            KafkaError::MessageConsumption(Code::AutoOffsetReset) => {
                // The error does not name its partition. Placing all of them anew costs a moment and repeats nothing
                // that was accepted.
                tracing::warn!(source = %self.settings.name, "a position is out of range: looking again where to read from");
                self.move_away(self.assigned.keys().cloned().collect());
                None
            }
            KafkaError::MessageConsumptionFatal(code) => Some(End::Fatal {
                exit: 75,
                message: format!(
                    "[source.{}]: the Kafka client has failed for good: {code}; if \"group.instance.id\" is set, no two processes may share one",
                    self.settings.name
                ),
            }),
            // Told by the context already.
            _ => None,
        }
    }

    /// Leaves the group. librdkafka commits what was stored on the way; nothing else is waited for.
    fn close(mut self) {
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Accepted { topic, partition, next } = command {
                self.accepted(&(topic, partition), next);
            }
        }
        self.consumer.context().close();
        if self.answer_due
            && let Err(error) = self.consumer.incremental_assign(&TopicPartitionList::new())
        {
            tracing::debug!(source = %self.settings.name, %error, "closing before the assignment was taken");
        }
        for partition in self.assigned.values() {
            partition.gone();
        }
        let away = [Fault::Broker, Fault::Login, Fault::Tls].iter().any(|fault| self.consumer.context().has(*fault));
        let Self { consumer, ended, .. } = self;
        // Blocks while a broker is away. There is no group to leave then: the process does not wait, and ends meanwhile.
        let waiting = (!away).then_some(ended);
        drop(consumer);
        drop(waiting);
    }
}
