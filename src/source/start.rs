//! Owns the table of where reading of a partition begins: facts in, decision out. It asks nobody and writes nothing.
//!
//! The store's position wins. Kafka's committed offset counts only where the store knows nothing, and never silently:
//! a group with history and an empty store is most likely a wrong volume.

use super::{OnLostStore, Start};

/// What is known of one partition and its topic when it is assigned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// The store's position of this partition.
    pub row: Option<Row<'a>>,
    /// The store has a position of another partition of the topic.
    pub siblings: bool,
    /// The cluster's id; `None`: the broker did not say.
    pub cluster: Option<&'a str>,
    /// What the broker keeps; `None`: it did not say.
    pub log: Option<Log>,
    /// The group's committed offset of this partition.
    pub committed: Committed,
    /// The group committed some partition of this topic, perhaps not this one.
    pub history: bool,
    /// The store held nothing at all when this process opened it, or an earlier one that did not get as far as to place this source.
    pub store_lost: bool,
    /// `start`.
    pub start: Start,
    /// Where `start` is a time: the first offset at or after it; `None`: the partition has none.
    pub at_time: Option<i64>,
    /// `on_lost_store`.
    pub on_lost_store: OnLostStore,
}

/// A position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    /// The cluster it was read from; empty: not known then.
    pub cluster: &'a str,
    /// The first offset not yet accepted.
    pub next: i64,
}

/// Offsets that can be read: `low..high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// First offset kept.
    pub low: i64,
    /// Last offset + 1.
    pub high: i64,
}

/// Kafka's committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// The coordinator did not answer.
    Unknown,
    /// The group never committed this partition.
    Never,
    /// The group would go on here.
    At(i64),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Read from `next`.
    From {
        /// The first offset wanted.
        next: i64,
        /// What to tell the operator.
        say: Say,
        /// Records that the broker deleted before we could read them.
        lost: i64,
    },
    /// The group has history and the store has none: exit 78.
    Refuse,
    /// A fact is missing that the decision needs.
    Retry(Missing),
}

/// The fact that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The partition's first and last offset.
    Log,
    /// The group's committed offset.
    Committed,
}

/// Why reading begins there, where that is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// Where we stopped: nothing to say.
    GoOn,
    /// The broker deleted records before we read them.
    Overtaken,
    /// The position lies after the end: the topic was recreated or truncated.
    Recreated,
    /// The topic lives in another cluster now.
    ClusterChanged,
    /// The topic grew by this partition.
    NewPartition,
    /// `on_lost_store` chose.
    LostStore,
    /// The store knows other sources but not this one: it was renamed, or the group is somebody's.
    Adopted,
    /// The group begins; `start` chose.
    First,
}

/// The table.
pub(super) fn decide(facts: &Facts<'_>) -> Decision {
    let Some(log) = facts.log else { return Decision::Retry(Missing::Log) };
    let from = |next, say| Decision::From { next, say, lost: 0 };
    match facts.row {
        Some(row) if same_cluster(row.cluster, facts.cluster) => {
            if row.next < log.low {
                Decision::From { next: log.low, say: Say::Overtaken, lost: log.low - row.next }
            } else if row.next > log.high {
                from(log.low, Say::Recreated)
            } else {
                from(row.next, Say::GoOn)
            }
        }
        Some(_) => match facts.committed {
            Committed::Unknown => Decision::Retry(Missing::Committed),
            committed => at_committed(committed, log, Say::ClusterChanged),
        },
        None if facts.siblings => from(log.low, Say::NewPartition),
        None => match facts.committed {
            Committed::Unknown => Decision::Retry(Missing::Committed),
            Committed::Never if !facts.history => from(first(facts, log), Say::First),
            committed if !facts.store_lost => at_committed(committed, log, Say::Adopted),
            committed => match facts.on_lost_store {
                OnLostStore::Refuse => Decision::Refuse,
                OnLostStore::Committed => at_committed(committed, log, Say::LostStore),
                OnLostStore::Replay => from(log.low, Say::LostStore),
            },
        },
    }
}

/// An id that either side does not know counts as the same: better to go on than to read a whole topic again.
fn same_cluster(then: &str, now: Option<&str>) -> bool {
    then.is_empty() || now.is_none_or(|now| now == then)
}

