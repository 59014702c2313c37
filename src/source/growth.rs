//! Owns the partitions that nobody reads. A static member that comes back is given what it had before, without a word to the
//! others; so what a topic has grown by meanwhile, or grows by later, is nobody's until the group shares everything out
//! again. Hence we look, and join anew.

use std::collections::{BTreeMap, BTreeSet};

use super::Settings;
use super::offsets::Key;
use super::place::Finder;
use super::watch::Partition;

/// What was seen of it.
#[derive(Default)]
pub(super) struct Growth {
    /// Nobody had these at the last look: the group may just have been sharing them out.
    suspected: BTreeSet<Key>,
    /// The group was joined anew for these. Where they have no position yet, joining once more would not give them one.
    tried: BTreeSet<Key>,
}

impl Growth {
    /// Whether the group must be joined anew: of what is `there`, the store knows no position of a partition, and did not at
    /// the look before. The store is asked only about what is not `assigned` to us.
    pub(super) fn look(
        &mut self,
        there: impl Iterator<Item = Key>,
        assigned: &BTreeMap<Key, Partition>,
        finder: &Finder,
        settings: &Settings,
    ) -> bool {
        let mut unread: BTreeSet<Key> =
            there.filter(|key| !assigned.contains_key(key) && !self.tried.contains(key)).collect();
        if !unread.is_empty() {
            match finder.positions() {
                Ok(known) => unread.retain(|key| !known.contains_key(key)),
                Err(error) => {
                    tracing::debug!(source = %settings.name, "whether a topic has grown is not known: {error:#}");
                    return false;
                }
            }
        }
        let lasting: Vec<Key> = unread.intersection(&self.suspected).cloned().collect();
        self.suspected = unread;
        for (topic, partition) in &lasting {
            tracing::warn!(source = %settings.name, %topic, partition, "a new partition that nobody reads: joining the group anew");
        }
        self.tried.extend(lasting.iter().cloned());
        !lasting.is_empty()
    }
}
