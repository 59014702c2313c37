//! Owns where an assigned partition is read from: fetches the facts of the table, writes the rows it decides on, and
//! reads them back, so that what the thread starts with is what the store says, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::Context;
use super::offsets::{Key, list_offsets};
use super::start::{Committed, Decision, Facts, Log, Missing, Row, Say, decide};
use super::{Settings, Start};
use crate::clock::Clock;
use crate::metrics;
use crate::store::{Placement, PositionRow, Store, StoreError};

/// One question to a broker.
const REQUEST: Duration = Duration::from_secs(5);
/// One question to the store.
const STORE: Duration = Duration::from_secs(5);
/// Write, read back, and once more where another replica was faster.
const ROUNDS: usize = 3;

/// Where a partition is to be read from.
#[derive(Debug)]
pub(super) struct StartPosition {
    pub key: Key,
    /// The store's position.
    pub next: i64,
    /// The store's count of bad messages in a row.
    pub bad: u32,
}

/// The answer for a set of partitions.
#[derive(Debug)]
pub(super) enum Answer {
    /// One for each.
    Found(Vec<StartPosition>),
    /// Do not start; the text holds the remedy.
    Refused(String),
}

/// Fetches facts for one source.
pub(super) struct Finder {
    settings: Settings,
    store: Store,
    clock: Clock,
    runtime: tokio::runtime::Handle,
    /// As it was before this process wrote anything: its own first rows must not make a lost store look used.
    store_lost: bool,
}

/// What was decided, to be told when the store has it.
type Decided = BTreeMap<Key, (i64, Say, i64)>;

impl Finder {
    pub(super) fn new(
        settings: Settings,
        store: Store,
        store_lost: bool,
        clock: Clock,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self { settings, store, clock, runtime, store_lost }
    }

    /// Where each of `wanted` is to be read from. An error means: a broker or the store did not answer, try again.
    pub(super) fn places(&self, consumer: &BaseConsumer<Context>, wanted: &BTreeSet<Key>) -> anyhow::Result<Answer> {
        let cluster = consumer.client().fetch_cluster_id(REQUEST);
        let mut decided = Decided::new();
        for _ in 0..ROUNDS {
            let rows = self.positions()?;
            let mut writes = Vec::new();
            for topic in wanted.iter().map(|key| &key.0).collect::<BTreeSet<_>>() {
                let asked: Vec<i32> = wanted.iter().filter(|key| key.0 == *topic).map(|key| key.1).collect();
                let question = Question { settings: &self.settings, consumer, topic, cluster: cluster.as_deref() };
                let Some(decisions) = question.decide(&rows, asked, self.store_lost, &self.clock)? else {
                    return Ok(Answer::Refused(self.refusal(topic)));
                };
                writes.extend(decisions);
            }
            if writes.is_empty() {
                return self.settled(wanted, &rows, &decided);
            }
            decided.extend(writes.iter().map(|w| (w.key(), (w.row.next, w.say, w.lost))));
            let mut placements: Vec<Placement> = writes.into_iter().map(|w| w.row).collect();
            placements.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            self.write(cluster.as_deref().unwrap_or_default(), &placements)?;
        }
        bail!("another process keeps moving the positions of [source.{}]", self.settings.name)
    }

    /// What the store knows of the source.
    pub(super) fn positions(&self) -> anyhow::Result<BTreeMap<Key, PositionRow>> {
        let rows = self.wait(self.store.positions(&self.settings.name))?;
        Ok(rows.into_iter().map(|row| ((row.topic.clone(), row.partition), row)).collect())
    }

    fn write(&self, cluster: &str, placements: &[Placement]) -> anyhow::Result<()> {
        self.wait(self.store.place(&self.settings.name, cluster, placements, self.clock.now()))
    }

    /// An answer of the store within [`STORE`].
    fn wait<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> anyhow::Result<T> {
        // The timer is made inside: it needs the runtime's context.
        let limited = async { tokio::time::timeout(STORE, answer).await };
        self.runtime.block_on(limited).context("the store does not answer")?.context("the store fails")
    }

