//! Owns the partitions that nobody reads. A static member that comes back is given what it had before, without a word to the
//! others; so what a topic has grown by meanwhile, or grows by later, is nobody's until the group shares everything out
//! again. Hence we look, and join anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;

use super::Settings;
use super::context::Context;
use super::offsets::Key;
use super::place::Finder;

/// How long a broker may take to tell the partitions of a topic: nothing is read meanwhile.
const LIMIT: Duration = Duration::from_secs(1);

/// What was seen of it.
#[derive(Default)]
pub(super) struct Growth {
    /// Nobody had these at the last look: the group may just have been sharing them out.
    suspected: BTreeSet<Key>,
    /// The group was joined anew for these. Where they still have no position here, a member with another store has one.
    tried: BTreeSet<Key>,
}

impl Growth {
    /// Whether the group must be joined anew: the store knows no position of a partition, and did not at the look before.
    pub(super) fn look(&mut self, consumer: &BaseConsumer<Context>, finder: &Finder, settings: &Settings) -> bool {
        let unread = match unread(consumer, finder, settings) {
            Ok(unread) => unread,
            Err(error) => {
                tracing::debug!(source = %settings.name, "whether a topic has grown is not known: {error:#}");
                return false;
            }
        };
        let unread: BTreeSet<Key> = unread.into_iter().filter(|key| !self.tried.contains(key)).collect();
        let lasting: Vec<Key> = unread.intersection(&self.suspected).cloned().collect();
        self.suspected = unread;
        for (topic, partition) in &lasting {
            tracing::warn!(source = %settings.name, %topic, partition, "a new partition that nobody reads: joining the group anew");
        }
        self.tried.extend(lasting.iter().cloned());
        !lasting.is_empty()
    }
}

/// The partitions without a position.
fn unread(consumer: &BaseConsumer<Context>, finder: &Finder, settings: &Settings) -> anyhow::Result<Vec<Key>> {
    let known = finder.positions()?;
    let mut unread = Vec::new();
    for topic in &settings.topics {
        let name: Arc<str> = topic.as_str().into();
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
        let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
        unread
            .extend(partitions.map(|partition| (name.clone(), partition.id())).filter(|key| !known.contains_key(key)));
    }
    Ok(unread)
}