/// At the committed offset, or at the first one kept: where the group never committed this partition, and where the
/// committed offset is not in the log.
fn at_committed(committed: Committed, log: Log, say: Say) -> Decision {
    match committed {
        Committed::At(offset) if (log.low..=log.high).contains(&offset) => {
            Decision::From { next: offset, say, lost: 0 }
        }
        Committed::At(offset) => Decision::From { next: log.low, say, lost: (log.low - offset).max(0) },
        Committed::Never | Committed::Unknown => Decision::From { next: log.low, say, lost: 0 },
    }
}

/// The offset that `start` stands for.
fn first(facts: &Facts<'_>, log: Log) -> i64 {
    match facts.start {
        Start::Earliest => log.low,
        Start::Latest => log.high,
        Start::Ago(_) | Start::At(_) => facts.at_time.map_or(log.high, |offset| offset.clamp(log.low, log.high)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Timestamp;

    /// A partition that holds offsets 100..200, in cluster "c", of a group without history, with an empty store.
    const NOTHING: Facts<'_> = Facts {
        row: None,
        siblings: false,
        cluster: Some("c"),
        log: Some(Log { low: 100, high: 200 }),
        committed: Committed::Never,
        history: false,
        store_lost: true,
        start: Start::Earliest,
        at_time: None,
        on_lost_store: OnLostStore::Refuse,
    };
    /// The same, read before up to 150.
    const KNOWN: Facts<'_> =
        Facts { row: Some(Row { cluster: "c", next: 150 }), siblings: true, store_lost: false, ..NOTHING };
    /// The group committed 150 and the store is gone.
    const LOST: Facts<'_> = Facts { committed: Committed::At(150), history: true, ..NOTHING };

    const fn row(next: i64, cluster: &str) -> Row<'_> {
        Row { cluster, next }
    }
    const fn from(next: i64, say: Say) -> Decision {
        Decision::From { next, say, lost: 0 }
    }
    const fn lost(next: i64, say: Say, lost: i64) -> Decision {
        Decision::From { next, say, lost }
    }

    #[track_caller]
    fn check(table: &[(&str, Facts<'_>, Decision)]) {
        for (sentence, facts, decision) in table {
            assert_eq!(decide(facts), *decision, "{sentence}");
        }
    }

    #[test]
    fn a_known_position_wins() {
        check(&[
            ("A position inside the log goes on.", KNOWN, from(150, Say::GoOn)),
            (
                "A position inside the log goes on, whatever Kafka has committed.",
                Facts { committed: Committed::At(120), history: true, ..KNOWN },
                from(150, Say::GoOn),
            ),
            (
                "It does not even matter that the coordinator is silent.",
                Facts { committed: Committed::Unknown, ..KNOWN },
                from(150, Say::GoOn),
            ),
            (
                "A position at the first offset goes on.",
                Facts { row: Some(row(100, "c")), ..KNOWN },
                from(100, Say::GoOn),
            ),
            ("A position at the end goes on.", Facts { row: Some(row(200, "c")), ..KNOWN }, from(200, Say::GoOn)),
            (
                "A position that retention overtook starts at the first offset kept and counts the gap.",
                Facts { row: Some(row(60, "c")), ..KNOWN },
                lost(100, Say::Overtaken, 40),
            ),
            (
                "A position after the end starts at the first offset: the topic was recreated or truncated.",
                Facts { row: Some(row(201, "c")), ..KNOWN },
                from(100, Say::Recreated),
            ),
            (
                "A recreated, still empty topic starts at its only offset.",
                Facts { row: Some(row(201, "c")), log: Some(Log { low: 0, high: 0 }), ..KNOWN },
                from(0, Say::Recreated),
            ),
        ]);
    }

    #[test]
    fn another_cluster_has_other_offsets() {
        let moved = Facts { cluster: Some("d"), ..KNOWN };
        check(&[
            (
                "In another cluster the group's own offset there counts.",
                Facts { committed: Committed::At(120), history: true, ..moved },
                from(120, Say::ClusterChanged),
            ),
            ("Without one, everything kept is read.", moved, from(100, Say::ClusterChanged)),
            (
                "A committed offset below the log starts at the first offset and counts the gap.",
                Facts { committed: Committed::At(90), history: true, ..moved },
                lost(100, Say::ClusterChanged, 10),
            ),
            (
                "A committed offset above the log starts at the first offset; nothing is known to be lost.",
                Facts { committed: Committed::At(300), history: true, ..moved },
                from(100, Say::ClusterChanged),
            ),
            (
                "While the coordinator is silent nothing is guessed.",
                Facts { committed: Committed::Unknown, ..moved },
                Decision::Retry(Missing::Committed),
            ),
            (
                "A broker that does not name its cluster counts as the same one.",
                Facts { cluster: None, ..KNOWN },
                from(150, Say::GoOn),
            ),
            (
                "So does a row that was written when it did not.",
                Facts { row: Some(row(150, "")), ..KNOWN },
                from(150, Say::GoOn),
            ),
        ]);
    }

    #[test]
    fn a_partition_without_position_starts_where_nothing_is_skipped() {
        let new = Facts { siblings: true, store_lost: false, ..NOTHING };
        check(&[
            ("A new partition of a known topic is read from its first offset.", new, from(100, Say::NewPartition)),
            (
                "Never from the end, even when that is where new groups start.",
                Facts { start: Start::Latest, ..new },
                from(100, Say::NewPartition),
            ),
            (
                "Nor from a committed offset.",
                Facts { committed: Committed::At(150), history: true, ..new },
                from(100, Say::NewPartition),
            ),
        ]);
    }

    #[test]
    fn an_empty_store_with_a_group_that_has_history_is_a_lost_store() {
        check(&[
            ("By default that ends the process.", LOST, Decision::Refuse),
            (
                "It does for a partition which that group never committed, too.",
                Facts { committed: Committed::Never, ..LOST },
                Decision::Refuse,
            ),
            (
                "`committed` goes on where the group stopped.",
                Facts { on_lost_store: OnLostStore::Committed, ..LOST },
                from(150, Say::LostStore),
            ),
            (
                "`committed` reads all of a partition that the group never committed.",
                Facts { on_lost_store: OnLostStore::Committed, committed: Committed::Never, ..LOST },
                from(100, Say::LostStore),
            ),
            (
                "`committed` with an offset that retention overtook starts at the first one and counts the gap.",
                Facts { on_lost_store: OnLostStore::Committed, committed: Committed::At(70), ..LOST },
                lost(100, Say::LostStore, 30),
            ),
            (
                "`replay` reads everything again.",
                Facts { on_lost_store: OnLostStore::Replay, ..LOST },
                from(100, Say::LostStore),
            ),
            (
                "While the coordinator is silent it may have history: nothing is guessed.",
                Facts { committed: Committed::Unknown, history: false, ..NOTHING },
                Decision::Retry(Missing::Committed),
            ),
        ]);
    }

    #[test]
    fn a_group_with_history_and_a_store_in_use_is_adopted() {
        let used = Facts { store_lost: false, ..LOST };
        check(&[
            ("It goes on where the group stopped.", used, from(150, Say::Adopted)),
            (
                "A partition which that group never committed is read from its first offset.",
                Facts { committed: Committed::Never, ..used },
                from(100, Say::Adopted),
            ),
            (
                "A committed offset below the log starts at the first one and counts the gap.",
                Facts { committed: Committed::At(99), ..used },
                lost(100, Say::Adopted, 1),
            ),
        ]);
    }

    #[test]
    fn a_new_group_starts_where_start_says() {
        let ago = Facts { start: Start::Ago(Duration::from_hours(1)), ..NOTHING };
        let at = Facts { start: Start::At(Timestamp::from_millis(1)), ..NOTHING };
        check(&[
            ("`earliest` is the first offset.", NOTHING, from(100, Say::First)),
            ("`latest` is the end.", Facts { start: Start::Latest, ..NOTHING }, from(200, Say::First)),
            ("A store in use changes nothing.", Facts { store_lost: false, ..NOTHING }, from(100, Say::First)),
            (
                "A span is the first offset at or after that time.",
                Facts { at_time: Some(180), ..ago },
                from(180, Say::First),
            ),
            ("A span with nothing in it is the end.", ago, from(200, Say::First)),
            ("A moment is the first offset at or after it.", Facts { at_time: Some(110), ..at }, from(110, Say::First)),
            ("A moment in the future is the end.", at, from(200, Say::First)),
            (
                "What retention deleted since we asked is not wanted.",
                Facts { at_time: Some(90), ..at },
                from(100, Say::First),
            ),
        ]);
    }

    #[test]
    fn without_the_log_nothing_is_guessed() {
        for facts in [NOTHING, KNOWN, LOST] {
            assert_eq!(decide(&Facts { log: None, ..facts }), Decision::Retry(Missing::Log));
        }
    }
}