    /// Every wanted partition has a row that needs no change. Tells what this process decided and the store kept.
    fn settled(
        &self,
        wanted: &BTreeSet<Key>,
        rows: &BTreeMap<Key, PositionRow>,
        decided: &Decided,
    ) -> anyhow::Result<Answer> {
        let mut places = Vec::new();
        for key in wanted {
            let row = rows.get(key).with_context(|| format!("no position of {}/{}", key.0, key.1))?;
            if let Some((next, say, lost)) = decided.get(key)
                && *next == row.next
            {
                self.tell(key, *next, *say, *lost);
            }
            places.push(StartPosition { key: key.clone(), next: row.next, bad: row.bad });
        }
        let is_whole = || self.settings.topics.iter().all(|topic| rows.keys().any(|key| *key.0 == **topic));
        if self.store_lost && is_whole() {
            self.wait(self.store.note_found(&self.settings.name))?;
        }
        Ok(Answer::Found(places))
    }

    fn tell(&self, key: &Key, next: i64, say: Say, lost: i64) {
        let (source, (topic, partition)) = (&self.settings.name, key);
        let lost_counter = metrics::kafka_lost_records(source.clone(), topic.clone(), partition.to_string());
        lost_counter.increment(u64::try_from(lost).unwrap_or(0));
        let before = next - lost;
        match say {
            Say::GoOn => {}
            Say::First => {
                tracing::info!(%source, %topic, partition, next, "a new group: reading begins where `start` says");
            }
            Say::NewPartition => tracing::info!(%source, %topic, partition, next, "a new partition: reading all of it"),
            Say::Overtaken => tracing::error!(
                %source, %topic, partition, before, next, lost,
                "the broker deleted records before they were read: make the topic's retention longer than any outage"
            ),
            Say::Recreated => tracing::error!(
                %source, %topic, partition, next,
                "the position lies after the end: the topic was recreated or truncated; reading all of it, nobody is told twice"
            ),
            Say::ClusterChanged => tracing::warn!(
                %source, %topic, partition, next, lost,
                "the topic is in another cluster now: going on at the group's offset there, or at the first record"
            ),
            Say::LostStore => tracing::warn!(
                %source, %topic, partition, next, lost,
                "the store was lost: `on_lost_store` decided where reading goes on"
            ),
            Say::Adopted => tracing::warn!(
                %source, %topic, partition, next, lost,
                "this source is new to the store but its group has history (source renamed, or group adopted): going on where the group stopped"
            ),
        }
    }

    fn refusal(&self, topic: &str) -> String {
        let Settings { name, group_id, .. } = &self.settings;
        format!(
            "[source.{name}]: the group \"{group_id}\" has read {topic} before, but the store is empty: is this the wrong \
             volume or file? Put the store back. If it is lost, set [source.{name}] on_lost_store = \"committed\" to go \
             on where the group stopped, or \"replay\" to read everything kept again (whoever was told before the loss \
             is told again); take the key out after the first start"
        )
    }
}

/// A row to write, with its reason.
struct Write {
    row: Placement,
    say: Say,
    lost: i64,
}

impl Write {
    fn key(&self) -> Key {
        (self.row.topic.clone(), self.row.partition)
    }
}

/// One topic's facts.
struct Question<'a> {
    settings: &'a Settings,
    consumer: &'a BaseConsumer<Context>,
    topic: &'a Arc<str>,
    cluster: Option<&'a str>,
}

impl Question<'_> {
    /// The rows to write before `asked` can be read; `None`: refused.
    ///
    /// A topic without any row gets rows for *all* its partitions at once: those assigned later, or to somebody else,
    /// must not look like new partitions of a known topic.
    fn decide(
        &self,
        rows: &BTreeMap<Key, PositionRow>,
        asked: Vec<i32>,
        store_lost: bool,
        clock: &Clock,
    ) -> anyhow::Result<Option<Vec<Write>>> {
        let known: BTreeMap<i32, &PositionRow> =
            rows.iter().filter(|(key, _)| key.0 == *self.topic).map(|(key, row)| (key.1, row)).collect();
        let partitions = if known.is_empty() { self.partitions()? } else { asked };
        let (logs, silence) = self.logs(&partitions);
        let moved = |row: &PositionRow| self.cluster.is_some_and(|id| !row.cluster.is_empty() && row.cluster != id);
        let committed = if known.is_empty() || known.values().any(|row| moved(row)) {
            self.committed(&partitions)
        } else {
            BTreeMap::new()
        };
        let times = match self.settings.start {
            Start::Ago(span) if known.is_empty() => {
                self.offsets_at(&partitions, clock.now().minus(span).as_millis())?
            }
            Start::At(at) if known.is_empty() => self.offsets_at(&partitions, at.as_millis())?,
            _ => BTreeMap::new(),
        };
        let history = committed.values().any(|committed| matches!(committed, Committed::At(_)));
        let mut writes = Vec::new();
        for partition in partitions {
            let row = known.get(&partition);
            let decision = decide(&Facts {
                row: row.map(|row| Row { cluster: &row.cluster, next: row.next }),
                siblings: !known.is_empty(),
                cluster: self.cluster,
                log: logs.get(&partition).copied(),
                committed: committed.get(&partition).copied().unwrap_or(Committed::Unknown),
                history,
                store_lost,
                start: self.settings.start,
                at_time: times.get(&partition).copied().flatten(),
                on_lost_store: self.settings.on_lost_store,
            });
            // A row from when the broker did not say whose it is learns it now: in another cluster its offset means nothing.
            let learns = self.cluster.is_some_and(|id| !id.is_empty()) && row.is_some_and(|row| row.cluster.is_empty());
            match decision {
                Decision::From { say: Say::GoOn, .. } if !learns => {}
                Decision::From { next, say, lost } => {
                    let from = row.map(|row| row.next);
                    writes.push(Write {
                        row: Placement { topic: self.topic.clone(), partition, from, next },
                        say,
                        lost,
                    });
                }
                Decision::Refuse => return Ok(None),
                Decision::Retry(Missing::Log) => {
                    let silence = silence.unwrap_or_else(|| anyhow!("no answer"));
                    return Err(silence.context(format!("the end of {}/{partition} is not known", self.topic)));
                }
                Decision::Retry(Missing::Committed) => {
                    bail!("the group's offset of {}/{partition} is not known", self.topic)
                }
            }
        }
        Ok(Some(writes))
    }

    /// All partitions of the topic.
    fn partitions(&self) -> anyhow::Result<Vec<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(self.topic), REQUEST).context("the topic's partitions")?;
        let ids: Vec<i32> =
            metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
        anyhow::ensure!(!ids.is_empty(), "{} has no partition", self.topic);
        Ok(ids)
    }

    /// First and last offsets, as far as they can be had, and the reason where they cannot.
    fn logs(&self, partitions: &[i32]) -> (BTreeMap<i32, Log>, Option<anyhow::Error>) {
        let ask = || -> anyhow::Result<_> {
            Ok((self.offsets(partitions, Offset::Beginning)?, self.offsets(partitions, Offset::End)?))
        };
        match ask() {
            Ok((low, high)) => {
                let both = |p: &i32| Some((*p, Log { low: (*low.get(p)?)?, high: (*high.get(p)?)? }));
                (partitions.iter().filter_map(both).collect(), None)
            }
            Err(error) => (BTreeMap::new(), Some(error)),
        }
    }

    /// The first offset at or after a time, in milliseconds; `None` for a partition that has none.
    fn offsets_at(&self, partitions: &[i32], millis: i64) -> anyhow::Result<BTreeMap<i32, Option<i64>>> {
        self.offsets(partitions, Offset::Offset(millis.max(0)))
    }

    fn offsets(&self, partitions: &[i32], at: Offset) -> anyhow::Result<BTreeMap<i32, Option<i64>>> {
        let keys = partitions.iter().map(|partition| (self.topic, *partition));
        let answers = list_offsets(self.consumer, keys, at, REQUEST)?;
        Ok(answers.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
    }

    /// The group's offsets, as far as they can be had.
    fn committed(&self, partitions: &[i32]) -> BTreeMap<i32, Committed> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(self.topic, *partition);
        }
        match self.consumer.committed_offsets(list, REQUEST) {
            Ok(list) => list
                .elements()
                .iter()
                .map(|element| {
                    let committed = match (element.error(), element.offset()) {
                        (Err(_), _) => Committed::Unknown,
                        (Ok(()), Offset::Offset(offset)) => Committed::At(offset),
                        (Ok(()), _) => Committed::Never,
                    };
                    (element.partition(), committed)
                })
                .collect(),
            Err(error) => {
                tracing::debug!(source = %self.settings.name, %error, "the coordinator does not answer");
                BTreeMap::new()
            }
        }
    }
}
